"""Acknowledged is kept; order per partition; append says where; bytes in, bytes out."""

from __future__ import annotations

import asyncio
import time

import pytest

from tandem.bus.base import Bus, NewRecord, Outgoing, TopicPartition
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import partition_for
from tandem.errors import InvalidSettings
from tests.contracts.bus.conftest import SHARDS, Connect, make_topic
from tests.contracts.bus.helpers import plain, read_all, take

pytestmark = pytest.mark.asyncio


async def test_append_says_where_and_when(bus: Bus, topic: str) -> None:
    before = time.time_ns() // 1_000_000
    first = await bus.append(topic, 2, plain("a", "b"))
    second = await bus.append(topic, 2, plain("c"))
    assert [place.offset for place in first + second] == [0, 1, 2]
    assert await bus.end(topic, 2) == 3
    assert await bus.end(topic, 1) == 0
    records = await read_all(bus, topic, 2)
    assert [(r.offset, r.key, r.value) for r in records] == [(0, b"k-a", b"a"), (1, b"k-b", b"b"), (2, b"k-c", b"c")]
    assert [r.timestamp for r in records] == [place.timestamp for place in first + second]
    assert all(before - 1_000 <= place.timestamp <= time.time_ns() // 1_000_000 + 1_000 for place in first + second)


async def test_appends_at_once_do_not_interleave(bus: Bus, topic: str) -> None:
    calls = [[f"{n}-{i}" for i in range(5)] for n in range(20)]
    places = await asyncio.gather(*(bus.append(topic, 0, plain(*values)) for values in calls))
    stored = {r.offset: r.value for r in await read_all(bus, topic, 0)}
    for values, found in zip(calls, places, strict=True):
        offsets = [place.offset for place in found]
        assert offsets == list(range(offsets[0], offsets[0] + 5))
        assert [stored[offset] for offset in offsets] == [value.encode() for value in values]


async def test_publish_is_in_the_log_when_it_returns(bus: Bus, connect: Connect, topic: str) -> None:
    keys = [f"key-{n}" for n in range(40)]
    await bus.publish([Outgoing(topic, NewRecord(key, key.encode())) for key in keys])
    found = {n: [r.value for r in await read_all(bus, topic, n)] for n in range(SHARDS)}
    for n in range(SHARDS):
        assert found[n] == [key.encode() for key in keys if partition_for(key, SHARDS) == n]


@pytest.mark.parametrize(
    ("record", "partition", "expected"),
    [
        (NewRecord("conversation-1", b"x"), None, partition_for("conversation-1", SHARDS)),
        (NewRecord(b"conversation-1", b"x"), None, partition_for("conversation-1", SHARDS)),
        (NewRecord("Gespräch", b"x"), None, partition_for("Gespräch", SHARDS)),
        (NewRecord("Gespräch".encode(), b"x"), None, partition_for("Gespräch", SHARDS)),
        (NewRecord("conversation-1", b"x"), 3, 3),
        (NewRecord(None, b"x"), 1, 1),
    ],
)
async def test_where_a_record_goes(
    bus: Bus, topic: str, record: NewRecord, partition: int | None, expected: int
) -> None:
    await bus.publish([Outgoing(topic, record, partition)])
    assert [await bus.end(topic, n) for n in range(SHARDS)] == [int(n == expected) for n in range(SHARDS)]


@pytest.mark.parametrize("key", [None, b"\xff\xfe\x00"])
async def test_a_record_without_a_readable_key_goes_somewhere(bus: Bus, topic: str, key: bytes | None) -> None:
    await bus.publish([Outgoing(topic, NewRecord(key, b"x"))])
    found = [record for n in range(SHARDS) for record in await read_all(bus, topic, n)]
    assert [(record.key, record.value) for record in found] == [(key, b"x")]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, range(10)),
        (4, None, range(4, 10)),
        (0, 3, range(3)),
        (3, 7, range(3, 7)),
        (5, 5, range(0)),
        (10, None, range(0)),
        (0, 99, range(10)),
    ],
)
async def test_read_ranges(bus: Bus, topic: str, start: int, end: int | None, expected: range) -> None:
    await bus.append(topic, 0, plain(*map(str, range(10))))
    assert [record.offset for record in await read_all(bus, topic, 0, start, end)] == list(expected)


