"""A bus that misbehaves as Kafka does: for the seeded simulation and for tests of what must hold nevertheless.

It delays, sends to several partitions in any order, acknowledges only a part, and lets what it did not acknowledge land
now, later or never. What it acknowledges is in the log, in order: the port's guarantees hold.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from tandem.bus.base import (
    Appended,
    Bus,
    Consumer,
    Listener,
    NewRecord,
    Outgoing,
    Record,
    TopicPartition,
    placed,
)
from tandem.clock import Clock
from tandem.contracts.topics import Topic
from tandem.errors import BusUnavailable


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Probabilities per call, and the longest waits."""

    fail: float = 0.1  # a write to a partition is not acknowledged
    lands: float = 0.7  # ... and lands nevertheless
    late: float = 0.5  # ... but only later
    commit_fails: float = 0.1
    delay_s: float = 0.01
    late_s: float = 1.0


CALM = FaultPlan(fail=0.0, commit_fails=0.0, delay_s=0.0)


class FaultyBus:
    """Wraps a bus. `plan` may be changed at any time; the same seed and the same calls give the same faults."""

    def __init__(self, bus: Bus, random: Random, clock: Clock, plan: FaultPlan | None = None) -> None:
        self.plan = plan or FaultPlan()
        self._bus = bus
        self._random = random
        self._clock = clock
        self._late: set[asyncio.Task[None]] = set()

    @property
    def kind(self) -> str:
        return self._bus.kind

    async def start(self) -> None:
        await self._bus.start()

    async def stop(self) -> None:
        """What has not landed by now never will."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._bus.stop()

    async def settle(self) -> None:
        """Wait until all that will land late has landed."""
        while self._late:
            await asyncio.gather(*self._late)

    async def create_topics(self, topics: Sequence[Topic]) -> list[str]:
        return await self._bus.create_topics(topics)

    def partitions(self, topic: str) -> int:
        return self._bus.partitions(topic)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        parts: dict[TopicPartition, list[NewRecord]] = defaultdict(list)
        for message in messages:
            count = self.partitions(message.topic)
            partition = placed(message, count)
            where = self._random.randrange(count) if partition is None else partition
            parts[TopicPartition(message.topic, where)].append(message.record)
        writes = [partial(self._bus.append, at.topic, at.partition, records) for at, records in parts.items()]
        self._random.shuffle(writes)
        failures = [failure for write in writes if (failure := await self._attempt(write)) is not None]
        if failures:
            raise failures[0]

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        landed: list[Appended] = []

        async def write() -> None:
            landed.extend(await self._bus.append(topic, partition, records))

        if (failure := await self._attempt(write)) is not None:
            raise failure
        return landed

    async def _attempt(self, write: Callable[[], Awaitable[Any]]) -> BusUnavailable | None:
        """The failure, if it is not acknowledged."""
        plan, random = self.plan, self._random
        await self._clock.sleep(random.uniform(0, plan.delay_s))
        if random.random() >= plan.fail:
            await write()
            return None
        if random.random() < plan.lands:
            if random.random() < plan.late:
                self._land_late(write, random.uniform(0, plan.late_s))
            else:
                await write()
        return BusUnavailable("a fault of the plan: not acknowledged")

    def _land_late(self, write: Callable[[], Awaitable[Any]], seconds: float) -> None:
        async def land() -> None:
            await self._clock.sleep(seconds)
            await write()

        task = asyncio.create_task(land(), name="lands late")
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Sequence[Record]]:
        return self._bus.read(topic, partition, start, end)

    async def end(self, topic: str, partition: int) -> int:
        return await self._bus.end(topic, partition)

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        return await self._bus.committed(group, topic, partition)

    async def consumer(
        self, group: str, topics: Sequence[str], listener: Listener | None = None, instance: str | None = None
    ) -> Consumer:
        return FaultyConsumer(await self._bus.consumer(group, topics, listener, instance), self)

    async def commit(self, consumer: Consumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Half of the commits that fail have arrived nevertheless."""
        fails = self._random.random() < self.plan.commit_fails
        if not fails or self._random.random() < 0.5:
            await consumer.commit(offsets)
        if fails:
            raise BusUnavailable("a fault of the plan: commit not acknowledged")


class FaultyConsumer:
    """A member whose commits may fail."""

    def __init__(self, consumer: Consumer, bus: FaultyBus) -> None:
        self._consumer = consumer
        self._bus = bus

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._consumer.assignment

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        return await self._consumer.poll(max_records, timeout)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._consumer.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._consumer.resume(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.seek(partition, offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self._bus.commit(self._consumer, offsets)

    async def close(self) -> None:
        await self._consumer.close()
