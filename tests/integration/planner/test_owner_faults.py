"""Redis lost or set back at any point, appends of unknown outcome, frozen owners that come back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.planner.core import OwnerPolicy
from services.planner.shard import Shard
from tandem.bus.base import NewRecord, TopicPartition
from tandem.clock import SystemClock
from tandem.contracts.topics import TICKET_INBOX, TICKET_STATE
from tandem.errors import IndexUnavailable
from tandem.fenced_log import FencedLog
from tandem.redis import Redis
from tests.integration.planner.faults import FailingBus, FreezingBus, StuckBus
from tests.integration.planner.test_owner_crashes import POINTS, WAVE, talk
from tests.integration.planner.world import (
    POLICY,
    SHARDS,
    Point,
    Running,
    World,
    answered,
    check,
    crashes,
    die,
    until,
)


@pytest.mark.asyncio
@pytest.mark.parametrize("loss", ["flushall", "failover", "timers"])
@pytest.mark.parametrize("point", POINTS)
async def test_redis_is_lost(world: World, point: str, loss: str) -> None:
    """Everything lost, the last writes lost, or one of a shard's two keys lost."""
    async with Running(world.owner()):
        await world.send(*WAVE)
        await until(world.settled)
    behind = world.snapshot()

    def lose() -> None:
        if loss == "flushall":
            world.blocking.flushall()
        elif loss == "failover":
            world.restore(behind)
        else:
            world.blocking.delete(*(world.redis.key(shard, "timers") for shard in range(2)))

    kill = Point(point, 2, lose)
    async with Running(world.owner(kill)):
        await talk(world)

        async def over() -> bool:
            return kill.done and await world.settled()

        await until(over)
        await asyncio.sleep(2 * POLICY.check_s)
        await until(world.settled)
    await check(world)
    await answered(world)


@pytest.mark.asyncio
async def test_redis_is_away_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The shard waits, and nothing is decided without the watermark. It leaves it to the client to say so."""
    away = True

    async def call(self: Redis, *command: object) -> object:
        if away:
            raise IndexUnavailable("away")
        return await real(self, *command)

    real = Redis.call
    async with Running(world.owner()):
        await world.send(*WAVE)
        await until(world.settled)
        monkeypatch.setattr(Redis, "call", call)
        before = await world.bus.end(TICKET_STATE.name, 0)
        await world.send(*WAVE)
        await asyncio.sleep(0.1)
        assert await world.bus.end(TICKET_STATE.name, 0) == before
        away = False
        await until(world.settled)
    assert [one for one in caplog.records if one.levelname == "WARNING"] == []
    await check(world)
    await answered(world)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("what", "how"),
    [("append", "before"), ("append", "after"), ("append", "late"), ("publish", "before"), ("publish", "after")],
)
async def test_the_bus_does_not_answer(world: World, what: str, how: str) -> None:
    """Of every seven calls one is not acknowledged; what it sent is not there, is there, or lands behind a claim."""
    calls = 0

    def fails(call: str, records: Sequence[NewRecord]) -> bool:
        nonlocal calls
        calls += call == what
        return call == what and calls % 7 == 5

    async with Running(world.owner(bus=FailingBus(world.bus, how, fails))):
        await talk(world)
        await talk(world)
        await until(world.settled)
    assert calls > 7
    await check(world)
    await answered(world)


async def freeze_and_take_over(world: World) -> None:
    """A owns and freezes before an append; B takes over and works; A thaws and appends."""
    bus = FreezingBus(world.bus)
    frozen = world.owner(bus=bus, policy=OwnerPolicy(claim_again_s=60, drain_s=0.1, commit_s=0.005))
    running = asyncio.create_task(frozen.run())
    await world.send(*WAVE)
    await until(world.settled)
    bus.thawed.clear()
    await world.send(*WAVE)
    await bus.waiting.wait()
    async with Running(world.owner()) as successor:

        async def taken_over() -> bool:
            """The two share the partitions, as far as the group knows."""
            return successor.ready and await world.settled(*successor._shards)

        await until(taken_over)
        bus.thawed.set()
        await frozen.stop(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await check(world)
        await world.send(*WAVE)
        await until(world.settled)


async def freeze_and_check(world: World) -> None:
    await asyncio.wait_for(freeze_and_take_over(world), 10)
    await check(world)


@pytest.mark.asyncio
async def test_a_frozen_owner_is_fenced(world: World) -> None:
    """What it appends when it comes back is invalid, and it publishes nothing of it."""
    await freeze_and_check(world)
    await answered(world)


@pytest.mark.asyncio
@pytest.mark.parametrize("cut_off", [True, False])
async def test_the_group_waits_less_long_than_the_work_takes(world: World, cut_off: bool) -> None:
    """Revoked while a publish hangs, and given back: nobody may still be at work on the shard that is begun anew, whether the
    group has ended the revocation or only no longer waits for it."""
    bus = StuckBus(world.bus)
    partitions = [TopicPartition(TICKET_INBOX.name, number) for number in range(SHARDS)]
    owner = world.owner(bus=bus, policy=replace(POLICY, drain_s=60.0))
    async with Running(owner):
        await world.send(*WAVE)
        await until(world.settled)
        bus.free.clear()
        await world.send(*WAVE)
        await bus.waiting.wait()
        before = at_work()
        revoking = asyncio.create_task(owner.on_revoked(partitions))
        await asyncio.wait([revoking], timeout=0.1)
        if cut_off:
            revoking.cancel()
            await asyncio.wait([revoking])
            assert at_work() == set()
        await owner.on_assigned(partitions)
        assert not at_work() & before
        assert len(at_work()) == SHARDS
        bus.free.set()
        await asyncio.wait([revoking])
        for at in partitions:
            owner._consumer.seek(at, await world.committed(at.partition))
        await world.send(*WAVE)
        await until(world.settled)
    await check(world)
    await answered(world)


def at_work() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task.get_name().startswith("shard ")}


@pytest.mark.asyncio
async def test_a_claim_of_somebody_gone_does_not_stop_the_shard_for_ever(world: World) -> None:
    """B claims and dies; A is still assigned, is fenced, waits for a session's time and claims again."""
    async with Running(world.owner()):
        await world.send(*WAVE)
        await until(world.settled)
        for partition in range(2):
            await FencedLog(world.bus, TICKET_STATE.name, partition, "gone", SystemClock()).claim()
        await world.send(*WAVE)
        await until(world.settled)
    await check(world)
    await answered(world)


