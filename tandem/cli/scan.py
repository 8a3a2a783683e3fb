"""Reading topics without a group: whole partitions, or what comes next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from tandem.bus.base import Bus, Record
from tandem.contracts.message import Envelope, Message, read_body, read_envelope
from tandem.contracts.values import partition_for
from tandem.errors import InvalidMessage

FOLLOW_S = 0.1

M = TypeVar("M", bound=Message)


def read(record: Record) -> tuple[Envelope, Message] | None:
    """The record as a message; None if it is none this version knows."""
    try:
        envelope = read_envelope(record.headers)
        return envelope, read_body(envelope.type, record.value)
    except InvalidMessage:
        return None


async def records(bus: Bus, topic: str, conversation: str | None = None) -> AsyncIterator[Record]:
    """All records of a topic, or of the partition a conversation lies in."""
    count = bus.partitions(topic)
    partitions: Iterable[int] = range(count) if conversation is None else (partition_for(conversation, count),)
    for partition in partitions:
        async for batch in bus.read(topic, partition, 0):
            for record in batch:
                yield record


async def messages(
    bus: Bus, topic: str, kind: type[M], keep: Callable[[M], bool], conversation: str | None = None
) -> list[tuple[Record, M]]:
    """The messages of one kind that are to be kept, oldest first."""
    found: list[tuple[Record, M]] = []
    async for record in records(bus, topic, conversation):
        read_record = read(record)
        if read_record is not None and isinstance(read_record[1], kind) and keep(read_record[1]):
            found.append((record, read_record[1]))
    return sorted(found, key=lambda pair: pair[0].timestamp)


async def awaited(
    bus: Bus, topic: str, conversation: str, start: int, wanted: Callable[[Message], bool], seconds: float
) -> Message | None:
    """The first message from `start` on, in the conversation's partition, that is wanted; None if it does not come in time."""
    partition = partition_for(conversation, bus.partitions(topic))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                async for batch in bus.read(topic, partition, start):
                    start = batch[-1].offset + 1
                    for record in batch:
                        found = read(record)
                        if found and wanted(found[1]):
                            return found[1]
                await asyncio.sleep(FOLLOW_S)
    return None


async def end_for(bus: Bus, topic: str, conversation: str) -> int:
    """Where the next message of the conversation will lie, or later."""
    return await bus.end(topic, partition_for(conversation, bus.partitions(topic)))


async def follow(bus: Bus, topics: Iterable[str], from_start: bool) -> AsyncIterator[Record]:
    """Records as they come, for ever."""
    places = {
        (topic, partition): 0 if from_start else await bus.end(topic, partition)
        for topic in topics
        for partition in range(bus.partitions(topic))
    }
    while True:
        fresh: list[Record] = []
        for (topic, partition), start in places.items():
            async for batch in bus.read(topic, partition, start):
                fresh.extend(batch)
                places[topic, partition] = batch[-1].offset + 1
        for record in sorted(fresh, key=lambda record: record.timestamp):
            yield record
        if not fresh:
            await asyncio.sleep(FOLLOW_S)
