"""Sending: one lane per partition, so that concurrent callers share batches and every record's offset is known."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from tandem.bus.base import Appended, NewRecord
from tandem.bus.kafka_link import Link, max_bytes
from tandem.errors import BusUnavailable, InvalidMessage

RECORD_OVERHEAD = 512


@dataclass(slots=True, eq=False)
class _Job:
    """Records of one caller for one partition. Done when all are acknowledged; cancelled when the caller has left."""

    records: Sequence[NewRecord]
    done: asyncio.Future[list[Appended]]
    batched: int = 0
    landed: list[Appended] = field(default_factory=list)

    def land(self, first: int, count: int, timestamp: int) -> None:
        self.landed += [Appended(first + i, timestamp) for i in range(count)]
        if len(self.landed) == len(self.records) and not self.done.done():
            self.done.set_result(self.landed)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # retrieved: the caller may have left


@dataclass(slots=True, eq=False)
class _Lane:
    """What waits for one partition, and the task that sends it. aiokafka's own queue goes quadratic (its #528)."""

    jobs: deque[_Job] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


_Parts = list[tuple[_Job, int]]


class Sender:
    """Sends records in order per partition. When `send` raises, each record may or may not land, now or later."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lanes: dict[KafkaPartition, _Lane] = {}
        self._broken: AIOKafkaProducer | None = None

    async def send(self, records: Mapping[KafkaPartition, Sequence[NewRecord]]) -> dict[KafkaPartition, list[Appended]]:
        """Send and wait until all are acknowledged. Raises BusUnavailable, or InvalidMessage for a record too large."""
        for at, group in records.items():
            for record in group:
                check_size(at.topic, record)
        broken, self._broken = self._broken, None
        await (self._link.ensure() if broken is None else self._link.replace(broken))
        jobs = {at: self._submit(at, group) for at, group in records.items()}
        waiting = [job.done for job in jobs.values()]
        _, late = await asyncio.wait(waiting, timeout=self._link.options.ack_timeout)
        for future in late:
            future.cancel()
        if late:
            raise BusUnavailable(f"not acknowledged within {self._link.options.ack_timeout:g} s")
        return {at: job.done.result() for at, job in jobs.items()}

    async def close(self) -> None:
        """Fail what waits; what was handed to Kafka may still land."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes.values():
            for job in lane.jobs:
                job.fail(BusUnavailable("the bus was stopped"))
        self._lanes.clear()

    def _submit(self, at: KafkaPartition, records: Sequence[NewRecord]) -> _Job:
        job = _Job(records, asyncio.get_running_loop().create_future())
        lane = self._lanes.setdefault(at, _Lane())
        lane.jobs.append(job)
        if lane.task is None:
            lane.task = asyncio.create_task(self._drain(at, lane), name=f"kafka-lane-{at.topic}-{at.partition}")
        return job

    async def _drain(self, at: KafkaPartition, lane: _Lane) -> None:
        """Send batch after batch. The next is handed over while the last is in flight; aiokafka keeps their order."""
        try:
            while lane.jobs:
                producer = self._link.producer
                batch, parts = _fill(producer, lane.jobs)
                if parts:
                    await self._hand_over(producer, at, batch, parts)
        except BusUnavailable as error:
            while lane.jobs:
                lane.jobs.popleft().fail(error)
        finally:
            lane.task = None

    async def _hand_over(
        self, producer: AIOKafkaProducer, at: KafkaPartition, batch: BatchBuilder, parts: _Parts
    ) -> None:
        try:
            acknowledged = await producer.send_batch(batch, at.topic, partition=at.partition)
        except (KafkaTimeoutError, OSError) as error:  # never handed over
            self._fail(at, parts, error)
        except KafkaError as error:
            self._broken = producer
            self._fail(at, parts, error)
        except BaseException:
            for job, _ in parts:
                job.fail(BusUnavailable("the bus was stopped"))
            raise
        else:
            acknowledged.add_done_callback(lambda future: self._settle(producer, at, parts, future))

    def _settle(
        self, producer: AIOKafkaProducer, at: KafkaPartition, parts: _Parts, future: asyncio.Future[RecordMetadata]
    ) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            self._broken = producer
            self._fail(at, parts, error)
            return
        metadata = future.result()
        offset = metadata.offset
        if offset < 0:  # a repeat of a batch so old that the broker no longer knows where it put it
            for job, _ in parts:
                job.fail(BusUnavailable(f"{at.topic}/{at.partition}: acknowledged, but not said where"))
            return
        for job, count in parts:
            job.land(offset, count, metadata.timestamp)
            offset += count

    def _fail(self, at: KafkaPartition, parts: _Parts, error: BaseException) -> None:
        for job, _ in parts:
            job.fail(BusUnavailable(f"{at.topic}/{at.partition}: {error!r}"))


def _fill(producer: AIOKafkaProducer, jobs: deque[_Job]) -> tuple[BatchBuilder, _Parts]:
    """One batch from the front of the queue, and how many records of each job are in it."""
    batch = producer.create_batch()
    parts: _Parts = []
    while jobs:
        job = jobs[0]
        if job.done.done():  # failed in an earlier batch, or its caller has left
            jobs.popleft()
            continue
        before = job.batched
        try:
            full = _append(batch, job)
        except (TypeError, ValueError) as error:  # not bytes: the caller's fault, and nobody else's
            job.fail(error)
            full = False
        if job.batched > before:
            parts.append((job, job.batched - before))
        if full:
            break
        jobs.popleft()
    batch.close()
    return batch, parts


def _append(batch: BatchBuilder, job: _Job) -> bool:
    """Add what fits. True if the batch is full and something of the job is left."""
    for record in job.records[job.batched :]:
        key = record.key.encode() if isinstance(record.key, str) else record.key
        if batch.append(timestamp=None, key=key, value=record.value, headers=list(record.headers)) is None:
            return True
        job.batched += 1
    return False


def check_size(topic: str, record: NewRecord) -> None:
    """Refuse here what the broker would: its refusal breaks the producer's sequence. Raises InvalidMessage."""
    size = len(record.key or "") * 4 + len(record.value or b"")
    size += sum(len(name) + len(value or b"") for name, value in record.headers) + RECORD_OVERHEAD
    if size > max_bytes(topic):
        raise InvalidMessage("too-large", f"{size} bytes; {topic} takes at most {max_bytes(topic)}")
