"""The owner undisturbed: bad mail, quarantine, timers, closed tickets, being given a shard back, draining."""

from __future__ import annotations

import asyncio
import json

import pytest

from services.planner.core import OwnerPolicy
from services.planner.store import stored
from tandem.bus.base import TopicPartition
from tandem.contracts.customer import DeliveryReceipt
from tandem.contracts.inbox import TimerFired
from tandem.contracts.message import Envelope, to_headers
from tandem.contracts.ticket import Status, Ticket
from tandem.contracts.topics import CUSTOMER_REPLIES, DEAD_LETTERS, TICKET_INBOX, TICKET_STATE
from tandem.contracts.values import partition_for
from tandem.errors import InvalidPack
from tandem.fenced_log import Judge, is_claim
from tests.integration.planner import world as worlds
from tests.integration.planner.world import (
    POLICY,
    SHARDS,
    Running,
    World,
    answered,
    check,
    raw_survey,
    serve_until_settled,
    until,
)

ANN = partition_for("ann", SHARDS)
ENVELOPE = Envelope(
    id="x", source="test", type=TimerFired.TYPE, time=1, subject="ann", tenant="acme", traceparent="00-ab-cd-00"
)
TIMER = TimerFired(tenant="acme", conversation="ann", ticket="t", name="burst", due=1)
RECEIPT = DeliveryReceipt(tenant="acme", channel="c", thread="t", conversation="ann", reply="r", delivered_at=1)
TYPED = to_headers(ENVELOPE)


def typed(type_: str) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, type_.encode() if name == "ce_type" else value) for name, value in TYPED)


async def ticket_of(world: World, conversation: str) -> Ticket:
    raw = world.blocking.hget(world.redis.key(partition_for(conversation, SHARDS), "tickets"), conversation)
    assert raw is not None
    return Ticket.model_validate_json(raw.split(b" ", 1)[1])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("key", "value", "headers", "reason"),
    [
        (b"ann", b"{", TYPED, "broken-json"),
        (b"ann", b"{}", TYPED, "schema"),
        (b"ann", None, TYPED, "empty-body"),
        (b"ann", b" " * 1_000_001, TYPED, "too-large"),
        (b"ann", TIMER.model_dump_json().encode(), typed("tandem.timer-fired.v9"), "unknown-type"),
        (b"ann", TIMER.model_dump_json().encode(), (), "missing-header"),
        (b"ann", TIMER.model_dump_json().encode(), (("ce_type", None),), "missing-header"),
        (b"ann", TIMER.model_dump_json().encode(), (("ce_type", b"\xff\xfe"),), "unknown-type"),
        (b"ann", RECEIPT.model_dump_json().encode(), typed(RECEIPT.TYPE), "wrong-topic"),
        (b"bob", TIMER.model_dump_json().encode(), TYPED, "wrong-key"),
        (b"\xff", TIMER.model_dump_json().encode(), TYPED, "bad-key"),
        (None, TIMER.model_dump_json().encode(), TYPED, "bad-key"),
        (b"a" * 101, TIMER.model_dump_json().encode(), TYPED, "bad-key"),
    ],
)
async def test_what_cannot_be_read_is_dead_lettered_as_it_came(
    world: World, key: bytes, value: bytes, headers: tuple[tuple[str, bytes | None], ...], reason: str
) -> None:
    """Nothing is lost, and nobody else's ticket is delayed."""
    await world.send(("ann", "before"))
    await world.send_raw(key, value, headers, ANN)
    await world.send(("ann", "after"))
    await serve_until_settled(world)
    [dead] = await world.all_of(DEAD_LETTERS.name)
    assert (dead.key, dead.value) == (key, value)
    assert dead.headers[: len(headers)] == headers
    assert dead.header("tandem-dead-reason") == reason.encode()
    await check(world)
    await answered(world)


@pytest.mark.asyncio
async def test_word_of_a_dead_letter_that_is_no_word_itself_reaches_the_ticket(world: World) -> None:
    await world.send(("ann", "hello"))
    await world.send_raw(b"ann", b"{", TYPED, ANN)
    await world.send_raw(b"ann", b"{", typed("tandem.task-dead-lettered.v1"), ANN)
    await serve_until_settled(world)
    causes = [json.loads(record.value)["cause"] for record in await world.all_of(CUSTOMER_REPLIES.name)]
    assert causes == ["tandem.routed-message.v1", "tandem.task-dead-lettered.v1"]
    assert len(await world.all_of(DEAD_LETTERS.name)) == 2


