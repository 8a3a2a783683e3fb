"""The consume loop: at least once, contiguous commits, order per key, bounded, drained, rebalanced."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_asyncio

from tandem.bus.base import Bus, Outgoing, TopicPartition
from tandem.bus.consume import LoopPolicy
from tandem.contracts.topics import Topic
from tandem.errors import BusUnavailable, Fenced
from tandem.tracing import bind, current_ids
from tests.contracts.bus.conftest import SHARDS, make_topic
from tests.contracts.bus.helpers import read_all, take, until
from tests.contracts.bus.loops import QUICK, Growth, Handling, committed, committed_to, make_loop, message, running

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def work(bus: Bus, unique: str) -> Topic:
    """A topic with a retry topic."""
    topic = make_topic(f"work.{unique}", retries=2)
    await bus.create_topics([topic, make_topic(topic.retry)])
    return topic


@pytest_asyncio.fixture
async def results(bus: Bus, unique: str) -> str:
    await bus.create_topics([make_topic(f"results.{unique}")])
    return f"results.{unique}"


class Flaky:
    """A bus that does not acknowledge while `failing`; of each batch the first record lands nevertheless."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.failing = True
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if self.failing:
            self.refused += 1
            await self._bus.publish(messages[:1])
            raise BusUnavailable("not acknowledged")
        await self._bus.publish(messages)


async def test_outputs_are_published_and_offsets_committed(bus: Bus, work: Topic, results: str, group: str) -> None:
    async def answer(name: str, attempt: int) -> Sequence[Outgoing]:
        return [message(results, f"{name}-answer", partition=0)]

    handling = Handling(answer)
    names = [f"m{n}" for n in range(50)]
    async with running(make_loop(bus, group, work, handling)):
        await bus.publish([message(work.name, name) for name in names])
        out = await Growth(bus, results, [0] * SHARDS).wait(50)
    assert sorted(record.header("ce_id") or b"" for record in out) == sorted(f"{n}-answer".encode() for n in names)
    assert await committed(bus, group, work.name) == [await bus.end(work.name, n) or None for n in range(SHARDS)]
    assert sorted(handling.began) == sorted((name, 1) for name in names)


async def test_what_one_record_is_about_is_not_said_of_the_next(
    bus: Bus, work: Topic, results: str, group: str
) -> None:
    found: list[object] = []

    async def answer(name: str, attempt: int) -> Sequence[Outgoing]:
        found.append(current_ids())
        bind(conversation=name)
        return [message(results, f"{name}-answer", partition=0)]

    async with running(make_loop(bus, group, work, Handling(answer))):
        await bus.publish([message(work.name, f"m{n}") for n in range(20)])
        await Growth(bus, results, [0] * SHARDS).wait(20)
    assert found == [None] * 20


async def test_nothing_is_committed_before_the_outputs_are_acknowledged(
    bus: Bus, work: Topic, results: str, group: str
) -> None:
    async def answer(name: str, attempt: int) -> Sequence[Outgoing]:
        return [message(results, f"{name}-1", partition=0), message(results, f"{name}-2", partition=0)]

    flaky = Flaky(bus)
    handling = Handling(answer)
    await bus.publish([message(work.name, "a", partition=0)])
    async with running(make_loop(flaky, group, work, handling)):  # type: ignore[arg-type]
        await until(lambda: flaky.refused >= 3)
        assert await bus.committed(group, work.name, 0) is None
        flaky.failing = False
        await committed_to(bus, group, work.name, 0, 1)
    stored = [record.header("ce_id") for record in await read_all(bus, results, 0)]
    assert stored[-2:] == [b"a-1", b"a-2"]
    assert handling.began == [("a", 1)]


async def test_commits_are_contiguous(bus: Bus, work: Topic, group: str) -> None:
    """A record that is still at work keeps back the commit of all that came after it, and nothing else."""
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "slow":
            await gate.wait()
        return []

    handling = Handling(wait)
    names = ["first", "slow", *(f"m{n}" for n in range(20))]
    await bus.publish([message(work.name, name, partition=0) for name in names])
    async with running(make_loop(bus, group, work, handling)):
        await until(lambda: len(handling.ended) == 21)
        await committed_to(bus, group, work.name, 0, 1)
        gate.set()
        await committed_to(bus, group, work.name, 0, 22)


