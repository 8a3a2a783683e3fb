"""The consumer of `ticket.events`, one group per generation of the store."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from functools import partial

from services.memory.figures import COUNTED
from services.memory.handlers import Projector, having
from services.memory.projection import KEPT
from services.memory.store import MemoryStore
from tandem import telemetry
from tandem.bus.base import Bus
from tandem.bus.consume import ConsumeLoop, LoopPolicy
from tandem.bus.lag import Membership
from tandem.clock import Clock
from tandem.contracts.topics import TICKET_EVENTS
from tandem.errors import IndexUnavailable
from tandem.kill_points import Kill, go_on

CHECK_S = 5.0
RETRY_S = 0.5


class EventsReader:
    """Consumes until stopped. When the store was lost, a new group reads the topic from its start."""

    def __init__(
        self,
        bus: Bus,
        store: MemoryStore,
        clock: Clock,
        max_in_flight: int = 64,
        make_id: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
        check_s: float = CHECK_S,
        kill: Kill = go_on,
    ) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._make_id = make_id
        self._check_s = check_s
        self._kill = kill
        self._loop: ConsumeLoop | None = None
        self._stopping = asyncio.Event()
        self._grace_s = 0.0
        self._since = clock.now()

    @property
    def heartbeat(self) -> float | None:
        """None between two loops: while Redis is away, restarting would not help."""
        return self._loop.heartbeat if self._loop is not None else None

    @property
    def member(self) -> Membership | None:
        """Its place in the group; None between two loops."""
        return None if self._loop is None else self._loop.member

    async def run(self) -> None:
        while not self._stopping.is_set():
            generation = await self._generation()
            if generation is None:
                await self._clock.sleep(RETRY_S)
            else:
                await self._consume(generation)

    async def stop(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._stopping.set()
        if self._loop is not None:
            await self._loop.stop(grace_s)

    async def _consume(self, generation: str) -> None:
        """Consume for one generation of the store, until it is lost or the reader is stopped."""
        loop = ConsumeLoop(
            self._bus,
            group=f"memory-{generation}",
            topics=[TICKET_EVENTS],
            handler=Projector(self._store, generation, self._since),
            policy=LoopPolicy(max_in_flight=self._max_in_flight, ordered=True, wanted=having(KEPT | COUNTED)),
            clock=self._clock,
            name="memory",
            around=partial(telemetry.consume_span, name="memory"),
            kill=self._kill,
        )
        self._loop = loop
        running = asyncio.create_task(loop.run(), name="memory:events")
        try:
            while not running.done() and not self._stopping.is_set():
                await self._pause(running)
                if await self._generation() not in (generation, None):
                    break
            await loop.stop(self._grace_s)
            await running
        finally:
            self._loop = None
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _pause(self, running: asyncio.Task[None]) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([running, stopping], timeout=self._check_s, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _generation(self) -> str | None:
        """The store's generation, a new one if the store is new or was lost; None while Redis is away."""
        try:
            return await self._store.generation(self._make_id())
        except IndexUnavailable:
            return None
