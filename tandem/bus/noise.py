"""A bus over which what is published is sent twice, late, and so in another order: for plans of faults on real services."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from random import Random

from tandem.bus.base import Appended, Bus, Consumer, Listener, NewRecord, Outgoing, Record
from tandem.clock import Clock
from tandem.contracts.topics import Topic
from tandem.errors import InvalidSettings, TandemError

logger = logging.getLogger(__name__)

MAX_COPIES = 10_000


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """Shares of what is published, and the longest delay. Most delays are short, a few are nearly as long."""

    twice: float
    late: float
    late_s: float

    @classmethod
    def read(cls, text: str) -> NoisePlan:
        """`0.2,0.05,10`. Raises InvalidSettings."""
        try:
            twice, late, late_s = (float(part) for part in text.split(","))
        except ValueError:
            raise InvalidSettings(f"TANDEM_NOISE={text!r} is not twice,late,late_s, e.g. 0.2,0.05,10") from None
        return cls(twice, late, late_s)


class NoisyBus:
    """Wraps a bus. What `publish` acknowledges is in the log, and records of one key keep their order within a call; a
    second copy comes whenever it comes. `append` is left alone: a fenced log has one writer, and nobody else's copies."""

    def __init__(self, bus: Bus, random: Random, clock: Clock, plan: NoisePlan) -> None:
        self._bus = bus
        self._random = random
        self._clock = clock
        self._plan = plan
        self._copies: set[asyncio.Task[None]] = set()

    @property
    def kind(self) -> str:
        return self._bus.kind

    async def start(self) -> None:
        await self._bus.start()

    async def stop(self) -> None:
        for task in self._copies:
            task.cancel()
        await asyncio.gather(*self._copies, return_exceptions=True)
        await self._bus.stop()

    async def create_topics(self, topics: Sequence[Topic]) -> list[str]:
        return await self._bus.create_topics(topics)

    def partitions(self, topic: str) -> int:
        return self._bus.partitions(topic)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        prompt: list[Outgoing] = []
        late: dict[tuple[str, str | bytes | None], list[Outgoing]] = defaultdict(list)
        chosen: dict[tuple[str, str | bytes | None], bool] = {}
        for message in messages:
            place = (message.topic, message.record.key)
            is_late = chosen.setdefault(place, self._random.random() < self._plan.late)
            (late[place] if is_late else prompt).append(message)
            if self._random.random() < self._plan.twice and len(self._copies) < MAX_COPIES:
                self._send_again(message)
        await asyncio.gather(self._bus.publish(prompt), *(self._send_late(part) for part in late.values()))

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        return await self._bus.append(topic, partition, records)

    def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Sequence[Record]]:
        return self._bus.read(topic, partition, start, end)

    async def end(self, topic: str, partition: int) -> int:
        return await self._bus.end(topic, partition)

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        return await self._bus.committed(group, topic, partition)

    async def consumer(
        self, group: str, topics: Sequence[str], listener: Listener | None = None, instance: str | None = None
    ) -> Consumer:
        return await self._bus.consumer(group, topics, listener, instance)

    def _delay_s(self) -> float:
        return float(self._plan.late_s * self._random.random() ** 3)

    async def _send_late(self, messages: list[Outgoing]) -> None:
        await self._clock.sleep(self._delay_s())
        await self._bus.publish(messages)

    def _send_again(self, message: Outgoing) -> None:
        delay_s = self._delay_s()

        async def send() -> None:
            await self._clock.sleep(delay_s)
            try:
                await self._bus.publish([message])
            except TandemError as error:
                logger.info("a second copy was not sent", extra={"error": str(error)})

        task = asyncio.create_task(send(), name="second copy")
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)
