"""The steps of a procedure between its words and its graph: what each does, and where it leads as far as the words say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tandem.packs.compiling.language import Condition


@dataclass(eq=False)
class Step:
    """A node to be. `fields` are those of the flow file that the words alone decide."""

    id: str
    sentence: int
    verb: str
    words: str
    fields: dict[str, Any]
    granted: str | None = None  # an expression: the customer is verified, or may do it
    back: Step | None = None  # leads back to this call
    to: int | None = None  # leads to this sentence
    ends: bool = False
    branches: list[Way] = field(default_factory=list)


@dataclass(eq=False)
class Way:
    """A branch of a step: conditions in the language of expressions, and the steps that follow."""

    conditions: tuple[Condition, ...]
    steps: list[Step]
    direct: Step | None = None  # no step of its own: to this call again
    to: int | None = None  # no step of its own: to this sentence
    ends: bool = False  # no step of its own: the end

    @property
    def loops(self) -> bool:
        return self.direct is not None or any(step.back is not None for step in self.steps)


def every(steps: list[Step]) -> Iterator[Step]:
    """All steps, those of branches after their own."""
    for step in steps:
        yield step
        for way in step.branches:
            yield from every(way.steps)
