"""What lies between a process and its broker: delays, lost and late requests, second copies, sessions that end.

Everything on the far side runs outside of every process: what a process has sent may arrive after its death.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar

from tandem.bus.base import Appended, Consumer, Listener, NewRecord, Outgoing, Record, TopicPartition, placed
from tandem.chaos.simulation.broker import SESSION_S, Broker
from tandem.chaos.simulation.loop import Process
from tandem.contracts.topics import Topic
from tandem.errors import BusUnavailable

T = TypeVar("T")

OUTSIDE = Context()
"""Where the far side runs: it belongs to no process."""


@dataclass(slots=True)
class Weather:
    """How bad the network is. Probabilities per request; `calm` is a network without faults."""

    delay_s: float = 0.004
    slow: float = 0.02  # ... and now and then much longer
    slow_s: float = 1.0
    fails: float = 0.02  # a request is not acknowledged
    lands: float = 0.6  # ... and lands nevertheless
    late: float = 0.5  # ... but only later
    late_s: float = 6.0
    duplicates: float = 0.2  # a published record comes twice
    duplicate_s: float = 2.0

    def calm(self) -> None:
        self.slow = self.fails = self.duplicates = 0.0

    def storm(self) -> None:
        self.fails, self.slow = 0.25, 0.15


class Network:
    """One network for all processes."""

    def __init__(self, broker: Broker, random: Random) -> None:
        self.broker = broker
        self.random = random
        self.weather = Weather()
        self.flights: set[asyncio.Task[Any]] = set()
        self._last: dict[object, float] = {}

    def outside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run on the far side."""
        task = asyncio.get_running_loop().create_task(work, context=OUTSIDE.copy())
        self.flights.add(task)
        task.add_done_callback(self._landed, context=OUTSIDE.copy())
        return task

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self.flights.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked has it too

    async def ask(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        failure: Callable[[str], Exception],
        lane: object = None,
        certain: bool = False,
    ) -> T:
        """Have `work` done on the far side and wait for its answer. Requests of one lane arrive in order, but late ones.

        `certain`: the far side is there, only slow.
        """
        random, weather = self.random, self.weather
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not certain and random.random() < weather.fails:
            lands = random.random() < weather.lands
            late = random.uniform(0, weather.late_s) if lands and random.random() < weather.late else 0.0
            if lands:
                self.outside(self._deliver(work, None, self._arrival(None if late else lane) + late))
            await asyncio.sleep(self._delay() + random.choice((0.0, 0.5)))
            raise failure("the simulated network lost it")
        self.outside(self._deliver(work, answer, self._arrival(lane)))
        return await answer

    def _delay(self) -> float:
        weather, random = self.weather, self.random
        return random.uniform(0, weather.slow_s if random.random() < weather.slow else weather.delay_s)

    def _arrival(self, lane: object) -> float:
        """When a request arrives: not before those sent before it in its lane."""
        at = asyncio.get_running_loop().time() + self._delay()
        if lane is not None:
            at = self._last[lane] = max(at, self._last.get(lane, 0.0))
        return at

    async def _deliver(
        self, work: Callable[[], Coroutine[Any, Any, T]], answer: asyncio.Future[T] | None, at: float
    ) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(at - loop.time())
        try:
            result = await work()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            if answer is not None and not answer.done():
                answer.set_exception(error)
            return
        await asyncio.sleep(self._delay())
        if answer is not None and not answer.done():
            answer.set_result(result)