async def test_read_ends_where_the_log_ended_when_it_began(bus: Bus, topic: str) -> None:
    await bus.append(topic, 0, plain(*map(str, range(5))))
    found = []
    async for batch in bus.read(topic, 0, 0):
        found += [record.offset for record in batch]
        await bus.append(topic, 0, plain("late"))
    assert found == list(range(5))


HOSTILE_HEADERS = (
    ("ce_id", None),
    ("not-utf8", b"\xff\xfe\x00"),
    ("empty", b""),
    ("twice", b"1"),
    ("twice", b"2"),
    ("", b"nameless"),
    ("größe", "ü".encode()),
)


@pytest.mark.parametrize(
    "record",
    [
        NewRecord(b"\xff\xfe", b"\x00\xff\x80", HOSTILE_HEADERS),
        NewRecord(None, b"", ()),
        NewRecord(b"", b"{", ()),
        NewRecord(b"gone", None, (("why", b"tombstone"),)),
        NewRecord(b"big", b"x" * 900_000, ()),
    ],
    ids=["hostile", "empty", "broken", "tombstone", "big"],
)
async def test_bytes_come_out_as_they_went_in(bus: Bus, topic: str, group: str, record: NewRecord) -> None:
    await bus.publish([Outgoing(topic, record, 0)])
    await bus.append(topic, 0, [record])
    consumer = await bus.consumer(group, [topic])
    delivered = await take(consumer, 2)
    for found in (*await read_all(bus, topic, 0), *delivered):
        assert (found.key, found.value, found.headers) == (record.key, record.value, record.headers)


async def test_another_process_appends_and_reads(bus: Bus, connect: Connect, group: str) -> None:
    """What others append is delivered to a waiting consumer, and both see one sequence of offsets."""
    other = await connect()
    start = await bus.end(TICKET_INBOX.name, 1)
    consumer = await bus.consumer(group, [TICKET_INBOX.name])
    await take(consumer, sum([await bus.end(TICKET_INBOX.name, n) for n in range(SHARDS)]))
    offsets = []
    for turn in range(4):
        writer = (bus, other)[turn % 2]
        offsets += [place.offset for place in await writer.append(TICKET_INBOX.name, 1, plain(f"{group}-{turn}"))]
    assert offsets == list(range(start, start + 4))
    wanted = [f"{group}-{turn}".encode() for turn in range(4)]
    assert [record.value for record in await take(consumer, 4)] == wanted
    assert [record.value for record in await read_all(other, TICKET_INBOX.name, 1, start)] == wanted


async def test_committed_is_none_until_committed(bus: Bus, connect: Connect, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a", "b"))
    assert await bus.committed(group, topic, 0) is None
    consumer = await bus.consumer(group, [topic])
    await take(consumer, 2)
    assert await bus.committed(group, topic, 0) is None
    await consumer.commit({TopicPartition(topic, 0): 1})
    assert await bus.committed(group, topic, 0) == 1
    assert await bus.committed(f"other-{group}", topic, 0) is None


async def test_create_topics_says_what_was_missing(bus: Bus, topic: str) -> None:
    assert await bus.create_topics([make_topic(topic), make_topic(f"{topic}.more")]) == [f"{topic}.more"]
    assert bus.partitions(f"{topic}.more") == SHARDS


async def test_a_topic_that_does_not_exist_is_refused(bus: Bus) -> None:
    with pytest.raises(InvalidSettings, match=r"no topic 'no\.such\.topic'"):
        await bus.publish([Outgoing("no.such.topic", NewRecord("k", b"x"))])
    with pytest.raises(InvalidSettings, match=r"no topic 'no\.such\.topic'"):
        await bus.append("no.such.topic", 0, plain("x"))
