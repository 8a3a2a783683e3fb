"""Groups: who reads which partition, when it is told, and what a restart reads again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tandem.bus.base import Bus, Consumer, TopicPartition
from tests.contracts.bus.conftest import SHARDS, make_topic
from tests.contracts.bus.helpers import Watching, plain, take, until

pytestmark = pytest.mark.asyncio


def at(topic: str, *partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, n) for n in partitions]


async def test_a_new_group_reads_from_the_start_in_order(bus: Bus, topic: str, group: str) -> None:
    for n in range(SHARDS):
        await bus.append(topic, n, plain(*(f"{n}-{i}" for i in range(30))))
    consumer = await bus.consumer(group, [topic])
    records = await take(consumer, 30 * SHARDS)
    for n in range(SHARDS):
        mine = [record for record in records if record.partition == n]
        assert [record.offset for record in mine] == list(range(30))
        assert [record.value for record in mine] == [f"{n}-{i}".encode() for i in range(30)]


async def test_what_was_not_committed_comes_again(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a", "b", "c", "d"))
    consumer = await bus.consumer(group, [topic])
    await take(consumer, 4)
    await consumer.commit({TopicPartition(topic, 0): 2})
    await consumer.close()
    again = await bus.consumer(group, [topic])
    assert [record.value for record in await take(again, 2)] == [b"c", b"d"]


async def test_nothing_is_committed_for_the_user(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a"))
    consumer = await bus.consumer(group, [topic])
    await take(consumer, 1)
    await consumer.poll(1, 0.1)
    await consumer.close()
    assert await bus.committed(group, topic, 0) is None


async def test_groups_do_not_disturb_each_other(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a", "b"))
    for name in (group, f"{group}-2"):
        consumer = await bus.consumer(name, [topic])
        assert len(await take(consumer, 2)) == 2
        await consumer.commit({TopicPartition(topic, 0): 2})


async def test_poll_gives_at_most_what_was_asked_and_waits_no_longer(bus: Bus, topic: str, group: str) -> None:
    consumer = await bus.consumer(group, [topic])
    await until(lambda: len(consumer.assignment) == SHARDS)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await consumer.poll(10, 0.2) == []
    assert 0.15 < loop.time() - began < 2.0
    for n in range(SHARDS):
        await bus.append(topic, n, plain(*map(str, range(10))))
    assert 1 <= len(await take(consumer, 7)) <= 7


async def test_records_come_only_after_on_assigned_returned(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a"))
    listener = Watching()
    listener.may_assign.clear()
    consumer = await bus.consumer(group, [topic], listener)
    polled: list[bytes | None] = []

    async def poll() -> None:
        while not polled:
            polled.extend(record.value for record in await consumer.poll(10, 0.1))

    polling = asyncio.create_task(poll())
    await until(lambda: listener.heard("assigning"))
    await asyncio.wait({polling}, timeout=0.5)
    assert polled == []
    assert consumer.assignment == set(at(topic, 0, 1, 2, 3))
    listener.may_assign.set()
    async with asyncio.timeout(20):
        await polling
    assert polled == [b"a"]


async def test_a_rebalance_awaits_the_one_who_gives_up(bus: Bus, topic: str, group: str) -> None:
    """Until on_revoked returned, the other is not assigned; what it commits in the meantime counts."""
    await bus.append(topic, 3, plain("a", "b"))
    told: list[tuple[str, str, list[TopicPartition]]] = []
    first, second = Watching("first", told), Watching("second", told)
    one = await bus.consumer(group, [topic], first)
    await take(one, 2)
    first.may_revoke.clear()
    two = await bus.consumer(group, [topic], second)
    polls = [asyncio.create_task(_poll_forever(member)) for member in (one, two)]
    try:
        await until(lambda: first.heard("revoking"))
        await one.commit({TopicPartition(topic, 3): 1})
        assert not any(name == "second" for name, _, _ in told)
        first.may_revoke.set()
        await until(lambda: bool(one.assignment) and bool(two.assignment) and second.heard("assigned"))
        await until(lambda: told[-1][1] == "assigned" and len(one.assignment | two.assignment) == SHARDS)
    finally:
        await _end(polls)
    assert told.index(("first", "revoked", at(topic, 0, 1, 2, 3))) < [w[:2] for w in told].index(
        ("second", "assigning")
    )
    assert not one.assignment & two.assignment
    assert await bus.committed(group, topic, 3) == 1


async def test_members_of_the_same_topics_get_the_same_numbers(bus: Bus, topic: str, group: str) -> None:
    pair = [topic, f"{topic}.more"]
    await bus.create_topics([make_topic(pair[1])])
    members = [await bus.consumer(group, pair) for _ in range(2)]
    polls = [asyncio.create_task(_poll_forever(member)) for member in members]
    try:
        await until(lambda: [len(member.assignment) for member in members] == [SHARDS, SHARDS])
    finally:
        await _end(polls)
    for member in members:
        numbers = [{each.partition for each in member.assignment if each.topic == name} for name in pair]
        assert numbers[0] == numbers[1]
        assert len(numbers[0]) == SHARDS // 2


async def test_leaving_tells_the_listener_and_hands_over(bus: Bus, topic: str, group: str) -> None:
    listener = Watching()
    one = await bus.consumer(group, [topic], listener)
    two = await bus.consumer(group, [topic])
    polls = [asyncio.create_task(_poll_forever(one)), asyncio.create_task(_poll_forever(two))]
    try:
        await until(lambda: len(one.assignment) == len(two.assignment) == SHARDS // 2)
        mine = sorted(one.assignment)
        await _end(polls[:1])
        await one.close()
        assert listener.told[-1] == ("", "revoked", mine)
        assert one.assignment == frozenset()
        await until(lambda: len(two.assignment) == SHARDS)
    finally:
        await _end(polls)


async def test_a_lost_partition_is_left_out_of_a_commit(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 3, plain("a", "b", "c"))
    one = await bus.consumer(group, [topic])
    await take(one, 3)
    await one.close()
    await one.commit({TopicPartition(topic, 3): 3})
    assert await bus.committed(group, topic, 3) is None


async def test_paused_partitions_are_silent_until_resumed(bus: Bus, topic: str, group: str) -> None:
    consumer = await bus.consumer(group, [topic])
    await until(lambda: len(consumer.assignment) == SHARDS)
    consumer.pause(at(topic, 0))
    await bus.append(topic, 0, plain("silent"))
    await bus.append(topic, 1, plain("heard"))
    assert [record.value for record in await take(consumer, 1)] == [b"heard"]
    assert await consumer.poll(10, 0.3) == []
    consumer.resume(at(topic, 0))
    assert [record.value for record in await take(consumer, 1)] == [b"silent"]


async def test_pausing_one_leaves_its_position(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a", "b"))
    consumer = await bus.consumer(group, [topic])
    assert [record.value for record in await take(consumer, 1)] == [b"a"]
    consumer.pause(at(topic, 0))
    await bus.append(topic, 0, plain("c"))
    assert await consumer.poll(10, 0.2) == []
    consumer.resume(at(topic, 0))
    assert [record.value for record in await take(consumer, 2)] == [b"b", b"c"]


@pytest.mark.parametrize(("offset", "expected"), [(0, ["a", "b", "c"]), (2, ["c"])])
async def test_seek(bus: Bus, topic: str, group: str, offset: int, expected: list[str]) -> None:
    await bus.append(topic, 0, plain("a", "b", "c"))
    consumer = await bus.consumer(group, [topic])
    await take(consumer, 3)
    consumer.seek(TopicPartition(topic, 0), offset)
    assert [record.value for record in await take(consumer, len(expected))] == [value.encode() for value in expected]


async def test_the_listener_may_seek_and_pause_what_it_is_given(bus: Bus, topic: str, group: str) -> None:
    await bus.append(topic, 0, plain("a", "b", "c"))
    await bus.append(topic, 1, plain("paused"))

    class Seeking(Watching):
        async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
            consumer.seek(TopicPartition(topic, 0), 2)
            consumer.pause(at(topic, 1))

    consumer = await bus.consumer(group, [topic], Seeking())
    assert [record.value for record in await take(consumer, 1)] == [b"c"]
    assert await consumer.poll(10, 0.2) == []


async def test_what_a_listener_raises_poll_raises(bus: Bus, topic: str, group: str) -> None:
    class Failing(Watching):
        async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
            raise ArithmeticError("cannot take them")

    await bus.append(topic, 0, plain("a"))
    consumer = await bus.consumer(group, [topic], Failing())
    with pytest.raises(ArithmeticError, match="cannot take them"):
        await take(consumer, 1)


async def test_a_member_that_never_finishes_cannot_hold_its_partitions(bus: Bus, topic: str, group: str) -> None:
    """The session bounds on_revoked; the one that was too late is a zombie, and its commits count no more."""
    for n in range(SHARDS):
        await bus.append(topic, n, plain("a"))
    stuck = Watching("stuck")
    one = await bus.consumer(group, [topic], stuck)
    await take(one, SHARDS)
    stuck.may_revoke.clear()
    two = await bus.consumer(group, [topic])
    polls = [asyncio.create_task(_poll_forever(member)) for member in (one, two)]
    try:
        await until(lambda: bool(two.assignment))
    finally:
        await _end(polls)
        stuck.may_revoke.set()
    await one.commit(dict.fromkeys(at(topic, 0, 1, 2, 3), 1))
    assert {await bus.committed(group, topic, n) for _, n in two.assignment} == {None}


async def _poll_forever(member: Consumer) -> None:
    while True:
        await member.poll(100, 0.1)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