async def test_what_nobody_wants_is_not_handled_and_does_not_come_again(bus: Bus, work: Topic, group: str) -> None:
    """It is committed in its place: not before what came before it is done."""
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        await gate.wait()
        return []

    handling = Handling(wait)
    names = ["unwanted 1", "wanted", "unwanted 2", "unwanted 3"]
    await bus.publish([message(work.name, name, partition=0) for name in names])
    policy = LoopPolicy(wanted=lambda record: b"unwanted" not in (record.key or b""), backoff=QUICK)
    async with running(make_loop(bus, group, work, handling, policy)):
        await committed_to(bus, group, work.name, 0, 1)
        gate.set()
        await committed_to(bus, group, work.name, 0, 4)
    assert handling.began == [("wanted", 1)]


async def test_a_crash_brings_back_what_was_not_committed(bus: Bus, work: Topic, group: str) -> None:
    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "slow":
            await asyncio.Event().wait()
        return []

    await bus.publish([message(work.name, name, partition=0) for name in ("a", "slow", "b")])
    handling = Handling(wait)
    task = asyncio.create_task(make_loop(bus, group, work, handling).run())
    await until(lambda: "b" in handling.ended)
    await committed_to(bus, group, work.name, 0, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again = Handling()
    async with running(make_loop(bus, group, work, again)):
        await committed_to(bus, group, work.name, 0, 3)
    assert sorted(again.ended) == ["b", "slow"]


async def test_one_key_is_handled_serially_and_keys_run_side_by_side(bus: Bus, work: Topic, group: str) -> None:
    """With one partition only: concurrency does not come from the number of partitions."""
    release = asyncio.Event()
    at_work: dict[str, int] = {}
    overlaps: list[str] = []

    async def step(name: str, attempt: int) -> Sequence[Outgoing]:
        key = name.split("-")[0]
        at_work[key] = at_work.get(key, 0) + 1
        overlaps.extend([key] if at_work[key] > 1 else [])
        await release.wait()
        at_work[key] -= 1
        return []

    handling = Handling(step)
    keys = [f"k{n}" for n in range(12)]
    sent = [message(work.name, f"{key}-{i}", key=key, partition=0) for i in range(4) for key in keys]
    await bus.publish(sent)
    policy = LoopPolicy(max_in_flight=8, backoff=QUICK)
    async with running(make_loop(bus, group, work, handling, policy)):
        await until(lambda: handling.at_work == 8)
        release.set()
        await until(lambda: len(handling.ended) == len(sent))
    assert handling.most_at_work == 8
    assert overlaps == []
    for key in keys:
        assert [name for name in handling.ended if name.startswith(f"{key}-")] == [f"{key}-{i}" for i in range(4)]


async def test_an_unordered_topic_has_no_order(bus: Bus, work: Topic, group: str) -> None:
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "slow":
            await gate.wait()
        return []

    handling = Handling(wait)
    await bus.publish([message(work.name, name, key="one", partition=0) for name in ("slow", "a", "b")])
    async with running(make_loop(bus, group, work, handling, LoopPolicy(ordered=False, backoff=QUICK))):
        await until(lambda: handling.ended == ["a", "b"])
        gate.set()


async def test_what_is_taken_up_is_bounded(bus: Bus, work: Topic, group: str) -> None:
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        await gate.wait()
        return []

    handling = Handling(wait)
    await bus.publish([message(work.name, f"m{n}") for n in range(200)])
    policy = LoopPolicy(max_in_flight=4, poll_records=16, backoff=QUICK)
    loop = make_loop(bus, group, work, handling, policy)
    async with running(loop):
        await until(lambda: loop.in_flight == 20)
        beat = loop.heartbeat
        await until(lambda: loop.heartbeat > beat)
        assert loop.in_flight == 20
        assert handling.at_work == 4
        gate.set()
        await until(lambda: len(handling.ended) == 200 and loop.idle)


async def test_hot_keys_leave_room_for_the_others(bus: Bus, work: Topic, group: str) -> None:
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        if name.startswith("stuck"):
            await gate.wait()
        return []

    handling = Handling(wait)
    hot = [(n, partition) for n in range(50) for partition in (0, 2, 3)]
    await bus.publish([message(work.name, f"stuck{n}-{p}", key=f"hot{p}", partition=p) for n, p in hot])
    policy = LoopPolicy(max_in_flight=4, poll_records=10, partition_records=10, backoff=QUICK)
    async with running(make_loop(bus, group, work, handling, policy), grace_s=0.0):
        await until(lambda: handling.at_work == 3)
        await bus.publish([message(work.name, f"free{n}", partition=1) for n in range(100)])
        await until(lambda: sum(name.startswith("free") for name in handling.ended) == 100)
        gate.set()
        await until(lambda: len(handling.ended) == 250)


async def test_stop_finishes_what_is_at_work_and_takes_up_no_more(
    bus: Bus, work: Topic, results: str, group: str
) -> None:
    gate = asyncio.Event()

    async def answer(name: str, attempt: int) -> Sequence[Outgoing]:
        await gate.wait()
        return [message(results, f"{name}-answer", partition=0)]

    handling = Handling(answer)
    await bus.publish([message(work.name, f"m{n}", partition=0) for n in range(10)])
    loop = make_loop(bus, group, work, handling, LoopPolicy(max_in_flight=3, backoff=QUICK))
    task = asyncio.create_task(loop.run())
    await until(lambda: handling.at_work == 3)
    stopping = asyncio.create_task(loop.stop(10.0))
    await asyncio.wait({stopping}, timeout=0.3)
    assert not stopping.done()
    gate.set()
    await stopping
    await task
    assert sorted(handling.ended) == ["m0", "m1", "m2"]
    assert len(await read_all(bus, results, 0)) == 3
    assert await bus.committed(group, work.name, 0) == 3
    rest = await bus.consumer(group, [work.name])
    assert [record.offset for record in await take(rest, 7)] == list(range(3, 10))


async def test_the_grace_of_stop_is_a_bound(bus: Bus, work: Topic, group: str) -> None:
    async def hang(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "hangs":
            await asyncio.Event().wait()
        return []

    handling = Handling(hang)
    await bus.publish([message(work.name, name, partition=0) for name in ("a", "hangs", "b")])
    loop = make_loop(bus, group, work, handling)
    task = asyncio.create_task(loop.run())
    await until(lambda: len(handling.began) == 3)
    async with asyncio.timeout(10):
        await loop.stop(0.2)
        await task
    assert await bus.committed(group, work.name, 0) == 1


async def test_a_rebalance_waits_for_what_is_at_work(bus: Bus, work: Topic, group: str) -> None:
    """What one member finishes while it gives up its partitions is committed; no record is handled twice."""
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        await gate.wait()
        return []

    first, second = Handling(wait), Handling()
    names = [f"m{n}" for n in range(SHARDS)]
    await bus.publish([message(work.name, name, partition=n) for n, name in enumerate(names)])
    async with running(make_loop(bus, group, work, first)):
        await until(lambda: first.at_work == SHARDS)
        async with running(make_loop(bus, group, work, second)):
            await bus.publish([message(work.name, f"late{n}", partition=n) for n in range(SHARDS)])
            asyncio.get_running_loop().call_later(0.3, gate.set)
            await until(lambda: len(first.ended) + len(second.ended) == 2 * SHARDS)
            for n in range(SHARDS):
                await committed_to(bus, group, work.name, n, 2)
    assert sorted(first.ended + second.ended) == sorted([*names, *(f"late{n}" for n in range(SHARDS))])
    assert set(first.ended) >= set(names)


async def test_a_rebalance_waits_only_so_long(bus: Bus, work: Topic, group: str) -> None:
    """The other member handles again what the first one did not finish in time."""
    gate = asyncio.Event()

    async def wait(name: str, attempt: int) -> Sequence[Outgoing]:
        await gate.wait()
        return []

    first, second = Handling(wait), Handling()
    names = [f"m{n}" for n in range(SHARDS)]
    await bus.publish([message(work.name, name, partition=n) for n, name in enumerate(names)])
    async with running(make_loop(bus, group, work, first, LoopPolicy(revoke_grace_s=0.3, backoff=QUICK))):
        await until(lambda: first.at_work == SHARDS)
        async with running(make_loop(bus, group, work, second)):
            await until(lambda: len(second.ended) == SHARDS // 2)
            gate.set()
            for n in range(SHARDS):
                await committed_to(bus, group, work.name, n, 1)
    assert len(first.ended) >= SHARDS


async def test_a_fatal_error_ends_the_loop_and_commits_nothing_of_it(bus: Bus, work: Topic, group: str) -> None:
    async def fail(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "fatal":
            raise Fenced("another owner")
        return []

    await bus.publish([message(work.name, name, partition=0) for name in ("a", "fatal")])
    with pytest.raises(Fenced, match="another owner"):
        async with asyncio.timeout(20):
            await make_loop(bus, group, work, Handling(fail)).run()
    assert await bus.committed(group, work.name, 0) in (None, 1)
    again = await bus.consumer(group, [work.name])
    assert (await take(again, 1))[-1].at == TopicPartition(work.name, 0)