async def freeze_repeatedly(world: World) -> None:
    """On a busy machine the frozen owner may notice by the index first."""
    for _ in range(5):
        await freeze_and_check(world)


@pytest.mark.asyncio
async def test_mutant_no_gap_check(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def blind(self: object, start: int, end: int) -> None:
        pass

    monkeypatch.setattr("tandem.fenced_log.FencedLog._judge_gap", blind)
    with pytest.raises(AssertionError):
        await freeze_repeatedly(world)


@pytest.mark.asyncio
async def test_mutant_plain_keys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key per conversation: compaction keeps a frozen owner's invalid record and drops the valid one."""
    monkeypatch.setattr("services.planner.store.record_key", lambda conversation, epoch, version: f"{conversation}||")
    with pytest.raises(AssertionError):
        await freeze_and_check(world)


@pytest.mark.asyncio
async def test_mutant_no_look_at_the_watermark(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(self: object, letters: list[object]) -> object:
        _, found = await self._index.load([letter.conversation for letter in letters])  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr("services.planner.shard.Shard._load", load)
    kill = Point("owner.9", 1, world.blocking.flushall)
    async with Running(world.owner(kill, policy=OwnerPolicy(check_s=60, commit_s=0.005))):
        await world.send(*WAVE[:8])
        await asyncio.sleep(0.1)
        await world.send(*WAVE[:8])
        await asyncio.sleep(0.1)
    with pytest.raises(AssertionError):
        await check(world)


@pytest.mark.asyncio
async def test_mutant_commit_before_the_outputs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Shard._publish

    async def late(self: Shard, messages: list[object]) -> None:
        self._commits.note(self.partition, self.pending[-1].offset + 1)
        await self._commits.flush()  # type: ignore[attr-defined]
        self._core.kill("mutant")
        await real(self, messages)  # type: ignore[arg-type]

    monkeypatch.setattr(Shard, "_publish", late)
    await world.send(*WAVE)
    await asyncio.wait_for(crashes(world.owner(Point("mutant", 1, die))), 5)
    with pytest.raises(AssertionError):
        await check(world)
