"""Decision points of STAR's dialogues: what the agent knew, and what the recorded one did then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem.bench.star.data import REQUEST_TYPE
from tandem.brains.values import Api, Parameter, Procedure, Situation, Step, StepKind, Turn, Type

UNSCORED = "custom"
CALL = re.compile(r"query(_(?!success|failure)\w+)?")
OUTCOMES = (
    "query_success",
    "query_failure",
    "info_missing",
    "info_missing2",
    "correct",
    "incorrect",
    "noanswer",
    "done",
)
CONDITIONS = frozenset(("available", "unavailable", "yes", "no", *OUTCOMES))
TYPES: dict[str, Type] = {
    "Categorical": "choice",
    "CategoricalMultiple": "choices",
    "ShortString": "text",
    "LongString": "long_text",
    "Integer": "integer",
    "Boolean": "boolean",
    REQUEST_TYPE: "request",
}
_TODAY = re.compile(r"Today is ([^\n]+)")
_MESSAGES = frozenset((("User", "utter"), ("Wizard", "utter"), ("Wizard", "custom"), ("Wizard", "pick_suggestion")))

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a dialogue at which the recorded agent took a labelled step or made a call."""

    situation: Situation
    task: str  # the active procedure
    kind: StepKind
    step: str  # label; of a call the API
    params: dict[str, str] = field(default_factory=dict)  # of a call, as they were written
    text: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A dialogue as its decision points."""

    id: int
    kind: str
    tasks: tuple[str, ...]
    points: tuple[Point, ...]
    start: Situation  # after the first two messages of the customer, or all there are
    start_task: str


def read_catalogue(folder: Path) -> dict[str, Procedure]:
    """The procedures of a folder by name, each with its API."""
    kinds: dict[str, StepKind] = json.loads((folder / "DERIVED_action_types.json").read_text(encoding="utf-8"))
    found: dict[str, Procedure] = {}
    for path in sorted((folder / "sop").glob("*/*.json")):
        spec = folder / "apis" / f"{path.stem}.json"
        if path.stem == path.parent.name and spec.exists():
            raw = json.loads(path.read_text(encoding="utf-8"))
            api = _api(path.stem, json.loads(spec.read_text(encoding="utf-8")))
            found[path.stem] = _procedure(path.stem, raw, api, kinds)
    return found


def _procedure(name: str, raw: dict[str, Any], api: Api, kinds: dict[str, StepKind]) -> Procedure:
    edges: dict[str, str] = raw["graph"]
    steps = [
        Step(label, kinds.get(label) or _kind_of(label, text, edges), text)
        for label, text in raw["replies"].items()
        if label not in CONDITIONS and not CALL.fullmatch(label)
    ]
    call = Step(api.name, "call", f"look up {name.replace('_', ' ')}", api.name)
    return Procedure(name, (*steps, call), edges, api, raw["replies"].get("out_of_scope", ""))


def _kind_of(label: str, text: str, edges: dict[str, str]) -> StepKind:
    """Of a label without a reviewed type: by its node."""
    after = {edges.get(name) for name in edges if CALL.fullmatch(name) or name in CONDITIONS - {"yes", "no"}}
    if "bye" in label or label == "hello":
        return "close"
    if label in after:
        return "reply"
    return "ask" if "?" in text or "_ask_" in label else "reply"


def _api(name: str, raw: dict[str, Any]) -> Api:
    required = frozenset(raw["required"])
    return Api(
        name,
        tuple(
            Parameter(
                i["Name"],
                TYPES[i["Type"]],
                tuple(str(c) for c in i.get("Categories") or ()),
                i.get("ReadableName") or i["Name"],
                i["Name"] in required,
            )
            for i in raw["input"]
        ),
        tuple(output["Name"] for output in raw["output"]),
    )


def read_points(folder: Path, split: str, catalogue: dict[str, Procedure]) -> Iterator[Recorded]:
    """The split's dialogues."""
    kinds = {step.name: step.kind for procedure in catalogue.values() for step in procedure.steps}
    with (folder / f"dialogues_{split}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield _recorded(json.loads(line), kinds)


def _recorded(raw: dict[str, Any], kinds: dict[str, StepKind]) -> Recorded:
    scenario = raw["Scenario"]
    tasks = tuple(dict.fromkeys(one["Task"] for one in scenario["WizardCapabilities"]))
    today = _TODAY.search(scenario.get("WizardTask") or "")
    events = without_repeats(raw["Events"])
    chosen = [event["Task"] for event in events if event["Action"] == "select_task"]
    active = tasks[0] if len(tasks) == 1 or not chosen else chosen[0]
    day = today.group(1).strip() if today else ""
    turns: list[Turn] = []
    points: list[Point] = []
    start: tuple[Situation, str] | None = None
    for event in events:
        if event["Action"] == "select_task" and len(tasks) > 1:
            active = event["Task"]
        turn = _turn(event)
        if turn is None:
            continue
        if turn.who == "call" or turn.step:
            points.append(_point(turn, Situation(tuple(turns), day), active, kinds, event))
        turns.append(turn)
        if turn.who == "customer" and sum(one.who == "customer" for one in turns) == 2:
            start = Situation(tuple(turns), day), active
    first = start or (Situation(tuple(turns), day), active)
    return Recorded(raw["DialogueID"], raw["Kind"], tasks, tuple(points), *first)


def _turn(event: Event) -> Turn | None:
    who = event["Agent"], event["Action"]
    if who == ("User", "utter"):
        return Turn("customer", event["Text"])
    if who == ("Wizard", "pick_suggestion"):
        step = "" if event["ActionLabel"] == UNSCORED else event["ActionLabel"]
        return Turn("agent", event["Text"], step)
    if who in (("Wizard", "utter"), ("Wizard", "custom")):
        return Turn("agent", event["Text"])
    if who == ("Wizard", "query"):
        return Turn("call", api=event["APIName"], params=constraints(event))
    if who == ("KnowledgeBase", "return_item"):
        return Turn("return", item=event.get("Item") or {})
    return None


def constraints(event: Event) -> dict[str, str]:
    """A recorded call's parameters as they were written."""
    return {name: str(value) for one in event["Constraints"] for name, value in one.items()}


def _point(turn: Turn, situation: Situation, task: str, kinds: dict[str, StepKind], event: Event) -> Point:
    if turn.who == "call":
        return Point(situation, task, "call", turn.api, dict(turn.params))
    return Point(situation, task, kinds.get(turn.step, "reply"), turn.step, text=event["Text"])


def without_repeats(events: Sequence[Event]) -> list[Event]:
    """Of calls of one API and request type with no message between, the last, with its return."""
    kept: list[Event] = []
    latest: int | None = None  # where the last call stands in `kept`, if no message came after it
    for event in events:
        if (event["Agent"], event["Action"]) in _MESSAGES:
            latest = None
        if event["Action"] == "query":
            if latest is not None and _what(kept[latest]) == _what(event):
                kept[latest:] = [one for one in kept[latest:] if one["Action"] not in ("query", "return_item")]
            latest = len(kept)
        kept.append(event)
    return kept


def _what(event: Event) -> tuple[str, str]:
    return event["APIName"], constraints(event).get(REQUEST_TYPE, "").strip("\"' ").lower()
