"""STAR's files as values. Formats: the README of the data folder; nothing of them is copied here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REQUEST_TYPE = "RequestType"
_WRAPPED = re.compile(r"^api\.\w+\((.*)\)$", re.DOTALL)
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, slots=True)
class Query:
    """A call of the recorded agent, and what came back."""

    api: str
    request_type: str
    params: dict[str, str]  # normalised
    item: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A recorded dialogue: what the customer said, to which question, and what was called."""

    id: int
    kind: str
    tasks: tuple[str, ...]
    said: tuple[str, ...]  # by the customer, in order
    openings: tuple[str, ...]  # before the first labelled question or call
    answers: dict[str, str]  # label of the question → what was said next
    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Api:
    """An API's parameters, required ones, and outputs."""

    name: str
    inputs: tuple[dict[str, Any], ...]
    required: frozenset[str]
    outputs: tuple[str, ...]

    @property
    def request_types(self) -> tuple[str, ...]:
        found = next((i for i in self.inputs if i["Type"] == REQUEST_TYPE), None)
        return tuple(found["Categories"]) if found else ("",)

    def is_free_text(self, name: str) -> bool:
        return any(i["Name"] == name and i["Type"] == "LongString" for i in self.inputs)


def normalise(value: Any) -> str:
    """A value as it is compared: no quotes, operators, case, punctuation at the ends or doubled spaces."""
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value).strip()
    wrapped = _WRAPPED.match(text)
    text = (wrapped.group(1) if wrapped else text).strip().strip("\"'").lower()
    text = re.sub(r"(\d)\s*(am|pm)\b", r"\1 \2", text)
    return re.sub(r"\s+", " ", text).strip(" .,!?")


def name_words(name: str) -> frozenset[str]:
    """The words of a name such as `StartTimeHour` or `bank_ask_pin`."""
    return frozenset(part.lower() for part in _CAMEL.findall(name.replace("_", " ")))


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield _dialogue(json.loads(line))


def _dialogue(raw: dict[str, Any]) -> Dialogue:
    said: list[str] = []
    openings: list[str] = []
    answers: dict[str, str] = {}
    queries: list[Query] = []
    asked = ""
    begun = False
    for event in raw["Events"]:
        match event["Agent"], event["Action"]:
            case "User", "utter":
                said.append(event["Text"])
                if not begun:
                    openings.append(event["Text"])
                if asked:
                    answers.setdefault(asked, event["Text"])
                asked = ""
            case "Wizard", "pick_suggestion":
                asked = event["ActionLabel"]
                begun |= "ask" in asked
            case "Wizard", "query":
                begun = True
                queries.append(_query(event))
            case "KnowledgeBase", "return_item" if queries:
                last = queries[-1]
                queries[-1] = Query(last.api, last.request_type, last.params, event.get("Item") or {})
    tasks = tuple(dict.fromkeys(one["Task"] for one in raw["Scenario"]["WizardCapabilities"]))
    return Dialogue(
        raw["DialogueID"], raw["Kind"], tasks, tuple(said), tuple(openings), answers, tuple(merged(queries))
    )


def _query(event: dict[str, Any]) -> Query:
    given = {name: normalise(value) for one in event["Constraints"] for name, value in one.items()}
    return Query(event["APIName"], given.pop(REQUEST_TYPE, ""), given)


def merged(queries: list[Query]) -> list[Query]:
    """Of several calls of one API and request type in a row, the last."""
    kept: list[Query] = []
    for query in queries:
        if kept and (kept[-1].api, kept[-1].request_type) == (query.api, query.request_type):
            kept.pop()
        kept.append(query)
    return kept


def read_api(path: Path) -> Api:
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Api(
        path.stem, tuple(raw["input"]), frozenset(raw["required"]), tuple(output["Name"] for output in raw["output"])
    )
