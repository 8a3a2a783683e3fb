"""Customers of a rehearsal: told by a file, or led down one path after another until every branch was taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml
from pydantic import Field

from tandem.contracts.ticket import Choice, Question
from tandem.contracts.values import Json
from tandem.errors import InvalidPack
from tandem.packs.examples import Outcome, slot_value
from tandem.packs.files import parse_yaml, why_unreadable
from tandem.packs.model import Pack, PackValue
from tandem.packs.problems import Problems, at


class Script(Protocol):
    """Everybody around the ticket: what the customer says, what tools answer, what the expert decides."""

    def hear(self, question: Question, any_of: bool, told: Sequence[str]) -> Sequence[str]:
        """The customer is asked, after all that they were told. Of which of its slots they speak."""
        ...

    def value(self, node: str, slot: str) -> Json:
        """What the customer gives for a slot; None: they cannot say."""
        ...

    def yes(self, node: str, what: str) -> bool:
        """Whether the customer agrees, or the expert approves."""
        ...

    def choice(self, node: str, choices: Sequence[Choice]) -> str: ...

    def outcome(self, node: str, tool: str, options: Sequence[Outcome]) -> Outcome:
        """How a call goes; `options` differ in what follows, the usual one first."""
        ...


class Expectation(PackValue):
    outcome: Literal["resolved", "handed_over"] | None = None
    calls: tuple[str, ...] = ()  # tools that write, in order; nothing else may have been written
    nodes: tuple[str, ...] = ()  # were reached, in order, others between
    reason: str | None = None  # of the handover


class Customer(PackValue):
    """One customer in a file of customers. What is not said is the usual."""

    name: str
    procedure: str
    language: str = ""
    gives: dict[str, Json | list[Json]] = Field(
        default_factory=dict
    )  # slot → a value, or one for each time it is asked
    cannot_say: tuple[str, ...] = ()  # slots
    agrees: bool = True
    chooses: str = ""  # id of a choice; default: the first
    approved: bool = True  # by the expert
    results: dict[str, list[dict[str, Json]]] = Field(
        default_factory=dict
    )  # tool → its answers in turn; the last one stays
    fails: dict[str, dict[str, Json]] = Field(default_factory=dict)  # tool → what it says when it fails, always
    expect: Expectation | None = None  # None: that the path ends rightly


class Told:
    """Plays a customer of a file."""

    def __init__(self, customer: Customer, pack: Pack) -> None:
        self._customer = customer
        self._pack = pack
        self._asked: dict[str, int] = {}

    def hear(self, question: Question, any_of: bool, told: Sequence[str]) -> Sequence[str]:
        return _enough(question, any_of)

    def _turn(self, what: str) -> int:
        self._asked[what] = self._asked.get(what, 0) + 1
        return self._asked[what]

    def value(self, node: str, slot: str) -> Json:
        n = self._turn(f"slot {slot}")
        if slot in self._customer.cannot_say:
            return None
        given = self._customer.gives.get(slot)
        if given is None:
            return slot_value(self._pack.slots[slot], n)
        return given[min(n, len(given)) - 1] if isinstance(given, list) else given

    def yes(self, node: str, what: str) -> bool:
        return self._customer.approved if what == "approve" else self._customer.agrees

    def choice(self, node: str, choices: Sequence[Choice]) -> str:
        return self._customer.chooses or choices[0].id

    def outcome(self, node: str, tool: str, options: Sequence[Outcome]) -> Outcome:
        if tool in self._customer.fails:
            return Outcome(f"{tool} fails", "failed", self._customer.fails[tool])
        answers = self._customer.results.get(tool)
        if not answers:
            return options[0]
        return Outcome(tool, "done", answers[min(self._turn(f"tool {tool}"), len(answers)) - 1])


class Led:
    """Takes the given options at the first decisions, the usual ones after them, and notes what else there was."""

    def __init__(self, way: Sequence[int], pack: Pack) -> None:
        self._way = way
        self._pack = pack
        self._visits: dict[str, int] = {}
        self.points: list[tuple[str, int, int, tuple[str, ...]]] = []
        """(where, which time there, taken, labels of all options)"""

    @property
    def name(self) -> str:
        """What is unusual about the path."""
        return ", ".join(labels[taken] for _, _, taken, labels in self.points if taken) or "as usual"

    def hear(self, question: Question, any_of: bool, told: Sequence[str]) -> Sequence[str]:
        return _enough(question, any_of)

    def _decide(self, where: str, *labels: str) -> int:
        self._visits[where] = visit = self._visits.get(where, 0) + 1
        at = len(self.points)
        taken = self._way[at] if at < len(self._way) else 0
        self.points.append((where, visit, taken, labels))
        return taken

    def value(self, node: str, slot: str) -> Json:
        if self._decide(f"{node}.{slot}", "gives it", f"cannot say {slot}"):
            return None
        return slot_value(self._pack.slots[slot], sum(where.endswith(f".{slot}") for where, *_ in self.points))

    def yes(self, node: str, what: str) -> bool:
        return not self._decide(f"{node}.{what}", "yes", f"no to {node}")

    def choice(self, node: str, choices: Sequence[Choice]) -> str:
        return choices[0].id

    def outcome(self, node: str, tool: str, options: Sequence[Outcome]) -> Outcome:
        return options[self._decide(node, *(option.label for option in options))]


def _enough(question: Question, any_of: bool) -> Sequence[str]:
    return question.slots[:1] if any_of else question.slots


def load_customers(file: Path, pack: Pack) -> list[Customer]:
    """The customers of a YAML file. Raises InvalidPack with all problems."""
    problems = Problems()
    try:
        data: Any = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidPack(pack.name, [f"{file}: cannot be read as YAML: {why_unreadable(error)}"]) from error
    found = []
    for position, raw in enumerate(data if isinstance(data, list) else [data]):
        customer = problems.read(Customer, raw, at(file.name, position))
        if customer is None:
            continue
        found.append(customer)
        if customer.procedure not in pack.flows:
            problems.error(at(file.name, position), f"there is no procedure {customer.procedure!r} in the pack")
        for tool in (*customer.results, *customer.fails):
            if tool not in pack.tools and tool not in pack.programs:
                problems.error(at(file.name, position), f"there is no tool {tool!r} in the pack")
    if problems.errors:
        raise InvalidPack(pack.name, [str(problem) for problem in problems.errors])
    return found
