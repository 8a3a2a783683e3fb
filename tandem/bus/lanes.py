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
    """Works in as many tasks as there is work that waits: what never does shares one, as a task costs more than a small
    handler. A record whose partition is lost is dropped before it starts.
    """

    def __init__(self, work: Work, limit: int, clock: Clock, changed: Callable[[], None]) -> None:
        self._work = work
        self._limit = limit
        self._clock = clock
        self._changed = changed
        self._lanes: dict[bytes, Lane] = {}
        self._runnable: deque[Lane] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._spare = False  # a worker is about to take what is runnable
        self._timers: dict[asyncio.Task[None], Taken] = {}
        self._closed = False
        self.queued = 0  # ready, or behind one of the same key
        self.running = 0
        self.failure: BaseException | None = None

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
        await _cancel(self._workers)

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
        """See to it that somebody takes what is runnable."""
        if self._runnable and not (self._spare or self._closed) and len(self._workers) < self._limit:
            self._spare = True
            worker = asyncio.create_task(self._serve())
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    def _left(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._start()

    async def _serve(self) -> None:
        """Take up one lane after the other until none is runnable."""
        self._spare = False
        while self._runnable and not self._closed:
            lane = self._runnable.popleft()
            if self._first(lane):
                self._start()  # somebody else goes on when this work has to wait
                await self._serve_first(lane)

    def _first(self, lane: Lane) -> bool:
        """Drop what is lost; False if nothing is left."""
        while lane[0].offsets.lost:
            self.queued -= 1
            if self._pop(lane) is None:
                return False
        return True

    async def _serve_first(self, lane: Lane) -> None:
        taken = lane[0]
        self.queued -= 1
        self.running += 1
        taken.offsets.running += 1  # until its outputs are acknowledged, or it is given up
        hold: float | None = None
        try:
            hold = await self._work(taken)
        except asyncio.CancelledError:
            taken.offsets.running -= 1
            raise
        except BaseException as error:  # noqa: BLE001 - told to the loop, which ends by it
            taken.offsets.running -= 1
            self.failure = self.failure or error
            self._changed()
            return
        finally:
            self.running -= 1
        if hold is not None:
            taken.offsets.running -= 1
            if not self._closed:
                self._after(hold, taken, partial(self._resume, lane))
        elif self._pop(lane) is not None:
            self._runnable.append(lane)

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
