"""STAR's files as values. Formats: the README of the data folder; nothing of them is copied here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

REQUEST_TYPE = "RequestType"
_WRAPPED = re.compile(r"^api\.\w+\((.*)\)$", re.DOTALL)
TODAY = re.compile(r"Today is ([^\n]+)")
_BOOLEANS = {"true": "yes", "false": "no"}
_NOTHING = frozenset(("", "null", "none"))
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, slots=True)
class Query:
    """A call of the recorded agent, and what came back."""

    api: str
    request_type: str
    params: dict[str, str]  # normalised
    item: dict[str, Any] = field(default_factory=dict)
    spelt: dict[str, str] = field(default_factory=dict)  # the parameters as they were written
    then: str = ""  # label of the agent's next step


@dataclass(frozen=True, slots=True)
class Said:
    """What the customer said to a labelled step."""

    text: str
    then_called: bool  # a call came after it


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A recorded dialogue: what the customer said, to which question, and what was called."""

    id: int
    kind: str
    tasks: tuple[str, ...]
    said: tuple[str, ...]  # by the customer, in order
    openings: tuple[str, ...]  # before the first labelled question or call
    answers: dict[str, tuple[Said, ...]]  # label of the step → what was said next, each time
    queries: tuple[Query, ...]  # of several in a row of one API and request type the last
    returns: tuple[Query, ...] = ()  # all
    today: str = ""  # "Saturday", where the agent was told


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
    """A value as it is compared: no quotes, operators, case, punctuation at the ends or doubled spaces; a list is sorted, one of
    one value is that value; "true" is "yes"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = spelling(value).lower()
    if text.startswith("["):
        text = ", ".join(sorted(part.strip().strip("\"'") for part in text.strip("[]").split(",")))
    text = re.sub(r"(\d)\s*(am|pm)\b", r"\1 \2", text)
    text = re.sub(r"\s+", " ", text).strip(" .,!?")
    return _BOOLEANS.get(text, text)


def spelling(value: Any) -> str:
    """A value as it was written, without quotes and operators."""
    text = str(value).strip()
    wrapped = _WRAPPED.match(text)
    return (wrapped.group(1) if wrapped else text).strip().strip("\"'").strip()


def name_words(name: str) -> frozenset[str]:
    """The words of a name such as `StartTimeHour` or `bank_ask_pin`."""
    return frozenset(part.lower() for part in _CAMEL.findall(name.replace("_", " ")))


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield _dialogue(json.loads(line))


def _dialogue(raw: dict[str, Any]) -> Dialogue:
    events = raw["Events"]
    last_call = max((at for at, event in enumerate(events) if _is(event, "Wizard", "query")), default=-1)
    said: list[str] = []
    openings: list[str] = []
    answers: dict[str, list[Said]] = {}
    asked = ""
    begun = False
    for at, event in enumerate(events):
        if _is(event, "User", "utter"):
            said.append(event["Text"])
            if not begun:
                openings.append(event["Text"])
            if asked:
                answers.setdefault(asked, []).append(Said(event["Text"], at < last_call))
            asked = ""
        elif _is(event, "Wizard", "pick_suggestion"):
            asked = event["ActionLabel"]
            begun |= "ask" in asked
        begun |= _is(event, "Wizard", "query")
    queries = _queries(events)
    return Dialogue(
        raw["DialogueID"],
        raw["Kind"],
        tuple(dict.fromkeys(one["Task"] for one in raw["Scenario"]["WizardCapabilities"])),
        tuple(said),
        tuple(openings),
        {label: tuple(texts) for label, texts in answers.items()},
        tuple(merged(queries)),
        tuple(queries),
        today.group(1).strip() if (today := TODAY.search(raw["Scenario"].get("WizardTask") or "")) else "",
    )


def _is(event: dict[str, Any], agent: str, action: str) -> bool:
    return (event["Agent"], event["Action"]) == (agent, action)


def _queries(events: list[dict[str, Any]]) -> list[Query]:
    found: list[Query] = []
    for event in events:
        if _is(event, "Wizard", "query"):
            found.append(_query(event))
        elif _is(event, "KnowledgeBase", "return_item") and found:
            found[-1] = replace(found[-1], item=event.get("Item") or {})
        elif _is(event, "Wizard", "pick_suggestion") and found and not found[-1].then:
            found[-1] = replace(found[-1], then=event["ActionLabel"])
    return found


def _query(event: dict[str, Any]) -> Query:
    spelt = {name: spelling(value) for one in event["Constraints"] for name, value in one.items()}
    given = {name: normalise(value) for one in event["Constraints"] for name, value in one.items()}
    kind = given.pop(REQUEST_TYPE, "")
    given = {name: value for name, value in given.items() if value not in _NOTHING}
    return Query(event["APIName"], kind, given, spelt={name: spelt[name] for name in given})


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
