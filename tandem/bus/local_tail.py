"""What the local bus knows in memory of each partition: its end, who reads it, and the newest records."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from tandem.bus.base import Record, TopicPartition

OVERHEAD = 500
"""Bytes that a record costs beside its key and value, roughly."""


class Watcher(Protocol):
    """A reader that wants to know at once."""

    def wake(self) -> None: ...

    def position_in(self, partition: TopicPartition) -> int | None: ...


@dataclass(slots=True)
class Budget:
    """Bytes that all tails together may hold; what does not fit is read from the file."""

    limit: int
    used: int = 0


@dataclass(slots=True, eq=False)
class Log:
    """One partition. The tail is an unbroken run of records up to `end`, or empty."""

    id: int
    at: TopicPartition
    budget: Budget
    end: int = 0
    watchers: dict[Watcher, None] = field(default_factory=dict)  # in the order they came
    _tail: deque[Record] = field(default_factory=deque)

    def moved_to(self, end: int) -> bool:
        """Others may have appended: is there anything new?"""
        if end == self.end:
            return False
        self.forget_below(end)
        self.end = end
        return True

    def remember(self, records: Sequence[Record]) -> None:
        """Just committed, in order, from `end` on."""
        for record in records:
            size = _size(record)
            if self.budget.used + size > self.budget.limit:
                self.forget_below(record.offset)
                continue
            self._tail.append(record)
            self.budget.used += size

    def forget_below(self, offset: int) -> None:
        tail = self._tail
        while tail and tail[0].offset < offset:
            self.budget.used -= _size(tail.popleft())

    def remembered(self, position: int, limit: int) -> list[Record]:
        """From the tail; empty if it starts later."""
        tail = self._tail
        if not tail or position < tail[0].offset:
            return []
        start = position - tail[0].offset
        return list(islice(tail, start, start + limit))

    @property
    def tail_start(self) -> int:
        """Before this offset only the file has the records."""
        return self._tail[0].offset if self._tail else self.end


def _size(record: Record) -> int:
    return OVERHEAD + len(record.key or b"") + len(record.value or b"")
