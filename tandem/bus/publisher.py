"""Publishes what handlers returned: all that is ready goes in one batch, and is kept until it is acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tandem.bus.base import Bus, Outgoing
from tandem.bus.lanes import Taken
from tandem.bus.retries import Backoff
from tandem.clock import Clock
from tandem.errors import BusUnavailable, InvalidError

logger = logging.getLogger(__name__)

AGAIN = Backoff(first_s=0.1, factor=2.0, cap_s=5.0)


@dataclass(slots=True)
class Finished:
    """A record whose handler returned, and what it wants published."""

    taken: Taken
    outputs: Sequence[Outgoing]
    refused: bool = False


class Publisher:
    """`settled` is told of each record whose outputs are acknowledged; `refuse` says what to send for one whose outputs
    no bus would take."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        settled: Callable[[Taken], None],
        refuse: Callable[[Taken, InvalidError], Sequence[Outgoing]],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._settled = settled
        self._refuse = refuse
        self._queue: list[Finished] = []
        self._some = asyncio.Event()
        self.pending = 0

    def add(self, taken: Taken, outputs: Sequence[Outgoing]) -> None:
        self.pending += 1
        self._queue.append(Finished(taken, outputs))
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            batch, self._queue = self._queue, []
            await self._publish(batch)

    async def _publish(self, batch: list[Finished]) -> None:
        try:
            await self._send([output for finished in batch for output in finished.outputs])
        except InvalidError as error:
            await self._publish_apart(batch, error)
            return
        for finished in batch:
            self.pending -= 1
            self._settled(finished.taken)

    async def _publish_apart(self, batch: list[Finished], error: InvalidError) -> None:
        """One of them cannot be sent: the others must not suffer for it."""
        if len(batch) > 1:
            for finished in batch:
                await self._publish([finished])
            return
        finished = batch[0]
        if finished.refused:
            raise error
        await self._publish([Finished(finished.taken, self._refuse(finished.taken, error), refused=True)])

    async def _send(self, outputs: Sequence[Outgoing]) -> None:
        attempt = 0
        while outputs:
            try:
                await self._bus.publish(outputs)
                return
            except BusUnavailable as error:
                attempt += 1
                logger.warning("outputs not acknowledged; they are sent again", extra={"error": str(error)})
                await self._clock.sleep(AGAIN.after(attempt))
