"""What `tandem state` and `tandem doctor` say of a world that is well, and of one where something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from services.memory.noting import GROUP as NOTES
from tandem.bus.base import NewRecord, Outgoing, TopicPartition
from tandem.bus.dead_letters import dead_letter
from tandem.clock import SystemClock
from tandem.contracts.topics import TICKET_EVENTS, TICKET_INBOX
from tandem.contracts.values import partition_for
from tandem.embedded import state
from tandem.embedded.doctor import OVERDUE_MS, Report, examine
from tandem.redis import Redis
from tests.integration.planner.world import SHARDS, World, serve_until_settled

ANN = partition_for("ann", SHARDS)
HOUR = "timer 3600000"


async def lived(world: World) -> World:
    """Two tickets that wait for a timer, and one that is closed."""
    await world.send(("ann", HOUR), ("bob", HOUR), ("eve", HOUR), ("eve", "close"), ("ann", "hello"))
    await serve_until_settled(world)
    return world


def _flushed(world: World) -> None:
    world.blocking.flushall()


def _other_ticket(world: World) -> None:
    world.blocking.hset(world.redis.key(ANN, "tickets"), "ann", b"0 {}")


def _ticket_gone(world: World) -> None:
    world.blocking.hdel(world.redis.key(ANN, "tickets"), "ann")


def _ticket_of_nobody(world: World) -> None:
    world.blocking.hset(world.redis.key(ANN, "tickets"), "mallory", b"0 {}")


def _timer_gone(world: World) -> None:
    key = world.redis.key(ANN, "timers")
    [member] = [m for m in world.blocking.zrange(key, 0, -1) if m.startswith(b"ann\x1f")]
    world.blocking.zrem(key, member)


def _timer_late(world: World) -> None:
    key = world.redis.key(ANN, "timers")
    [member] = [m for m in world.blocking.zrange(key, 0, -1) if m.startswith(b"ann\x1f")]
    world.blocking.zincrby(key, 1_000, member)


def _from_another_life(world: World) -> None:
    world.blocking.hset(world.redis.key(ANN, "tickets"), "", 10_000)


WRONG: dict[str, tuple[Callable[[World], None], str]] = {
    "flushed": (_flushed, "no watermark"),
    "another ticket": (_other_ticket, "ann is another in the index"),
    "a ticket is missing": (_ticket_gone, "ann is in the log and not in the index"),
    "a ticket of nobody": (_ticket_of_nobody, "mallory is in the index and not in the log"),
    "a timer is missing": (_timer_gone, "the timer burst of ann is missing"),
    "a timer is late": (_timer_late, "the timer burst of ann is due at another time"),
    "ahead of the log": (_from_another_life, "left from another life"),
}


@pytest.mark.asyncio
async def test_an_index_that_follows_the_log_agrees(any_world: World) -> None:
    world = await lived(any_world)
    found = [await state.verify(world.bus, world.redis, shard) for shard in range(SHARDS)]
    assert [one.differences for one in found] == [(), ()]
    assert sum(one.tickets for one in found) >= 3
    assert all(one.applied == one.last for one in found)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", WRONG)
async def test_a_difference_is_named_and_a_rebuild_mends_it(world: World, name: str) -> None:
    await lived(world)
    change, says = WRONG[name]
    change(world)
    found = await state.verify(world.bus, world.redis, ANN)
    assert not found.agrees
    assert says in "\n".join(found.differences)
    rebuilt = await state.rebuild(world.bus, world.redis, ANN)
    assert rebuilt.differences == ()
    await world.send(("ann", "again"))
    await serve_until_settled(world)
    assert (await state.verify(world.bus, world.redis, ANN)).agrees


@pytest.mark.asyncio
async def test_a_world_in_which_nothing_happened_agrees(world: World) -> None:
    assert (await state.verify(world.bus, world.redis, 0)).agrees
    assert (await state.rebuild(world.bus, world.redis, 0)).agrees


async def _examined(world: World, ahead_ms: int = 0) -> Report:
    return await examine(world.bus, world.redis, SystemClock(ahead_ms))


@pytest.mark.asyncio
async def test_all_is_well(any_world: World) -> None:
    report = await _examined(await lived(any_world))
    assert report.well
    assert [finding for finding in report.findings if finding.level == "error"] == []
    assert report.lag["planner (owner)"] == 0
    assert report.tickets["open"] >= 2
    assert report.tickets["closed"] >= 1


@pytest.mark.asyncio
async def test_who_takes_notes_is_told_of_once_they_have_begun(world: World) -> None:
    events = TICKET_EVENTS.name
    await world.bus.append(events, 0, [NewRecord("ann", b"{}") for _ in range(3)])
    assert "memory (notes)" not in (await _examined(world)).lag
    reader = await world.bus.consumer(NOTES, [events])
    while not reader.assignment:
        await reader.poll(1, 0.1)
    await reader.commit({TopicPartition(events, 0): 1})
    await reader.close()
    assert (await _examined(world)).lag["memory (notes)"] == 2


async def _nobody_owns(world: World) -> int:
    await world.send(("ann", "hello"))
    return 0


async def _no_timer(world: World) -> int:
    await world.send(("ann", "hello"))
    await serve_until_settled(world)
    return 0


async def _overdue(world: World) -> int:
    await lived(world)
    return 3_600_000 + OVERDUE_MS + 60_000


async def _dead(world: World) -> int:
    await lived(world)
    await world.send_raw(b"ann", b"{", (("ce_id", b"x"),), ANN)
    record = (await world.records(TICKET_INBOX.name, ANN))[-1]
    await world.bus.publish([dead_letter(record, "broken-json", "no object", "planner")])
    await serve_until_settled(world)
    return 0


async def _restless(world: World) -> int:
    for _ in range(5):
        await lived(world)
    return 0


async def _lost_index(world: World) -> int:
    await lived(world)
    _flushed(world)
    return 0


STUCK: dict[str, tuple[Callable[[World], Awaitable[int]], str, str, str]] = {
    # (what happens, level, what is said of it, what to do)
    "nobody owns": (_nobody_owns, "error", "nobody has ever owned", "start a planner"),
    "no timer": (_no_timer, "error", "has no timer", "ticket show ann"),
    "overdue": (_overdue, "error", "overdue by more than a minute", "owner of this shard"),
    "dead letters": (_dead, "warning", "dead letters: ", "redrive --filter "),
    "restless": (_restless, "warning", "claims in ten minutes", "restart"),
    "the index is lost": (_lost_index, "warning", "no watermark", "state rebuild --shard"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", STUCK)
async def test_what_is_wrong_is_said_with_what_to_do(world: World, name: str) -> None:
    happens, level, says, do = STUCK[name]
    report = await _examined(world, await happens(world))
    found = [finding for finding in report.findings if says in finding.what and do in finding.do]
    assert found, report.findings
    assert {finding.level for finding in found} == {level}
    assert report.well == (level == "warning")


@pytest.mark.asyncio
async def test_without_redis_the_rest_is_still_said(world: World) -> None:
    await lived(world)
    nowhere = Redis("unix:///nowhere.sock")
    report = await examine(world.bus, nowhere, SystemClock())
    await nowhere.close()
    assert [finding.about for finding in report.findings if finding.level == "error"] == ["redis"]
    assert report.tickets["open"] == 2


@pytest.mark.asyncio
async def test_what_was_sent_again_is_no_dead_letter_any_more(world: World) -> None:
    await _dead(world)
    before = (await _examined(world)).dead_letters
    assert before["broken-json"] >= 1
    letters = [f"0-{offset}" for offset in range(await world.bus.end("dead-letters", 0))]
    marks = [NewRecord(b"ann", None, (("tandem-redriven", place.encode()),)) for place in letters]
    await world.bus.publish([Outgoing("dead-letters", mark, 0) for mark in marks])
    assert (await _examined(world)).dead_letters == {}
