"""What only a real broker can do to us: die and come back, compact, and forget a frozen member."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tandem.bus.base import Consumer, NewRecord, Outgoing, Record, TopicPartition
from tandem.bus.kafka import KafkaBus, KafkaOptions
from tandem.bus.kafka_admin import topic_settings
from tandem.bus.kafka_consumer import KafkaConsumer
from tandem.chaos.brokers import free_port
from tandem.contracts.topics import TICKET_STATE, TOPICS
from tandem.errors import BusUnavailable
from tests.integration.kafka.conftest import SHARDS, make_bus
from tests.kafka.server import KafkaServer

pytestmark = pytest.mark.connected

AT = TopicPartition("ticket.inbox", 0)


@asynccontextmanager
async def started(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBus]:
    bus = make_bus(bootstrap, prefix)
    await bus.create_topics(list(TOPICS.values()))
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def read_all(bus: KafkaBus, topic: str, partition: int) -> list[Record]:
    return [record async for records in bus.read(topic, partition, 0) for record in records]


async def poll_until(consumer: Consumer, count: int) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            records += await consumer.poll(100, 0.5)
    return records


@pytest.mark.asyncio
async def test_what_was_acknowledged_outlives_a_killed_broker(own_kafka: KafkaServer, prefix):
    """A producer and a consumer go on through `kill -9` of the broker: all is there, once, in order per key."""
    async with started(own_kafka.bootstrap, prefix) as bus:
        consumer = await bus.consumer("readers", ["ticket.inbox"])
        killed = asyncio.Event()
        restarted = asyncio.Event()

        async def publish() -> list[int]:
            acknowledged = []
            number = 0
            while number < 100 or not restarted.is_set() or number % 50:
                await bus.publish([Outgoing("ticket.inbox", NewRecord(f"k{number % 7}", b"%d" % number))])
                acknowledged.append(number)
                number += 1
                if number == 50:
                    killed.set()
            return acknowledged

        publishing = asyncio.create_task(publish())
        await killed.wait()
        own_kafka.kill()
        await asyncio.to_thread(own_kafka.restart)
        restarted.set()
        acknowledged = await publishing
        polled = await poll_until(consumer, len(acknowledged))
        stored = [record for n in range(SHARDS) for record in await read_all(bus, "ticket.inbox", n)]
        assert sorted(int(record.value or b"") for record in stored) == acknowledged
        for key in {record.key for record in polled}:
            numbers = [int(record.value or b"") for record in polled if record.key == key]
            assert numbers == sorted(set(numbers))
        ends = {record.at: record.offset + 1 for record in polled}
        await consumer.commit(ends)
        assert {at: await bus.committed("readers", *at) for at in ends} == ends


@pytest.mark.asyncio
async def test_a_silent_broker_is_reported_in_time(own_kafka: KafkaServer, prefix):
    hasty = KafkaOptions(session_timeout=2.0, ack_timeout=1.5, read_timeout=1.5)
    bus = KafkaBus(own_kafka.bootstrap, shards=1, work_partitions=1, prefix=prefix, replication=1, options=hasty)
    await bus.create_topics(list(TOPICS.values()))
    await bus.start()
    await bus.append(*AT, [NewRecord("k", b"before")])
    own_kafka.pause()
    try:
        async with asyncio.timeout(6):
            with pytest.raises(BusUnavailable):
                await bus.append(*AT, [NewRecord("k", b"unknown")])
            with pytest.raises(BusUnavailable):
                await bus.end(*AT)
            with pytest.raises(BusUnavailable):
                await bus.committed("group", *AT)
    finally:
        own_kafka.unpause()
    (landed,) = await bus.append(*AT, [NewRecord("k", b"after")])
    values = [record.value for record in await read_all(bus, *AT)]
    assert values in ([b"before", b"after"], [b"before", b"unknown", b"after"])
    assert landed.offset == len(values) - 1
    await bus.stop()


@pytest.mark.asyncio
async def test_stopping_does_not_wait_for_a_dead_broker(own_kafka: KafkaServer, prefix):
    async with started(own_kafka.bootstrap, prefix) as bus:
        consumer = await bus.consumer("group", ["ticket.inbox"])
        assert await consumer.poll(1, 0.1) == []
        own_kafka.kill()
        publishing = asyncio.create_task(bus.publish([Outgoing("ticket.inbox", NewRecord("k", b"v"))]))
        await asyncio.sleep(0)
        async with asyncio.timeout(15):
            await bus.stop()
            with pytest.raises(BusUnavailable):
                await publishing
    await asyncio.to_thread(own_kafka.start)


@pytest.mark.asyncio
async def test_an_unreachable_cluster_is_said_to_be():
    bus = KafkaBus(f"127.0.0.1:{free_port()}", prefix="t", replication=1)
    with pytest.raises(BusUnavailable, match="cannot reach Kafka"):
        await bus.start()
    await bus.stop()


@pytest.mark.asyncio
async def test_a_waiting_poll_hears_of_a_resumed_partition(bus: KafkaBus):
    consumer = await bus.consumer("group", ["ticket.inbox"])
    await bus.append(*AT, [NewRecord("k", b"1"), NewRecord("k", b"2")])
    assert len(await poll_until(consumer, 2)) == 2
    consumer.pause([AT])
    await bus.append(*AT, [NewRecord("k", b"3")])
    assert await consumer.poll(10, 0.3) == []
    waiting = asyncio.create_task(consumer.poll(10, 30.0))
    await asyncio.sleep(0)
    for _ in range(3):
        consumer.resume([AT])
        consumer.pause([AT])
        consumer.resume([AT])
    async with asyncio.timeout(5):
        assert [record.value for record in await waiting] == [b"3"]


@pytest.mark.parametrize("task", ["_fetcher._fetch_task", "_coordinator._coordination_task"])
@pytest.mark.asyncio
async def test_a_consumer_whose_task_died_joins_anew(bus: KafkaBus, task: str):
    await bus.append(*AT, [NewRecord("k", b"1")])
    consumer = await bus.consumer("group", ["ticket.inbox"])
    assert isinstance(consumer, KafkaConsumer)
    await poll_until(consumer, 1)
    await consumer.commit({AT: 1})
    attrgetter(task)(consumer._consumer).cancel()
    await bus.append(*AT, [NewRecord("k", b"2")])
    assert [record.value for record in await poll_until(consumer, 1)] == [b"2"]


@pytest.mark.asyncio
async def test_a_frozen_members_commit_is_left_out(bus: KafkaBus, kafka_bootstrap, prefix):
    await bus.append(*AT, [NewRecord("k", b"%d" % n) for n in range(10)])
    frozen = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.kafka.frozen_member", kafka_bootstrap, prefix, "group", "3"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert frozen.stdin is not None
    assert frozen.stdout is not None
    try:
        assert await asyncio.wait_for(frozen.stdout.readline(), 30) == b"reading\n"
        os.kill(frozen.pid, signal.SIGSTOP)
        consumer = await bus.consumer("group", ["ticket.inbox"])
        records = await poll_until(consumer, 10)
        assert [record.offset for record in records] == list(range(10))
        await consumer.commit({AT: 10})
        frozen.stdin.write(b"go on\n")
        os.kill(frozen.pid, signal.SIGCONT)
        said = await asyncio.wait_for(frozen.stdout.readline(), 30)
        assert said.startswith(b"committed")
        assert await bus.committed("group", *AT) == 10
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
        await consumer.close()  # or the frozen one's farewell waits for a rebalance with us
        await asyncio.wait_for(frozen.communicate(), 30)


@pytest.mark.asyncio
async def test_reading_ends_over_what_compaction_has_removed(kafka_bootstrap, prefix):
    eager = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    settings = topic_settings(TICKET_STATE, 1) | eager
    await admin.create_topics([NewTopic(f"{prefix}.ticket.state", SHARDS, 1, topic_configs=settings)])
    await admin.close()
    async with started(kafka_bootstrap, prefix) as bus:
        for round_ in range(3):
            await bus.append("ticket.state", 0, [NewRecord(f"k{n}", b"%d" % round_) for n in range(100)])
        await bus.append("ticket.state", 0, [NewRecord(f"k{n}", None) for n in range(50)])
        records = []
        async with asyncio.timeout(60):
            while not records or records[0].offset < 250:
                await bus.append("ticket.state", 0, [NewRecord("tick", b"")])  # a closed segment needs a next record
                records = await read_all(bus, "ticket.state", 0)
        left = {record.key: record for record in records}
        assert left[b"k99"].offset == 299
        assert left[b"k99"].value == b"2"
        assert [record.offset for record in records] == sorted({record.offset for record in records})
        gap = [record.offset async for some in bus.read("ticket.state", 0, 0, 240) for record in some]
        assert gap == []
