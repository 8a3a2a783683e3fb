"""Who works when: one key serially, so many at once, some of it later."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from tandem.bus.base import Record
from tandem.bus.offsets import PartitionOffsets
from tandem.clock import Clock


@dataclass(slots=True, eq=False)
class Taken:
    """A record taken up. Without a key, it waits for no other."""

    record: Record
    offsets: PartitionOffsets
    key: bytes | None
    attempt: int


Work: TypeAlias = Callable[[Taken], Coroutine[Any, Any, float | None]]
"""Returns None when done, or after how many seconds the same record must be tried again, its key waiting for it."""

Lane: TypeAlias = deque[Taken]


class Lanes:
    """Starts work in tasks. A record whose partition is lost is dropped before it starts."""

    def __init__(self, work: Work, limit: int, clock: Clock, changed: Callable[[], None]) -> None:
        self._work = work
        self._limit = limit
        self._clock = clock
        self._changed = changed
        self._lanes: dict[bytes, Lane] = {}
        self._runnable: deque[Lane] = deque()
        self._tasks: set[asyncio.Future[float | None]] = set()
        self._timers: dict[asyncio.Task[None], Taken] = {}
        self._closed = False
        self.queued = 0  # ready, or behind one of the same key
        self.failure: BaseException | None = None

    @property
    def running(self) -> int:
        return len(self._tasks)

    @property
    def waiting(self) -> int:
        """Records whose time has not come."""
        return len(self._timers)

    def add(self, taken: Taken) -> None:
        self.queued += 1
        lane = self._lanes.get(taken.key) if taken.key is not None else None
        if lane is not None:
            lane.append(taken)
            return
        lane = deque((taken,))
        if taken.key is not None:
            self._lanes[taken.key] = lane
        self._ready(lane)

    def add_later(self, taken: Taken, seconds: float) -> None:
        self._after(seconds, taken, partial(self.add, taken))

    def drop_lost(self) -> None:
        """Forget what waits of lost partitions; what is queued goes when its turn comes."""
        for timer, taken in self._timers.items():
            if taken.offsets.lost and taken.key not in self._lanes:
                timer.cancel()

    async def close(self) -> None:
        """Start nothing any more."""
        self._closed = True
        await _cancel(self._timers)

    async def cancel(self) -> None:
        """Give up what is at work."""
        await self.close()
        await _cancel(self._tasks)

    def _after(self, seconds: float, taken: Taken, then: Callable[[], None]) -> None:
        async def wait() -> None:
            await self._clock.sleep(seconds)
            then()

        timer = asyncio.create_task(wait(), name=f"later {taken.record.topic}")
        self._timers[timer] = taken
        timer.add_done_callback(self._forget_timer)

    def _forget_timer(self, timer: asyncio.Task[None]) -> None:
        self._timers.pop(timer, None)
        self._changed()

    def _ready(self, lane: Lane) -> None:
        self._runnable.append(lane)
        self._start()

    def _start(self) -> None:
        while self._runnable and len(self._tasks) < self._limit and not self._closed:
            lane = self._runnable.popleft()
            while lane[0].offsets.lost:
                self.queued -= 1
                if self._pop(lane) is None:
                    break
            else:
                self._begin(lane)

    def _begin(self, lane: Lane) -> None:
        taken = lane[0]
        self.queued -= 1
        taken.offsets.running += 1
        task = asyncio.create_task(self._work(taken))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, lane))

    def _ended(self, lane: Lane, task: asyncio.Future[float | None]) -> None:
        self._tasks.discard(task)
        taken = lane[0]
        if task.cancelled():
            taken.offsets.running -= 1
            return
        if error := task.exception():
            taken.offsets.running -= 1
            self.failure = self.failure or error
            self._changed()
            return
        hold = task.result()
        if hold is not None:
            taken.offsets.running -= 1
            if not self._closed:
                self._after(hold, taken, partial(self._resume, lane))
        elif self._pop(lane) is not None:
            self._runnable.append(lane)
        self._start()

    def _resume(self, lane: Lane) -> None:
        self.queued += 1
        self._ready(lane)

    def _pop(self, lane: Lane) -> Lane | None:
        """The lane without its first; None if nothing is left of it."""
        key = lane.popleft().key
        if lane:
            return lane
        if key is not None:
            del self._lanes[key]
        return None


async def _cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    found = list(tasks)
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)