@pytest.mark.asyncio
async def test_an_exception_in_decide_quarantines_that_ticket_alone(world: World) -> None:
    await world.send(("ann", "hello"), ("bob", "hello"), ("ann", "boom"), ("bob", "fine"))
    await serve_until_settled(world)
    ann, bob = await ticket_of(world, "ann"), await ticket_of(world, "bob")
    assert "boom" in (ann.quarantined or "")
    assert (ann.status, bob.quarantined, bob.version) == (Status.HANDED_OVER, None, 2)
    await check(world)


@pytest.mark.asyncio
async def test_when_the_quarantine_fails_too_the_message_is_dead_lettered(world: World) -> None:
    def broken(*arguments: object) -> worlds.Decision:
        raise RuntimeError("broken")

    await world.send(("ann", "hello"), ("ann", "boom"), ("bob", "hello"))
    async with Running(world.owner(quarantine=broken)):
        await until(world.settled)
    [dead] = await world.all_of(DEAD_LETTERS.name)
    assert dead.header("tandem-dead-reason") == b"decide-failed"
    assert (await ticket_of(world, "bob")).version == 1


@pytest.mark.asyncio
async def test_a_decide_that_breaks_the_chain_is_quarantined(world: World) -> None:
    def skipping(*arguments: object) -> worlds.Decision:
        found = worlds.decide(*arguments)  # type: ignore[arg-type]
        assert found.ticket is not None
        return worlds.Decision(found.ticket.model_copy(update={"version": 7}), found.outputs)

    await world.send(("ann", "hello"))
    async with Running(world.owner(decide=skipping)):
        await until(world.settled)
    assert "expected 1" in ((await ticket_of(world, "ann")).quarantined or "")


@pytest.mark.asyncio
async def test_a_message_for_an_unknown_pack_is_dead_lettered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: object, name: str, hash: str | None = None) -> None:
        raise InvalidPack(name, ["no such folder"])

    monkeypatch.setattr(worlds.Packs, "get", unknown)
    await world.send(("ann", "hello"))
    await serve_until_settled(world)
    [dead] = await world.all_of(DEAD_LETTERS.name)
    assert dead.header("tandem-dead-reason") == b"unknown-pack"


@pytest.mark.asyncio
async def test_word_about_a_ticket_that_is_not_there_changes_nothing(world: World) -> None:
    await world.send_raw(b"ann", TIMER.model_dump_json().encode(), TYPED, ANN)
    await serve_until_settled(world)
    assert await world.committed(ANN) == 1
    assert all(is_claim(record) for record in await world.all_of(TICKET_STATE.name))


@pytest.mark.asyncio
async def test_a_timer_fires_once_when_due_and_survives_a_restart(world: World) -> None:
    await world.send(("ann", "timer 30"), ("bob", "timer 300"))

    async def fired(times: int) -> list[str]:
        replies = [json.loads(record.value) for record in await world.all_of(CUSTOMER_REPLIES.name)]
        return [r["cause"] for r in replies if r["cause"] == TimerFired.TYPE][:times]

    async def first() -> bool:
        return len(await fired(9)) == 1 and await world.settled()

    async def second() -> bool:
        return len(await fired(9)) == 2 and await world.settled()

    async with Running(world.owner()):
        await until(first)
    async with Running(world.owner()):
        await until(second)
        await asyncio.sleep(3 * POLICY.check_s)
    assert (await ticket_of(world, "ann")).timers == ()
    inbox = await world.all_of(TICKET_INBOX.name)
    assert sum(record.header("ce_type") == TimerFired.TYPE.encode() for record in inbox) == 2
    await check(world)


@pytest.mark.asyncio
async def test_an_early_timer_comes_again_and_a_deaf_decide_is_not_flooded(world: World) -> None:
    """`decide` sees it and leaves it armed: the next tries come later and later."""

    def deaf(ticket: Ticket | None, message: object, *rest: object) -> worlds.Decision:
        if isinstance(message, TimerFired):
            return worlds._sealed(ticket, message, rest[0], rest[2], speak=False)  # type: ignore[arg-type]
        return worlds.decide(ticket, message, *rest)  # type: ignore[arg-type]

    await world.send(("ann", "timer 10"))
    async with Running(world.owner(decide=deaf)):
        await asyncio.sleep(0.6)
    inbox = await world.all_of(TICKET_INBOX.name)
    assert 2 <= sum(record.header("ce_type") == TimerFired.TYPE.encode() for record in inbox) <= 4


