"""Who may call now: a pool's slots, interactive before background, tenants by weight, and queues that say no."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem import telemetry
from tandem.errors import Exhausted
from tandem.model_pools import Pool
from tandem.telemetry import names

CLASSES = ("interactive", "background")


@dataclass(order=True, slots=True)
class _Waiting:
    finish: float
    order: int
    let_in: asyncio.Future[None] = field(compare=False)


class _Queue:
    """Weighted fair queueing: a call's virtual finish is its tenant's last one plus its size over the tenant's weight."""

    def __init__(self) -> None:
        self._heap: list[_Waiting] = []
        self._last: dict[str, float] = {}
        self._time = 0.0
        self._order = itertools.count()
        self.waiting = 0

    def add(self, tenant: str, cost: float) -> asyncio.Future[None]:
        finish = max(self._time, self._last.get(tenant, 0.0)) + cost
        self._last[tenant] = finish
        waiting = _Waiting(finish, next(self._order), asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, waiting)
        self.waiting += 1
        return waiting.let_in

    def gone(self) -> None:
        """One that waited is let in, or has left."""
        self.waiting -= 1
        if not self.waiting:
            self._last.clear()  # a new busy period: nobody is owed anything
            self._heap.clear()
            self._time = 0.0

    def next(self) -> asyncio.Future[None] | None:
        while self._heap:
            first = heapq.heappop(self._heap)
            self._time = max(self._time, first.finish)
            if not first.let_in.done():
                return first.let_in
        return None


class Slots:
    """The slots of one pool. `capacity` may change as replicas come and go; who is in stays in."""

    def __init__(self, name: str, pool: Pool, capacity: Callable[[], int]) -> None:
        self._name = name
        self._capacity = capacity
        self._reserve = pool.reserve
        self._most_waiting = pool.queue
        self._queues = (_Queue(), _Queue())
        self._running = [0, 0]

    def enter_now(self, *, interactive: bool) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        kind = 0 if interactive else 1
        if self._queues[kind].waiting or not self._free(kind):
            return False
        self._running[kind] += 1
        return True

    async def enter(self, tenant: str, weight: float, cost: float, *, interactive: bool) -> None:
        """Wait for a slot. Raises Exhausted when too many wait already."""
        if self.enter_now(interactive=interactive):
            return
        kind = 0 if interactive else 1
        queue = self._queues[kind]
        if queue.waiting >= self._most_waiting:
            telemetry.count(names.MODEL_REFUSED, "queue_full")
            raise Exhausted("queue_full", f"{queue.waiting} {CLASSES[kind]} calls wait for pool {self._name}")
        let_in = queue.add(tenant, cost / weight)
        self._tell(kind)
        try:
            await let_in
        except asyncio.CancelledError:
            if let_in.done() and not let_in.cancelled():
                self.leave(interactive=interactive)
            else:
                let_in.cancel()
                queue.gone()
            raise
        finally:
            self._tell(kind)

    def leave(self, *, interactive: bool) -> None:
        self._running[0 if interactive else 1] -= 1
        self.let_in()

    def let_in(self) -> None:
        """Fill what is free, interactive calls first."""
        for kind, queue in enumerate(self._queues):
            while queue.waiting and self._free(kind):
                waiting = queue.next()
                if waiting is None:
                    break
                queue.gone()
                self._running[kind] += 1
                waiting.set_result(None)

    @property
    def waiting(self) -> tuple[int, int]:
        return self._queues[0].waiting, self._queues[1].waiting

    @property
    def running(self) -> int:
        return sum(self._running)

    def _free(self, kind: int) -> bool:
        """A background call starts only where enough slots stay free behind it."""
        capacity = self._capacity()
        return self.running < (capacity if kind == 0 else max(1, int(capacity * (1 - self._reserve))))

    def _tell(self, kind: int) -> None:
        telemetry.gauge(names.MODEL_WAITING, self._queues[kind].waiting, self._name, CLASSES[kind])
