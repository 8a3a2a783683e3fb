"""Which offset may be committed while records are finished out of order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from tandem.bus.base import TopicPartition


class PartitionOffsets:
    """Records of one partition that were taken up: everything below `position` is finished."""

    def __init__(self) -> None:
        self.lost = False  # the partition was revoked: nothing of it is committed any more
        self.running = 0  # handlers at work, and outputs not yet acknowledged
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self._next: int | None = None

    def begin(self, offset: int) -> None:
        """Offsets come in the order of the log, with gaps where it was compacted."""
        self._open.append(offset)
        self._next = offset + 1

    def finish(self, offset: int) -> None:
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(self._open.popleft())

    @property
    def span(self) -> int:
        """How many were taken up from the commit on, finished or not."""
        return len(self._open)

    @property
    def unfinished(self) -> int:
        return len(self._open) - len(self._finished)

    @property
    def position(self) -> int | None:
        """The next offset to read after a restart; None while nothing was taken up."""
        return self._open[0] if self._open else self._next


class Offsets:
    """All partitions of a member, and what of it is not committed yet."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, PartitionOffsets] = {}
        self._committed: dict[TopicPartition, int] = {}

    def of(self, at: TopicPartition) -> PartitionOffsets:
        if at not in self._partitions:
            self._partitions[at] = PartitionOffsets()
        return self._partitions[at]

    def to_commit(self) -> dict[TopicPartition, int]:
        """Positions that have moved since they were last `committed`."""
        moved = {}
        for at, offsets in self._partitions.items():
            position = offsets.position
            if position is not None and position != self._committed.get(at):
                moved[at] = position
        return moved

    def committed(self, positions: dict[TopicPartition, int]) -> None:
        self._committed |= positions

    def running(self, partitions: Iterable[TopicPartition]) -> int:
        return sum(found.running for at in partitions if (found := self._partitions.get(at)))

    def lose(self, partitions: Iterable[TopicPartition]) -> None:
        """From now on nothing of them is taken up."""
        for at in partitions:
            if at in self._partitions:
                self._partitions[at].lost = True

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            self._partitions.pop(at, None)
            self._committed.pop(at, None)

    def __iter__(self) -> Iterator[tuple[TopicPartition, PartitionOffsets]]:
        return iter(self._partitions.items())