@pytest.mark.asyncio
async def test_predecessors_are_tombstoned_and_only_after_the_commit(world: World) -> None:
    for _ in range(6):
        await world.send(("ann", "a"), ("ann", "b"), ("bob", "c"))
    await serve_until_settled(world)
    async with Running(world.owner()):

        async def small() -> bool:
            judge = Judge()
            judge.feed(await world.records(TICKET_STATE.name, ANN))
            return len([r for r in judge.survey().valid if r.key.startswith(b"ann|")]) == 1

        await until(small)
    await check(world)


@pytest.mark.asyncio
async def test_old_claims_go_once_nothing_older_is_left(world: World) -> None:
    policy = OwnerPolicy(check_s=0.02, commit_s=0.001, keep_claims_ms=-1_000, tombstones=1)
    for _ in range(3):
        await world.send(("ann", "a"))
        async with Running(world.owner(policy=policy)):
            await until(world.settled)
            await asyncio.sleep(0.1)
    judge = Judge()
    judge.feed(records := await world.records(TICKET_STATE.name, ANN))
    gone = {r.key for r in records if r.value is None and r.key.startswith(b"claim|")}
    kept = [c for c in judge.survey().claims if c.key not in gone]
    assert gone
    assert kept
    assert [stored(r).conversation for r in judge.survey().valid] == ["ann"]


@pytest.mark.asyncio
async def test_a_closed_ticket_is_forgotten_after_its_time(world: World) -> None:
    policy = OwnerPolicy(check_s=0.02, commit_s=0.001, keep_closed_ms=200)

    async def forgotten() -> bool:
        return not world.blocking.hexists(world.redis.key(ANN, "tickets"), "ann")

    async with Running(world.owner(policy=policy)):
        await world.send(("ann", "hello"), ("ann", "close"), ("bob", "hello"))
        await until(world.settled)
        assert not await forgotten()
        await until(forgotten)
        await world.send(("ann", "again"))
        await until(world.settled)
    assert (await ticket_of(world, "ann")).version == 1
    assert (await ticket_of(world, "bob")).version == 1
    world.blocking.flushall()
    async with Running(world.owner(policy=policy)):
        await until(world.settled)
    assert (await ticket_of(world, "ann")).version == 1


@pytest.mark.asyncio
async def test_given_back_without_a_foreign_claim_the_epoch_goes_on(world: World) -> None:
    partitions = [TopicPartition(TICKET_INBOX.name, shard) for shard in range(SHARDS)]

    async def claims() -> int:
        return sum(is_claim(record) for record in await world.all_of(TICKET_STATE.name))

    async with Running(world.owner()) as owner:
        await world.send(("ann", "one"), ("bob", "one"))
        await until(world.settled)
        assert await claims() == SHARDS
        await owner.on_revoked(partitions)
        await owner.on_assigned(partitions)
        await world.send(("ann", "two"), ("bob", "two"))
        await until(world.settled)
        assert await claims() == SHARDS
        await owner.on_revoked(partitions)
        async with Running(world.owner()):  # a rebalance: both are revoked, and share
            await world.send(("ann", "three"), ("bob", "three"))
            await until(world.settled)
        await until(world.settled)
    await check(world)
    await answered(world)


@pytest.mark.asyncio
async def test_stop_finishes_and_commits_the_batch_in_hand(world: World) -> None:
    async with Running(world.owner()):
        await world.send(*[(f"c{n}", "hello") for n in range(200)])
        await asyncio.sleep(0.02)
    for partition in range(SHARDS):
        states = raw_survey(await world.records(TICKET_STATE.name, partition)).valid
        assert await world.committed(partition) == max((stored(r).cause for r in states), default=-1) + 1
    await check(world)
    await serve_until_settled(world)
    await answered(world)


@pytest.mark.asyncio
async def test_redis_of_another_life_is_made_anew(world: World) -> None:
    """The log was wiped and Redis was not: its watermark is ahead of everything."""
    for shard in range(SHARDS):
        world.blocking.hset(world.redis.key(shard, "tickets"), mapping={"": "1000", "old": "1 {}"})
    await world.send(("ann", "hello"), ("bob", "hello"))
    await serve_until_settled(world)
    await check(world)
    await answered(world)
