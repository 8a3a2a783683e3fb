"""Values found in a text, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tandem.contracts.values import Json


@dataclass(frozen=True, slots=True)
class Found:
    """A value at text[start:end]. `clear`: the pack says it need not be masked."""

    slot: str
    value: Json
    start: int
    end: int
    sensitive: bool = False
    confidence: float = 1.0
    clear: bool = False

    def overlaps(self, other: Found) -> bool:
        return self.start < other.end and other.start < self.end

    def inside(self, other: Found) -> bool:
        """True if it is a part of the other and not the whole."""
        length = other.end - other.start
        return other.start <= self.start and self.end <= other.end and self.end - self.start < length

    def free_of(self, others: Iterable[Found]) -> bool:
        """True if no other value stands at the same place."""
        return not any(self.overlaps(other) for other in others)


def cut(text: str, found: Iterable[Found]) -> str:
    """The text without the values."""
    return replace(text, found, lambda _: " ").strip()


def mask(text: str, found: Iterable[Found]) -> str:
    """The text with every sensitive value replaced by its slot's name in brackets."""
    return replace(text, (value for value in found if value.sensitive), masked)


def masked(value: Found) -> str:
    return f"[{value.slot}]"


def replace(text: str, found: Iterable[Found], by: Callable[[Found], str]) -> str:
    """The text with each value replaced; of overlapping ones the first and longest."""
    pieces: list[str] = []
    at = 0
    for value in sorted(found, key=lambda value: (value.start, -value.end)):
        if value.end <= at:
            continue
        if value.start >= at:
            pieces.append(text[at : value.start])
            pieces.append(by(value))
        at = value.end
    pieces.append(text[at:])
    return "".join(pieces)