class ProcessBus:
    """The bus as one process has it."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._broker = network.broker
        self._process = process
        self.members: list[Member] = []

    @property
    def kind(self) -> str:
        return self._broker.kind

    async def start(self) -> None:
        """The broker is up."""

    async def stop(self) -> None:
        """The broker stays up."""

    async def create_topics(self, topics: Sequence[Topic]) -> list[str]:
        return []

    def partitions(self, topic: str) -> int:
        return self._broker.partitions(topic)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        random = self._network.random
        parts: dict[TopicPartition, list[NewRecord]] = defaultdict(list)
        for message in messages:
            count = self.partitions(message.topic)
            partition = placed(message, count)
            at = TopicPartition(message.topic, random.randrange(count) if partition is None else partition)
            parts[at].append(message.record)
        asked = [self._write(at, records) for at, records in parts.items()]
        random.shuffle(asked)
        failures = [one for one in await asyncio.gather(*asked, return_exceptions=True) if one is not None]
        for failure in failures:
            if isinstance(failure, BaseException):
                raise failure

    async def _write(self, at: TopicPartition, records: Sequence[NewRecord]) -> None:
        async def land() -> None:
            await self._broker.append(at.topic, at.partition, records)
            for record in records:
                if self._network.random.random() < self._network.weather.duplicates:
                    self._again(at, record)

        await self._ask(land, at)

    def _again(self, at: TopicPartition, record: NewRecord) -> None:
        """A second copy, sooner or later; never before the first: a partition keeps the order of its sender."""
        network = self._network
        write = partial(self._broker.append, at.topic, at.partition, [record])
        when = asyncio.get_running_loop().time() + network.random.uniform(0, network.weather.duplicate_s)
        network.outside(network._deliver(write, None, when))

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        return await self._ask(
            partial(self._broker.append, topic, partition, records), TopicPartition(topic, partition)
        )

    async def _ask(self, work: Callable[[], Coroutine[Any, Any, T]], at: TopicPartition) -> T:
        return await self._network.ask(work, BusUnavailable, (self._process.name, self._process.life, at))

    async def read(
        self, topic: str, partition: int, start: int, end: int | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        async def all_of_it() -> list[Record]:
            return [record async for batch in self._broker.read(topic, partition, start, end) for record in batch]

        records = await self._network.ask(all_of_it, BusUnavailable)
        size = self._network.random.choice((3, 50, 500))
        for first in range(0, len(records), size):
            yield records[first : first + size]

    async def end(self, topic: str, partition: int) -> int:
        return await self._network.ask(partial(self._broker.end, topic, partition), BusUnavailable)

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        return await self._network.ask(partial(self._broker.committed, group, topic, partition), BusUnavailable)

    async def consumer(
        self, group: str, topics: Sequence[str], listener: Listener | None = None, instance: str | None = None
    ) -> Member:
        member = Member(self._network, self._process, group, topics, listener)
        self.members.append(member)
        await member.join()
        return member

    def session_over(self) -> None:
        """The broker has not heard of the process for a session's time: its partitions go to others."""
        for member in self.members:
            member.evict()


class Session:
    """What the broker tells one membership, until the membership is over."""

    def __init__(self, process: Process, listener: Listener | None, over: asyncio.Future[None]) -> None:
        self._process = process
        self._listener = listener
        self.over = over

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        if self._listener is not None:
            await self._tell(lambda listener: listener.on_assigned(partitions))

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        if self._listener is not None:
            await self._tell(lambda listener: listener.on_revoked(partitions))

    async def _tell(self, call: Callable[[Listener], Awaitable[None]]) -> None:
        """In the process, and only while somebody is there to answer."""
        listener = self._listener
        if self.over.done() or not self._process.alive or listener is None:
            return

        async def told() -> None:
            await call(listener)

        task = self._process.spawn(told())
        await asyncio.wait({task, self.over}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()


class Member:
    """A member of a group. One that was silent for too long is out, and joins again once it has noticed."""

    def __init__(
        self, network: Network, process: Process, group: str, topics: Sequence[str], listener: Listener | None
    ) -> None:
        self._network = network
        self._process = process
        self._group = group
        self._topics = topics
        self._listener = listener
        self._inner: Consumer | None = None
        self._over: asyncio.Future[None] | None = None
        self._believed: frozenset[TopicPartition] = frozenset()  # what it had when it was put out

    async def join(self) -> None:
        self._over = over = asyncio.get_running_loop().create_future()
        session = Session(self._process, self._listener, over)
        broker = self._network.broker

        async def joining() -> None:
            """Whoever died on the way to it is put out again by the end of the session that nobody keeps up."""
            self._inner = inner = await broker.consumer(self._group, self._topics, session)
            if over.done() or not self._process.alive:
                await inner.close()

        await self._network.ask(joining, BusUnavailable, certain=True)

    def evict(self) -> None:
        if self._over is None or self._over.done():
            return
        self._over.set_result(None)
        if self._inner is not None:
            self._believed = self._inner.assignment
            self._network.outside(self._inner.close())

    @property
    def consumer(self) -> Consumer:
        if self._inner is None:
            raise BusUnavailable("not joined")
        return self._inner

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self.consumer.assignment

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        if self._over is not None and self._over.done():
            await self._rejoin()
        return await self.consumer.poll(max_records, timeout)

    async def _rejoin(self) -> None:
        """It finds out by the next heartbeat; until then it believes what it believed."""
        await asyncio.sleep(self._network.random.uniform(0, SESSION_S))
        if self._listener is not None:
            await self._listener.on_revoked(sorted(self._believed))
        await self.join()

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self.consumer.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self.consumer.resume(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.consumer.seek(partition, offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self._network.ask(
            partial(self.consumer.commit, offsets),
            BusUnavailable,
            (self._process.name, self._process.life, "commit", self._group),
        )

    async def close(self) -> None:
        await self._network.ask(self.consumer.close, BusUnavailable, certain=True)


__all__ = ["OUTSIDE", "Member", "Network", "ProcessBus", "Session", "Weather"]
