"""The misbehaving bus keeps the port's promises, and the consume loop keeps its own on top of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random

import pytest
import pytest_asyncio

from tandem.bus.base import Bus, NewRecord, Outgoing
from tandem.bus.consume import ConsumeLoop, Delivery, LoopPolicy
from tandem.bus.faults import FaultPlan, FaultyBus
from tandem.bus.local import LocalBus
from tandem.clock import SystemClock
from tandem.contracts.topics import TICKET_INBOX, task_topic
from tandem.errors import BusUnavailable
from tests.contracts.bus.helpers import plain, read_all, until_it
from tests.contracts.bus.loops import message, name_of

pytestmark = pytest.mark.asyncio

INBOX, TASKS = TICKET_INBOX.name, task_topic("rag_agent")


@pytest_asyncio.fixture
async def inner() -> AsyncIterator[Bus]:
    bus = LocalBus(None, shards=4, work_partitions=2)
    await bus.start()
    yield bus
    await bus.stop()


def faulty(bus: Bus, plan: FaultPlan, seed: int = 1) -> FaultyBus:
    return FaultyBus(bus, Random(seed), SystemClock(), plan)


@pytest.mark.parametrize(
    ("plan", "now", "later"),
    [
        (FaultPlan(fail=1.0, lands=0.0), 0, 0),
        (FaultPlan(fail=1.0, lands=1.0, late=0.0), 2, 2),
        (FaultPlan(fail=1.0, lands=1.0, late=1.0, late_s=0.05), 0, 2),
    ],
    ids=["lost", "landed", "late"],
)
async def test_what_is_not_acknowledged_may_land_now_later_or_never(
    inner: Bus, plan: FaultPlan, now: int, later: int
) -> None:
    bus = faulty(inner, plan)
    with pytest.raises(BusUnavailable):
        await bus.append(INBOX, 0, plain("a", "b"))
    assert await bus.end(INBOX, 0) == now
    await bus.settle()
    assert await bus.end(INBOX, 0) == later


async def test_what_is_acknowledged_is_in_the_log_in_order(inner: Bus) -> None:
    bus = faulty(inner, FaultPlan(fail=0.3, delay_s=0.0, late_s=0.01))
    acknowledged = []
    for n in range(100):
        try:
            places = await bus.append(INBOX, 0, plain(f"{n}-a", f"{n}-b"))
        except BusUnavailable:
            continue
        acknowledged += [(place.offset, f"{n}-{i}".encode()) for place, i in zip(places, "ab", strict=True)]
    await bus.settle()
    stored = {record.offset: record.value for record in await read_all(bus, INBOX, 0)}
    assert 20 < len(acknowledged) < 200
    assert [(offset, stored[offset]) for offset, _ in acknowledged] == acknowledged


async def test_partitions_are_sent_in_any_order_and_may_fail_apart(inner: Bus) -> None:
    bus = faulty(inner, FaultPlan(fail=0.5, lands=0.0, delay_s=0.0))
    ends = set()
    for _ in range(20):
        before = [await bus.end(INBOX, n) for n in range(4)]
        try:
            await bus.publish([Outgoing(INBOX, NewRecord("k", b"x"), n) for n in range(4)])
        except BusUnavailable:
            ends.add(tuple([await bus.end(INBOX, n) - before[n] for n in range(4)]))
    assert len(ends) > 3


async def test_the_same_seed_gives_the_same_faults() -> None:
    async def outcome(seed: int) -> list[int]:
        inner = LocalBus(None, shards=4, work_partitions=2)
        await inner.start()
        bus = faulty(inner, FaultPlan(fail=0.5, late=0.0, delay_s=0.0), seed)
        for n in range(30):
            try:
                await bus.publish([Outgoing(INBOX, NewRecord(str(n), b"x"))])
            except BusUnavailable:
                continue
        ends = [await bus.end(INBOX, n) for n in range(4)]
        await bus.stop()
        return ends

    assert await outcome(3) == await outcome(3)
    assert await outcome(3) != await outcome(4)


@pytest.mark.parametrize("seed", range(5))
async def test_the_consume_loop_loses_nothing_on_it(inner: Bus, seed: int) -> None:
    """Two loops, one after the other, the first one cancelled at work: every task is answered, and all is committed."""
    bus = faulty(inner, FaultPlan(fail=0.3, commit_fails=0.3, delay_s=0.002, late_s=0.02), seed)

    async def answer(delivery: Delivery) -> Sequence[Outgoing]:
        return [message(INBOX, name_of(delivery))]

    def loop() -> ConsumeLoop:
        policy = LoopPolicy(max_in_flight=4, commit_s=0.005)
        return ConsumeLoop(bus, "g", [TASKS], answer, policy=policy, clock=SystemClock(), name="tester")

    names = {f"m{n}" for n in range(40)}
    await inner.publish([message(TASKS.name, name) for name in names])
    crashing = asyncio.create_task(loop().run())
    await until_it(lambda: _answered(inner, at_least=1))
    crashing.cancel()
    await asyncio.gather(crashing, return_exceptions=True)
    second = loop()
    running = asyncio.create_task(second.run())
    await until_it(lambda: _answered(inner, at_least=len(names)))
    await until_it(lambda: _all_committed(inner))
    await second.stop(1.0)
    await running


async def _answered(bus: Bus, at_least: int) -> bool:
    found = [record for n in range(4) for record in await read_all(bus, INBOX, n)]
    return len({record.header("ce_id") for record in found}) >= at_least


async def _all_committed(bus: Bus) -> bool:
    return all([await bus.committed("g", TASKS.name, n) == (await bus.end(TASKS.name, n) or None) for n in range(2)])
