"""Buses that misbehave: a frozen member, sends that land late, acknowledgements that are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tandem.bus.base import Appended, Bus, Consumer, NewRecord, Outgoing, TopicPartition
from tandem.contracts.topics import TICKET_STATE
from tandem.errors import BusUnavailable


class Wrapped:
    """A bus in front of another."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


class Deaf:
    """A listener that never hears of a revocation, as in a frozen process."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        await self._listener.on_assigned(partitions)

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        pass


class FreezingBus(Wrapped):
    """Once frozen, appends wait for the thaw, and the group's news do not arrive."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.waiting = asyncio.Event()

    async def consumer(self, group: str, topics: Sequence[str], listener: Any, instance: str | None = None) -> Consumer:
        return await self._bus.consumer(group, topics, Deaf(listener), instance)

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        if not self.thawed.is_set():
            self.waiting.set()
            await self.thawed.wait()
        return await self._bus.append(topic, partition, records)


class StuckBus(Wrapped):
    """Publishes hang until they may go on."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.free = asyncio.Event()
        self.free.set()
        self.waiting = asyncio.Event()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if not self.free.is_set():
            self.waiting.set()
            await self.free.wait()
        await self._bus.publish(messages)


class FailingBus(Wrapped):
    """Fails the appends and publishes for which `fails` says so, before they land, after, or with a late landing."""

    def __init__(self, bus: Bus, how: str, fails: Callable[[str, Sequence[NewRecord]], bool]) -> None:
        super().__init__(bus)
        self._how = how
        self._fails = fails
        self._late: list[tuple[int, Sequence[NewRecord]]] = []

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        if not self._fails("append", records):
            landed = await self._bus.append(topic, partition, records)
            # What was never acknowledged lands right after the next claim.
            late, self._late = (
                [x for x in self._late if x[0] == partition],
                [x for x in self._late if x[0] != partition],
            )
            for _, old in late:
                await self._bus.append(TICKET_STATE.name, partition, old)
            return landed
        if self._how == "after":
            await self._bus.append(topic, partition, records)
        elif self._how == "late":
            self._late.append((partition, records))
        raise BusUnavailable("not acknowledged")

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if self._fails("publish", [message.record for message in messages]):
            if self._how == "after":
                await self._bus.publish(messages)
            raise BusUnavailable("not acknowledged")
        await self._bus.publish(messages)
