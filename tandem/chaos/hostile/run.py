"""Many tickets with a hostile model, and what came of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tandem.chaos.hostile.case import Case
from tandem.packs.load import load_pack

KEPT = 20
"""Breaks and leaks that are told in words; all are counted."""


@dataclass(frozen=True, slots=True)
class Played:
    """What one ticket came to."""

    ticket: int
    answers: int  # of the model
    plans: int  # of the model's, taken up
    programs: int  # of the model's, run
    drafts: int  # of answers, shown while they were written
    writes: int  # permitted, and made
    refusals: dict[str, int]  # of the executor, by reason
    outcome: str
    breaks: tuple[str, ...]
    leaks: tuple[str, ...]


@dataclass
class Report:
    """What a number of tickets came to, one after another from `start`. `breaks` and `leaks` are what must not be."""

    start: int = 1
    wanted: int = 0
    tickets: int = 0
    answers: int = 0
    plans: int = 0
    programs: int = 0
    drafts: int = 0
    writes: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    leaked: int = 0
    breaks: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    injections: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.broken and not self.leaked

    @property
    def complete(self) -> bool:
        return self.tickets == self.wanted

    @property
    def next(self) -> int:
        """The first ticket that has not been played."""
        return self.start + self.tickets

    def to_json(self) -> dict[str, Any]:
        told = {"refusals": dict(self.refusals), "outcomes": dict(self.outcomes)}
        return {**asdict(self), **told, "complete": self.complete, "next": self.next}

    def add(self, played: Played) -> None:
        self.tickets += 1
        self.answers += played.answers
        self.plans += played.plans
        self.programs += played.programs
        self.drafts += played.drafts
        self.writes += played.writes
        self.refusals.update(played.refusals)
        self.outcomes[played.outcome] += 1
        self.broken += len(played.breaks)
        self.leaked += len(played.leaks)
        self.breaks += [f"ticket {played.ticket}: {text}" for text in played.breaks][: KEPT - len(self.breaks)]
        self.leaks += [f"ticket {played.ticket}: {text[:300]}" for text in played.leaks][: KEPT - len(self.leaks)]


def each(pack: Path, numbers: Iterable[int], texts: Sequence[str]) -> Iterator[Played]:
    """One ticket after another."""
    loaded = load_pack(pack)
    with asyncio.Runner() as runner:
        for number in numbers:
            case = Case(number, loaded, Random(f"hostile {number}"), texts)
            runner.run(case.play())
            yield _played(number, case)


def _played(number: int, case: Case) -> Played:
    return Played(
        ticket=number,
        answers=case.model.answers,
        plans=case.plans,
        programs=case.programs,
        drafts=len(case.drafts),
        writes=case.door.writes,
        refusals=dict(case.door.refusals),
        outcome=case.ticket.status.value if case.ticket else "none",
        breaks=tuple(case.door.breaks),
        leaks=tuple(case.leaks),
    )
