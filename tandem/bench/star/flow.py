"""A STAR graph (label → next label, with conditions as labels of their own) as a flow of a pack."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tandem.bench.star.data import REQUEST_TYPE, Api, name_words
from tandem.bench.star.learn import Parameter, is_question, parameters

DECLINED = [
    "no",
    "nope",
    "no thanks",
    "no thank you",
    "ok",
    "okay",
    "thanks",
    "thank you",
    "never mind",
    "bye",
    "goodbye",
]
ROUNDS = 12
"""How often a step may be taken in one conversation."""

END_LABELS = frozenset({"anything_else"})
_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^}]*)?\}")

Writes = Callable[[Api, str], bool]


@dataclass(frozen=True)
class Outcomes:
    """What recorded agents and customers did after calls."""

    failures: Mapping[
        str, Mapping[str, list[str]]
    ]  # request type → output → its values after which agents told of a failure
    goes_on: Callable[[str], bool]  # told this, customers mostly changed something and were served again
    returned: tuple[str, ...] = ()  # names of what came back
    denied: frozenset[str] = frozenset()  # yes-or-no parameters that are a no where the customer does not know


@dataclass
class Flow:
    """What becomes a procedure's files."""

    start: str = ""
    nodes: dict[str, Any] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    asks: dict[str, str] = field(default_factory=dict)  # parameter → question
    free: dict[str, str] = field(default_factory=dict)  # slot of a question about no one parameter → question


