"""A STAR graph (label → next label, with conditions as labels of their own) as a flow of a pack."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tandem.bench.star.data import REQUEST_TYPE, Api, name_words

END_LABELS = frozenset({"anything_else"})
CONDITIONS = (
    "info_missing",
    "info_missing2",
    "query_success",
    "query_failure",
    "available",
    "unavailable",
    "yes",
    "no",
)
_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^}]*)?\}")

Writes = Callable[[Api, str], bool]


@dataclass
class Flow:
    """What becomes a procedure's files."""

    start: str = ""
    nodes: dict[str, Any] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    asks: dict[str, str] = field(default_factory=dict)  # parameter → question


class Builder:
    """Builds one flow from a graph."""

    def __init__(self, task: str, raw: dict[str, Any], api: Api, linked: dict[str, str], writes: Writes) -> None:
        self.task = task
        self.graph: dict[str, str] = raw["graph"]
        self.replies: dict[str, str] = raw["replies"]
        self.api = api
        self.linked = linked
        self.writes = writes
        self.flow = Flow()

    def build(self) -> Flow:
        start = self.graph.get("hello") or next(iter(self.graph))
        self._node(start)
        self.flow.start = start if start in self.flow.nodes else next(iter(self.flow.nodes))
        return self.flow

    def _node(self, label: str | None) -> str:
        """The node of a label, made on first need; `end` for what ends the plan."""
        if label is None or label in END_LABELS or label not in self.replies:
            return "end"
        if label in self.flow.nodes:
            return label
        node: dict[str, Any] = {"sentence": self._sentence(label)}
        self.flow.nodes[label] = node
        if label.startswith("query"):
            node |= self._query(label)
        elif "ask" in label and self.linked.get(label):
            node |= self._ask(label)
        elif self._offers(label):
            node |= self._offer(label)
        else:
            node |= {"text": self._text(label), "next": self._node(self.graph.get(label))}
        return label

    def _sentence(self, label: str) -> int:
        text = " ".join(self.replies[label].split())
        what = "Call the system" if label.startswith("query") else "Say or ask"
        self.flow.sentences.append(f"{what}: {text} ({label.replace('_', ' ')})")
        return len(self.flow.sentences)

    def _ask(self, label: str) -> dict[str, Any]:
        parameter = self.linked[label]
        self.flow.asks.setdefault(parameter, self.replies[label])
        node: dict[str, Any] = {
            "slots": [f"{self.task}__{parameter}"],
            "text": _plain(self.replies[label]),
            "next": self._node(self.graph.get(label)),
        }
        missing = self._missing(label)
        if missing:
            node["on_failure"] = self._node(missing)
        elif parameter not in self.api.required:
            node["on_failure"] = node["next"]  # what is not required may stay unknown
        return node

    def _missing(self, label: str) -> str | None:
        """Where to go when the customer cannot say: the first info_missing branch that names it and does not come before."""
        asked = name_words(label.split("ask_")[-1])
        for condition in ("info_missing", "info_missing2"):
            target = self.graph.get(condition)
            if target and target != label and asked & name_words(self.replies.get(condition, "").replace("'", "")):
                return target
        return None

    def _request_type(self, label: str) -> str:
        wanted = label.removeprefix("query").strip("_").lower()
        kinds = self.api.request_types
        return next((kind for kind in kinds if kind.lower() == wanted), kinds[-1])

    def _query(self, label: str) -> dict[str, Any]:
        kind = self._request_type(label)
        name = f"{self.api.name}__{kind.lower()}" if kind else self.api.name
        args = {i["Name"]: f"${self.task}__{i['Name']}" for i in self.api.inputs if i["Type"] != REQUEST_TYPE}
        node: dict[str, Any] = {"tool": name, "args": args, "save": {f"{self.task}_out": "result"}}
        direct = self.graph.get(label)
        if direct:
            node["next"] = self._node(direct)
        elif "available" in self.graph:
            edges = [
                {"to": self._node(self.graph.get("unavailable")), "when": "'unavailable' in lower(result.Message)"}
            ]
            node["next"] = [*edges, {"to": self._node(self.graph["available"])}]
        elif "query_success" in self.graph:
            told = " or ".join(f"known(result.{output})" for output in self.api.outputs if output != "Message")
            succeeded: dict[str, Any] = {"to": self._node(self.graph["query_success"])}
            failed = {"to": self._node(self.graph.get("query_failure"))}
            node["next"] = [{**succeeded, "when": told}, failed] if told else self._node(self.graph["query_success"])
        else:
            node["next"] = "end"
        failure = self.graph.get("query_failure") or next(
            (name for name in self.replies if "nothing_found" in name), None
        )
        if failure:
            node["on_failure"] = self._node(failure)
        return node

    def _offers(self, label: str) -> bool:
        """Whether the graph's `yes` and `no` are the answers to this reply."""
        if "yes" not in self.graph or label in self.graph:
            return False
        return label == self.graph.get("available") or ("available" not in self.graph and "found" not in label)

    def _offer(self, label: str) -> dict[str, Any]:
        """An offer that the customer takes up or not. The call itself asks for consent with its values."""
        said = f"{self.task}_{label}"
        decline = self.graph.get("no")
        edges = [{"to": self._node(self.graph["yes"]), "when": said}]
        declined = "end" if decline is None or decline in self.flow.nodes else self._node(decline)
        return {"confirm": said, "text": self._text(label), "next": [*edges, {"to": declined}]}

    def _text(self, label: str) -> str:
        """The template with its placeholders bound to the API's outputs, and the outputs it does not name."""
        named: set[str] = set()

        def bound(match: re.Match[str]) -> str:
            words = name_words(match.group(1))
            best = max(self.api.outputs, key=lambda output: len(words & name_words(output)), default="")
            if not best or not words & name_words(best):
                return ""
            named.add(best)
            return f"{{{self.task}_out.{best}}}"

        text = _PLACEHOLDER.sub(bound, self.replies[label])
        if "inform" not in label and "provide" not in label and "confirm" not in label:
            return text
        more = [output for output in dict.fromkeys((*self.api.outputs, "Message")) if output not in named]
        return text + "\n" + " ".join(f"{{{self.task}_out.{output}}}" for output in more if output != REQUEST_TYPE)


def _plain(text: str) -> str:
    """A question without placeholders: nothing is known yet."""
    return _PLACEHOLDER.sub("", text).strip()


def build_flow(task: str, raw: dict[str, Any], api: Api, linked: dict[str, str], writes: Writes) -> Flow:
    """The flow of one procedure."""
    return Builder(task, raw, api, linked, writes).build()
