"""Consume loops under test: messages to send, handlers that write down what they saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tandem.bus.base import Bus, Outgoing, Record, outgoing
from tandem.bus.consume import ConsumeLoop, Delivery, Handler, LoopPolicy
from tandem.bus.retries import Backoff
from tandem.clock import SystemClock
from tandem.contracts.inbox import TimerFired
from tandem.contracts.message import Envelope
from tandem.contracts.topics import DEAD_LETTERS, TICKET_INBOX, Topic
from tests.contracts.bus.conftest import SHARDS
from tests.contracts.bus.helpers import LIMIT_S, read_all, until_it

QUICK = Backoff(first_s=0.1, factor=3.0, cap_s=0.4)


def message(topic: str, name: str, *, key: str | None = None, partition: int | None = None) -> Outgoing:
    """A message of which the handler sees `name`."""
    body = TimerFired(tenant="acme", conversation=key or name, ticket="t", name=name, due=1)
    envelope = Envelope(
        id=name, source="tandem/test", type=TimerFired.TYPE, time=1_700_000_000_000, subject=name, tenant="acme"
    )
    return outgoing(topic, key or name, body, envelope, partition)


def name_of(delivery: Delivery) -> str:
    assert isinstance(delivery.message, TimerFired)
    return delivery.message.name


@dataclass
class Handling:
    """A handler that does what it is told by name, and writes down what it saw."""

    act: Callable[[str, int], Awaitable[Sequence[Outgoing]]] | None = None
    began: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    at_work: int = 0
    most_at_work: int = 0

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        name = name_of(delivery)
        self.began.append((name, delivery.attempt))
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            outputs = await self.act(name, delivery.attempt) if self.act else []
        finally:
            self.at_work -= 1
        self.ended.append(name)
        return outputs


def make_loop(bus: Bus, group: str, topic: Topic, handler: Handler, policy: LoopPolicy | None = None) -> ConsumeLoop:
    return ConsumeLoop(
        bus, group, [topic], handler, policy=policy or LoopPolicy(backoff=QUICK), clock=SystemClock(), name="tester"
    )


@asynccontextmanager
async def running(loop: ConsumeLoop, grace_s: float = 5.0) -> AsyncIterator[asyncio.Task[None]]:
    """Runs until the block ends; then the loop is drained."""
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        await loop.stop(grace_s)
        await asyncio.gather(task, return_exceptions=True)


async def committed(bus: Bus, group: str, topic: str) -> list[int | None]:
    return [await bus.committed(group, topic, n) for n in range(SHARDS)]


async def committed_to(bus: Bus, group: str, topic: str, partition: int, offset: int) -> None:
    async def reached() -> bool:
        return await bus.committed(group, topic, partition) == offset

    await until_it(reached)


@dataclass
class Growth:
    """What was added to a topic that the run shares, since this was made."""

    bus: Bus
    topic: str
    starts: list[int]

    @classmethod
    async def of(cls, bus: Bus, topic: str) -> Growth:
        return cls(bus, topic, [await bus.end(topic, n) for n in range(bus.partitions(topic))])

    async def records(self) -> list[Record]:
        found = [await read_all(self.bus, self.topic, n, start) for n, start in enumerate(self.starts)]
        return [record for records in found for record in records]

    async def wait(self, wanted: int) -> list[Record]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = await self.records()
                if len(found) >= wanted:
                    return found
                await asyncio.sleep(0.02)


async def dead_letters(bus: Bus) -> Growth:
    return await Growth.of(bus, DEAD_LETTERS.name)


async def inbox(bus: Bus) -> Growth:
    return await Growth.of(bus, TICKET_INBOX.name)
