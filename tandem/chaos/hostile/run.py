"""Many tickets with a hostile model, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tandem.chaos.hostile.case import Case
from tandem.chaos.hostile.data import injections
from tandem.packs.load import load_pack
from tandem.packs.model import Pack

KEPT = 20


@dataclass
class Report:
    """What a number of tickets came to. `breaks` and `leaks` are what must not be."""

    tickets: int = 0
    answers: int = 0  # of the model
    plans: int = 0  # of the model's, taken up
    programs: int = 0  # of the model's, run
    drafts: int = 0  # of answers, shown while they were written
    writes: int = 0  # permitted, and made
    refusals: Counter[str] = field(default_factory=Counter)  # of the executor, by reason
    outcomes: Counter[str] = field(default_factory=Counter)
    breaks: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    injections: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.breaks and not self.leaks

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "refusals": dict(self.refusals), "outcomes": dict(self.outcomes)}

    def add(self, seed: int, case: Case) -> None:
        self.tickets += 1
        self.answers += case.model.answers
        self.plans += case.plans
        self.programs += case.programs
        self.drafts += len(case.drafts)
        self.writes += case.door.writes
        self.refusals += case.door.refusals
        self.outcomes[case.ticket.status.value if case.ticket else "none"] += 1
        self.breaks += [f"ticket {seed}: {text}" for text in case.door.breaks][: KEPT - len(self.breaks)]
        self.leaks += [f"ticket {seed}: {text[:300]}" for text in case.leaks][: KEPT - len(self.leaks)]


def play(
    pack: Path, tickets: int, start: int = 1, data: Path | None = None, tell: Callable[[int], None] = lambda _: None
) -> Report:
    """Play tickets `start` and on. The same number is the same ticket."""
    began = time.monotonic()
    texts = injections(data)
    report = Report(injections=len(texts))
    asyncio.run(_play(load_pack(pack), range(start, start + tickets), texts, report, tell))
    report.seconds = round(time.monotonic() - began, 1)
    return report


async def _play(
    pack: Pack, numbers: Sequence[int], texts: Sequence[str], report: Report, tell: Callable[[int], None]
) -> None:
    for number in numbers:
        case = Case(number, pack, Random(f"hostile {number}"), texts)
        await case.play()
        report.add(number, case)
        tell(number)
