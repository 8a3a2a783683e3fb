"""A pack's tests: conversations to play against the platform, and what must come of them.

The format is described in packs/cloud_support/tests/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from tandem.contracts.values import Json
from tandem.errors import InvalidPack
from tandem.packs.files import read_yaml
from tandem.packs.model import PackValue
from tandem.packs.problems import Problems, at

ACTIONS = ("say", "burst", "press", "expert")


class Turn(PackValue):
    """One thing that the customer or an expert does. Exactly one of `say`, `burst`, `press` and `expert` is given."""

    say: str | None = None  # a message
    burst: tuple[str, ...] = ()  # messages sent at once
    press: str | None = None  # a card's button: "yes", "no" or a choice's id
    question: Literal["latest", "older"] = "latest"  # whose button: of the last question asked, or of the one before it
    expert: Literal["take", "reply", "give_back", "approve", "reject"] | None = None
    text: str = ""  # an expert's reply
    reason: str = ""  # an expert's reason or note
    resolved: bool = False  # give_back: the matter is settled
    wait_for: Literal["rest", "question", "reply", "progress", "approval", "handover"] = "rest"
    replies: tuple[str, ...] = ()  # regular expressions: what must be said in answer to this turn, in order

    @model_validator(mode="after")
    def _one_action(self) -> Turn:
        given = [name for name in ACTIONS if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"a turn does one thing: give one of {', '.join(ACTIONS)}; it has {given or 'none'}")
        return self


class ExpectedCall(PackValue):
    """A call of a tool. Arguments that are not named may be anything."""

    tool: str
    args: dict[str, Json] = Field(default_factory=dict)
    times: int = 1  # effects of a write; a read was made at least once


class Expected(PackValue):
    """What must have come of the conversation. A write that is not among `calls` is a failure."""

    intent: str | None = None  # of the first plan
    outcome: str | None = None  # the ticket's status
    calls: tuple[ExpectedCall, ...] = ()
    replies: tuple[str, ...] = ()  # regular expressions, in order, others between
    not_replies: tuple[str, ...] = ()  # regular expressions that no reply may match
    citations: bool = False  # a reply cites passages, and each resolves
    progress: bool = False  # a running card was shown, and ended
    max_replies: int | None = None  # final replies of the platform


class Scenario(PackValue):
    """One conversation."""

    name: str
    scenario: str = ""  # what it is an instance of; several wordings share it
    language: str = "en"
    turns: tuple[Turn, ...] = Field(min_length=1)
    expect: Expected = Expected()


def load_scenarios(folder: Path) -> list[Scenario]:
    """Every conversation of a pack's tests, in the order of files. Raises InvalidPack with all problems."""
    problems = Problems()
    found: list[Scenario] = []
    for path in sorted((folder / "tests").glob("*.yaml")):
        place = path.relative_to(folder).as_posix()
        data = read_yaml(folder, path, problems)
        for position, raw in enumerate(data if isinstance(data, list) else [data]):
            scenario = problems.read(Scenario, _shaped(raw, path.stem), at(place, position))
            if scenario is not None:
                _check(scenario, at(place, position), {known.name for known in found}, problems)
                found.append(scenario)
    if problems.errors:
        raise InvalidPack(folder.name, [str(problem) for problem in problems.errors])
    return found


def _shaped(raw: Any, stem: str) -> Any:
    return {"scenario": stem, **raw} if isinstance(raw, dict) else raw


def _check(scenario: Scenario, place: str, names: set[str], problems: Problems) -> None:
    if scenario.name in names:
        problems.error(f"{place}.name", f"{scenario.name!r} is there twice; give each conversation its own name")
    patterns = [pattern for turn in scenario.turns for pattern in turn.replies]
    for pattern in (*patterns, *scenario.expect.replies, *scenario.expect.not_replies):
        try:
            re.compile(pattern)
        except re.error as error:
            problems.error(place, f"{pattern!r} is no regular expression: {error}")
