"""Reading a partition from an offset, without a group: replay, and looking at a log's tail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.structs import ConsumerRecord

from tandem.bus.base import Record
from tandem.bus.kafka_link import Link, Names, stop_consumer, unavailable

READERS = 4
WAIT_MS = 200


def to_record(names: Names, found: ConsumerRecord) -> Record:
    """A record as the port has it."""
    return Record(
        names.logical(found.topic),
        found.partition,
        found.offset,
        found.timestamp,
        found.key,
        found.value,
        found.headers,
    )


class Readers:
    """A few consumers without a group, lent for one fetch at a time: a slow reader of one partition holds up no other."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names
        self._slots = asyncio.Semaphore(READERS)
        self._idle: list[AIOKafkaConsumer] = []
        self._asker: AIOKafkaConsumer | None = None  # never fetches, so its questions wait for no fetch
        self._starting = asyncio.Lock()

    async def ends(self, partitions: Sequence[KafkaPartition]) -> dict[KafkaPartition, int]:
        """Waits for partitions that have no leader yet."""
        with unavailable(
            f"ends of {len(partitions)} partitions, first {partitions[0].topic}/{partitions[0].partition}"
        ):
            async with asyncio.timeout(self._link.options.read_timeout):
                async with self._starting:
                    if self._asker is None:
                        self._asker = await self._start()
                offsets: dict[KafkaPartition, int] = await self._asker.end_offsets(list(partitions))
                return offsets

    async def end(self, at: KafkaPartition) -> int:
        return (await self.ends([at]))[at]

    async def read(self, at: KafkaPartition, start: int, end: int | None) -> AsyncIterator[Sequence[Record]]:
        """Batches until the end. Compaction leaves gaps, so it is the position that says where we are, not the records."""
        limit = await self.end(at)
        if end is not None:
            limit = min(limit, end)
        position = start
        while position < limit:
            records, position = await self._chunk(at, position, limit)
            if records:
                yield records

    async def close(self) -> None:
        for consumer in self._idle:
            await self._stop(consumer)
        self._idle.clear()
        if self._asker is not None:
            await self._stop(self._asker)
            self._asker = None

    async def _chunk(self, at: KafkaPartition, position: int, limit: int) -> tuple[list[Record], int]:
        """The next records, and the position after them. Raises BusUnavailable when nothing moves for too long."""
        with unavailable(f"read {at.topic}/{at.partition} at {position}"):
            async with asyncio.timeout(self._link.options.read_timeout), self._lend(at) as consumer:
                consumer.seek(at, position)
                consumer.resume(at)
                reached = position
                found: list[ConsumerRecord] = []
                while reached == position and not found:
                    found = (await consumer.getmany(at, timeout_ms=WAIT_MS)).get(at, [])
                    reached = await consumer.position(at)
                consumer.pause(at)
                return [to_record(self._names, each) for each in found if each.offset < limit], reached

    @asynccontextmanager
    async def _lend(self, at: KafkaPartition) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that has the partition assigned and paused. One that failed is not lent again."""
        async with self._slots:
            consumer = next((each for each in self._idle if at in each.assignment()), None)
            if consumer is not None:
                self._idle.remove(consumer)
            else:
                consumer = self._idle.pop() if self._idle else await self._start()
                consumer.assign([at])
                consumer.pause(at)
            try:
                yield consumer
            except BaseException:
                await self._stop(consumer)
                raise
            self._idle.append(consumer)

    async def _start(self) -> AIOKafkaConsumer:
        consumer = self._link.consumer(fetch_max_wait_ms=10, max_partition_fetch_bytes=4 * 1024 * 1024)
        try:
            await consumer.start()
        except BaseException:
            await self._stop(consumer)
            raise
        return consumer

    async def _stop(self, consumer: AIOKafkaConsumer) -> None:
        await stop_consumer(consumer, self._link.options.session_timeout)
