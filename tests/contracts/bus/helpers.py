"""What the suite's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tandem.bus.base import Bus, Consumer, NewRecord, Record, TopicPartition

LIMIT_S = 20.0


async def until(condition: Callable[[], bool], seconds: float = LIMIT_S) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def until_it(condition: Callable[[], Awaitable[bool]], seconds: float = LIMIT_S) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def take(consumer: Consumer, wanted: int, seconds: float = LIMIT_S) -> list[Record]:
    """Poll until that many have come."""
    found: list[Record] = []
    async with asyncio.timeout(seconds):
        while len(found) < wanted:
            found += await consumer.poll(wanted - len(found), 0.2)
    return found


async def read_all(bus: Bus, topic: str, partition: int, start: int = 0, end: int | None = None) -> list[Record]:
    return [record async for batch in bus.read(topic, partition, start, end) for record in batch]


def plain(*values: str) -> list[NewRecord]:
    return [NewRecord(f"k-{value}", value.encode()) for value in values]


@dataclass
class Watching:
    """A listener that writes down what it is told, and may take its time."""

    name: str = ""
    told: list[tuple[str, str, list[TopicPartition]]] = field(default_factory=list)
    may_assign: asyncio.Event = field(default_factory=asyncio.Event)
    may_revoke: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_assign.set()
        self.may_revoke.set()

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append((self.name, "assigning", list(partitions)))
        await self.may_assign.wait()
        self.told.append((self.name, "assigned", list(partitions)))

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append((self.name, "revoking", list(partitions)))
        await self.may_revoke.wait()
        self.told.append((self.name, "revoked", list(partitions)))

    def heard(self, what: str) -> bool:
        return any(word == what for _, word, _ in self.told)