class Builder:
    """Builds one flow from a graph."""

    def __init__(
        self, task: str, raw: dict[str, Any], api: Api, linked: Mapping[str, str], writes: Writes, outcomes: Outcomes
    ) -> None:
        self.task = task
        self.graph: dict[str, str] = raw["graph"]
        self.replies: dict[str, str] = raw["replies"]
        self.api = api
        self.linked = linked
        self.writes = writes
        self.outcomes = outcomes
        self.outputs = api.outputs or outcomes.returned
        self.flow = Flow()
        self._reports: set[str] = set()  # steps that tell what a call returned
        self._again: dict[str, str] = {}  # step that tells of a failure → the call
        self._told_of: dict[str, str] = {}  # step that tells of a success → the call, where that only reads

    def build(self) -> Flow:
        start = self.graph.get("hello") or next(iter(self.graph))
        self._node(start)
        self.flow.start = start if start in self.flow.nodes else next(iter(self.flow.nodes))
        return self.flow

    def _node(self, label: str | None) -> str:
        """The node of a label, made on first need; `end` for what ends the plan."""
        if label is None or label in END_LABELS or label not in self.replies:
            return "end"
        return self._confirmation(label) if self._writing(label) else self._make(label)

    def _make(self, label: str) -> str:
        if label in self.flow.nodes:
            return label
        node: dict[str, Any] = {"sentence": self._sentence(label)}
        self.flow.nodes[label] = node
        following = self.graph.get(label)
        if _calls(label):
            node |= self._query(label)
        elif label in self.linked:
            node |= self._ask(label)
        elif following and self._writing(following) and "confirm" in label:
            node |= self._consent(label, following, None)
        elif label in self._again and self.outcomes.goes_on(label):
            node |= self._retry(label, self._again[label], "end")
        elif label in self._told_of and label in self._reports and {"correct", "incorrect"} <= self.graph.keys():
            node |= self._judged(label)
        elif label in self._told_of and self.outcomes.goes_on(label):
            node |= self._retry(label, self._told_of[label], self._node(following))
        elif self._offers(label):
            node |= self._offer(label)
        elif _plain(self.replies[label]) and (is_question(label, self.graph) or _calls(following)):
            node |= self._open_question(label)
        else:
            node |= {"text": self._text(label), "next": self._node(following)}
        return label

    def _sentence(self, label: str) -> int:
        text = " ".join(self.replies[label].split())
        what = "Call the system" if _calls(label) else "Say or ask"
        self.flow.sentences.append(f"{what}: {text} ({label.replace('_', ' ')})")
        return len(self.flow.sentences)

    # Questions

    def _ask(self, label: str) -> dict[str, Any]:
        parameter = self.linked[label]
        self.flow.asks.setdefault(parameter, _plain(self.replies[label]))
        node: dict[str, Any] = {
            "slots": [f"{self.task}__{parameter}"],
            "text": _plain(self.replies[label]),
            "next": self._node(self.graph.get(label)),
        }
        missing = self._missing(label)
        if missing:
            node["on_failure"] = self._node(missing)
        elif parameter not in self.api.required or parameter in self.outcomes.denied:
            node["on_failure"] = node["next"]  # what is not required may stay unknown
        return node

    def _open_question(self, label: str) -> dict[str, Any]:
        """A question about no one parameter ("I can filter by …"): what is said is read for values, and need not be said. Who has
        given such a value already is not asked."""
        slot = f"{self.task}__{label}"
        given = [f"{self.task}__{i['Name']}" for i in parameters(self.api) if self._is_filter(i)]
        self.flow.free[slot] = _plain(self.replies[label])
        following = self._node(self.graph.get(label))
        text = _plain(self.replies[label])
        node = {"slots": [slot, *given], "any_of": True, "forget": [slot], "text": text}
        return node | {"next": following, "on_failure": following}

    def _is_filter(self, parameter: Parameter) -> bool:
        """Whether a parameter may be given, has values that can be told from other words, and no question of its own."""
        name = parameter["Name"]
        return (
            name not in self.api.required
            and parameter["Type"] in ("Categorical", "CategoricalMultiple", "Integer")
            and name not in self.linked.values()
        )

    def _retry(self, label: str, call: str, otherwise: str) -> dict[str, Any]:
        """Told of what a call brought, the customer may change something: the call is made again with what is new."""
        slot = f"{self.task}__{label}"
        self.flow.free[slot] = _plain(self.replies[label])
        declined = {"to": otherwise, "when": f"lower({slot}) in {DECLINED!r}"}
        again = {"to": self._node(call)}
        return {
            "slots": [slot],
            "forget": [slot],
            "text": self._text(label),
            "next": [declined, again],
            "on_failure": otherwise,
            "max_visits": ROUNDS,
        }

    def _judged(self, label: str) -> dict[str, Any]:
        """A question to the customer whose answer the call has brought: told whether theirs was right, they may go on."""
        slot, right = f"{self.task}__{label}", _PLACEHOLDER.search(self.replies[self.graph["incorrect"]])
        self.flow.free[slot] = _plain(self.replies[label]) or label.replace("_", " ")
        for outcome in ("correct", "incorrect", "noanswer"):
            if outcome in self.graph:
                self._told_of[self.graph[outcome]] = self._told_of[label]
        answer = self._bound(right.group(1)) if right else ""
        correct = {"to": self._node(self.graph["correct"]), "when": f"lower({answer}) in lower({slot})"}
        wrong = self._node(self.graph["incorrect"])
        return {
            "slots": [slot],
            "forget": [slot],
            "text": self._text(label),
            "next": [correct, {"to": wrong}] if answer else wrong,
            "on_failure": self._node(self.graph.get("noanswer")) if "noanswer" in self.graph else wrong,
            "max_visits": ROUNDS,
        }

    def _missing(self, label: str) -> str | None:
        """Where to go when the customer cannot say: the first info_missing branch that names it and does not come before."""
        asked = name_words(label.split("ask_")[-1])
        for condition in ("info_missing", "info_missing2"):
            target = self.graph.get(condition)
            if target and target != label and asked & name_words(self.replies.get(condition, "").replace("'", "")):
                return target
        return None

    # Calls

    def _request_type(self, label: str) -> str:
        wanted = label.removeprefix("query").strip("_").lower()
        kinds = self.api.request_types
        return next((kind for kind in kinds if kind.lower() == wanted), kinds[-1])

    def _writing(self, label: str | None) -> bool:
        return label is not None and _calls(label) and self.writes(self.api, self._request_type(label))

    def _query(self, label: str) -> dict[str, Any]:
        kind = self._request_type(label)
        name = f"{self.api.name}__{kind.lower()}" if kind else self.api.name
        args = {i["Name"]: f"${self._value(i['Name'], 'false')}" for i in parameters(self.api)}
        node: dict[str, Any] = {
            "tool": name,
            "args": args,
            "save": {f"{self.task}_out": "result"},
            "max_visits": ROUNDS,
        }
        good = self.graph.get(label) or self.graph.get("available") or self.graph.get("query_success")
        if self.graph.get(label) is None and "available" in self.graph and self._writing(label):
            good = self.graph.get("query_success") or self.graph["available"]
        bad = self._bad(label)
        self._reports |= {good or "", bad or ""}
        failed = _any_of(f"{self.task}_out", self.outcomes.failures.get(kind, {}))
        if bad and label not in self._again:
            self._again[bad] = label
        if good and not self._writing(label) and not self._writing(self.graph.get(good)) and not self._offers(good):
            self._told_of.setdefault(good, label)
        node["next"] = self._node(good)
        if bad:
            node["on_failure"] = self._node(bad)
        if bad and (failed or label not in self.graph):
            failed = failed or f"not ({self._told()})"
            node["next"] = [{"to": self._node(bad), "when": failed}, {"to": self._node(good)}]
        return node

    def _value(self, parameter: str, no: str) -> str:
        """The fact of a parameter, as an expression."""
        return f"{self.task}__{parameter}" + (f" or {no}" if parameter in self.outcomes.denied else "")

    def _told(self) -> str:
        """Whether anything came back."""
        return " or ".join(
            f"known({self.task}_out.{output})" for output in dict.fromkeys((*self.api.outputs, "Message"))
        )

    def _bad(self, label: str) -> str | None:
        """Where to go when a call fails or finds nothing."""
        unavailable = None if self._writing(label) else self.graph.get("unavailable")
        return (
            unavailable
            or self.graph.get("query_failure")
            or next((name for name in self.replies if "nothing_found" in name), None)
        )

    # Replies

    def _offers(self, label: str) -> bool:
        """Whether the graph's `yes` and `no` are the answers to this reply."""
        if "yes" not in self.graph or label in self.graph:
            return False
        return label == self.graph.get("available") or ("available" not in self.graph and "found" not in label)

    def _offer(self, label: str) -> dict[str, Any]:
        """An offer that the customer takes up or not; if that is a write, yes is the consent to exactly that call."""
        yes = self.graph["yes"]
        if self._writing(yes) and label not in (self.graph.get("query_failure"), self.graph.get("unavailable")):
            return self._consent(label, yes, self.graph.get("no"))
        said = f"{self.task}_{label}"
        edges = [{"to": self._node(yes), "when": said}, {"to": self._new(self.graph.get("no"))}]
        node = {"confirm": said, "text": self._text(label), "next": edges}
        if label not in self._again:
            optional = [i["Name"] for i in parameters(self.api) if i["Name"] not in self.api.required]
            node["forget"] = [f"{self.task}__{name}" for name in optional]  # what comes next is another request
        return node

    def _consent(self, label: str, call: str, declined: str | None) -> dict[str, Any]:
        target = self._make(call)
        return {"consent": target, "text": self._text(label), "next": target, "on_failure": self._new(declined)}

    def _confirmation(self, call: str) -> str:
        """A question of our own before a write, with the values that it will be made with."""
        label = f"confirm_{call}"
        if label not in self.flow.nodes:
            self.flow.sentences.append(
                f"Before it: ask whether to go ahead, with what was given ({call.replace('_', ' ')})"
            )
            node: dict[str, Any] = {"sentence": len(self.flow.sentences)}
            self.flow.nodes[label] = node
            given = [
                f"{i['ReadableName'].lower()}: {{{self._value(i['Name'], repr('no'))}}}" for i in parameters(self.api)
            ]
            text = f"I have {'; '.join(given)}. Shall I go ahead?"
            node |= {"consent": call, "text": text, "next": self._make(call)}
        return label

    def _new(self, label: str | None) -> str:
        """The node of a label, unless it was passed already: with the same facts it would lead back here."""
        return "end" if label is None or label in self.flow.nodes else self._node(label)

    def _bound(self, placeholder: str) -> str:
        """The fact that a placeholder of a template stands for: an output of the API's, or a parameter; else empty."""
        words = name_words(placeholder)
        output = _nearest(words, {output: name_words(output) for output in self.outputs})
        if output:
            return f"{self.task}_out.{output}"
        given = {i["Name"]: name_words(i["Name"] + " " + i["ReadableName"]) for i in parameters(self.api)}
        parameter = _nearest(words, given)
        return f"{self.task}__{parameter}" if parameter else ""

    def _text(self, label: str) -> str:
        """The template with its placeholders bound to the API's outputs and parameters, and the outputs it does not name."""
        named: set[str] = set()

        def bound(match: re.Match[str]) -> str:
            path = self._bound(match.group(1))
            named.add(path.partition("_out.")[2])
            return f"{{{path}}}" if path else ""

        text = _PLACEHOLDER.sub(bound, self.replies[label])
        if text.strip() and label not in self._reports:
            return text
        more = [output for output in dict.fromkeys((*self.api.outputs, "Message")) if output not in named]
        return text + "\n" + " ".join(f"{{{self.task}_out.{output}}}" for output in more if output != REQUEST_TYPE)


def _calls(label: str | None) -> bool:
    return label is not None and re.fullmatch(r"query(_(?!success|failure)\w+)?", label) is not None


def _any_of(fact: str, values: Mapping[str, list[str]]) -> str:
    """An expression that holds if an output has one of the values."""
    return " or ".join(f"{fact}.{output} == {value!r}" for output, known in sorted(values.items()) for value in known)


def _nearest(words: frozenset[str], named: Mapping[str, frozenset[str]]) -> str | None:
    """The name that shares most words, if any."""
    best = max(named, key=lambda name: (len(words & named[name]), -len(named[name])), default=None)
    return best if best is not None and words & named[best] else None


def _plain(text: str) -> str:
    """A question without placeholders: nothing is known yet."""
    return " ".join(_PLACEHOLDER.sub("", text).split())


def build_flow(
    task: str, raw: dict[str, Any], api: Api, linked: Mapping[str, str], writes: Writes, outcomes: Outcomes
) -> Flow:
    """The flow of one procedure."""
    return Builder(task, raw, api, linked, writes, outcomes).build()
