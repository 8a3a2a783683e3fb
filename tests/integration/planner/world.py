"""A small world for the owner: a decide of three rules, customers' messages, and what must always be true."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import Redis as BlockingRedis

from services.planner.owner import GROUP, Owner, OwnerPolicy
from services.planner.store import Timed, latest_of, outgoing_of, timers_of
from tandem.bus.base import Bus, NewRecord, Outgoing, Record, outgoing
from tandem.clock import SystemClock
from tandem.contracts.customer import CustomerMessage, TextPart
from tandem.contracts.inbox import AnyInboxMessage, RoutedMessage, TimerFired
from tandem.contracts.log import Output, StateRecord
from tandem.contracts.message import Envelope
from tandem.contracts.ticket import Budget, Cost, Route, Status, Ticket, Timer
from tandem.contracts.topics import CUSTOMER_REPLIES, TICKET_INBOX, TICKET_STATE
from tandem.contracts.values import derive_id, partition_for
from tandem.fenced_log import Judge, decode, epoch_of, is_claim
from tandem.packs.model import Pack
from tandem.redis import Redis

SHARDS = 2
PACK = Pack(name="p", hash="h", root="")
POLICY = OwnerPolicy(
    check_s=0.05, backoff_s=0.01, max_backoff_s=0.05, commit_s=0.005, drain_s=0.5, tombstones=4, claim_again_s=0.3
)
PATIENCE_S = 30.0


class Killed(BaseException):
    """The process has died."""


@dataclass(frozen=True)
class Decision:
    ticket: Ticket | None
    outputs: tuple[Output, ...] = ()


class Packs:
    def get(self, name: str, hash: str | None = None) -> Pack:
        return PACK


def decide(ticket: Ticket | None, message: AnyInboxMessage, now: int, pack: Pack, offset: int) -> Decision:
    """A message is answered; "timer N" also arms a timer, "close" closes, "boom" fails."""
    text = message.message.text() if isinstance(message, RoutedMessage) else message.TYPE
    if text == "boom":
        raise RuntimeError("boom")
    if isinstance(message, TimerFired) and ticket is not None:
        armed = any((t.name, t.due) == (message.name, message.due) for t in ticket.timers)
        timers = tuple(t for t in ticket.timers if t.name != message.name or t.due > now)
        return _sealed(ticket, message, now, offset, timers=timers, speak=armed)
    timers = ticket.timers if ticket else ()
    if text.startswith("timer "):
        timers = (Timer(name="burst", due=now + int(text[6:])),)
    return _sealed(
        ticket, message, now, offset, timers=timers, status=Status.CLOSED if text == "close" else Status.OPEN
    )


def quarantine(
    ticket: Ticket | None, message: AnyInboxMessage, error: str, now: int, pack: Pack, offset: int
) -> Decision:
    return _sealed(ticket, message, now, offset, quarantined=error, status=Status.HANDED_OVER)


def _sealed(
    ticket: Ticket | None, message: AnyInboxMessage, now: int, offset: int, speak: bool = True, **changes: Any
) -> Decision:
    if ticket is None or (ticket.status is Status.CLOSED and isinstance(message, RoutedMessage)):
        version = ticket.version if ticket else 0
        ticket = _opened(message, now, version)
    ticket = ticket.model_copy(update={"version": ticket.version + 1, "now": now, "inbox_offset": offset, **changes})
    body = json.dumps({"offset": offset, "version": ticket.version, "cause": message.TYPE})
    output = Output(
        topic=CUSTOMER_REPLIES.name,
        key=ticket.conversation,
        id=derive_id(ticket.id, ticket.version, 0),
        type="test.reply",
        body=body,
    )
    return Decision(ticket, (output,) if speak else ())


def _opened(message: AnyInboxMessage, now: int, version: int) -> Ticket:
    return Ticket(
        id=derive_id("ticket", message.conversation, version),
        conversation=message.conversation,
        tenant=message.tenant,
        channel="test",
        thread="t",
        pack="p",
        pack_hash="h",
        created_at=now,
        now=now,
        version=version,
        budget=Budget(limit=Cost(calls=10)),
    )


def routed(conversation: str, text: str, number: int) -> Outgoing:
    customers = CustomerMessage(
        id=str(number),
        tenant="acme",
        channel="test",
        thread="t",
        conversation=conversation,
        parts=(TextPart(text=text),),
        sent_at=1,
    )
    message = RoutedMessage(
        tenant="acme",
        conversation=conversation,
        id=derive_id(conversation, number),
        message=customers,
        route=Route(),
        pack="p",
        pack_hash="h",
    )
    envelope = Envelope(
        id=message.id, source="tandem/router", type=message.TYPE, time=1, subject=conversation, tenant="acme"
    )
    return outgoing(TICKET_INBOX.name, conversation, message, envelope)


@dataclass
class Point:
    """Does something when a named point is passed for the n-th time."""

    name: str
    times: int
    act: Callable[[], None]
    passed: Counter[str] = field(default_factory=Counter)
    done: bool = False

    def __call__(self, name: str) -> None:
        self.passed[name] += 1
        if name == self.name and self.passed[name] == self.times:
            self.done = True
            self.act()


def die() -> None:
    raise Killed


def nothing(point: str) -> None:
    pass


class World:
    """One bus, one Redis, and the customers' messages so far."""

    def __init__(self, bus: Bus, redis: Redis) -> None:
        self.bus = bus
        self.redis = redis
        self.sent: list[tuple[str, str]] = []
        self.blocking = BlockingRedis(unix_socket_path=redis.url.removeprefix("unix://"))

    def owner(
        self, kill: Callable[[str], None] = nothing, bus: Bus | None = None, policy: OwnerPolicy = POLICY, **cores: Any
    ) -> Owner:
        cores = {"decide": decide, "quarantine": quarantine} | cores
        return Owner(bus or self.bus, self.redis, Packs(), clock=SystemClock(), settings=policy, kill=kill, **cores)

    async def send(self, *messages: tuple[str, str]) -> None:
        batch = [routed(name, text, len(self.sent) + i) for i, (name, text) in enumerate(messages)]
        self.sent += messages
        await self.bus.publish(batch)

    async def send_raw(self, key: bytes, value: bytes, headers: Any, partition: int) -> None:
        await self.bus.publish([Outgoing(TICKET_INBOX.name, NewRecord(key, value, headers), partition)])

    async def records(self, topic: str, partition: int) -> list[Record]:
        return [record async for batch in self.bus.read(topic, partition, 0) for record in batch]

    async def all_of(self, topic: str) -> list[Record]:
        return [r for p in range(self.bus.partitions(topic)) for r in await self.records(topic, p)]

    async def committed(self, partition: int) -> int:
        return await self.bus.committed(GROUP, TICKET_INBOX.name, partition) or 0

    async def settled(self, *partitions: int) -> bool:
        """Everything in the mailbox is committed, and the index stands where the log does."""
        for partition in partitions or range(SHARDS):
            if await self.committed(partition) < await self.bus.end(TICKET_INBOX.name, partition):
                return False
            if self.applied(partition) != await self.last_valid(partition):
                return False
        return True

    async def last_valid(self, partition: int) -> int:
        found = raw_survey(await self.records(TICKET_STATE.name, partition))
        return max((r.offset for r in (*found.valid, *found.claims)), default=-1)

    def applied(self, partition: int) -> int:
        raw = self.blocking.hget(self.redis.key(partition, "tickets"), "")
        return int(raw) if raw is not None and raw.isdigit() else -2

    def snapshot(self) -> dict[bytes, bytes]:
        return {key: self.blocking.dump(key) for key in self.blocking.scan_iter()}

    def restore(self, snapshot: dict[bytes, bytes]) -> None:
        """A failover to a replica that was behind."""
        self.blocking.flushall()
        for key, value in snapshot.items():
            self.blocking.restore(key, 0, value)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.005)


async def crashes(owner: Owner) -> None:
    """Run until it dies."""
    try:
        await owner.run()
    except Killed:
        return
    raise AssertionError("it did not die")


class Running:
    """An owner at work, stopped in the end."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    async def __aenter__(self) -> Owner:
        self._task = asyncio.create_task(self.owner.run())
        return self.owner

    async def __aexit__(self, *error: object) -> None:
        await self.owner.stop(5.0)
        await self._task


async def serve_until_settled(world: World, kill: Callable[[str], None] = nothing) -> None:
    async with Running(world.owner(kill)):
        await until(world.settled)


# What must always be true ------------------------------------------------------------------------------------------


@dataclass
class Verdicts:
    valid: list[Record] = field(default_factory=list)
    claims: list[Record] = field(default_factory=list)


def raw_survey(records: Iterable[Record]) -> Verdicts:
    """Valid records, tombstoned ones too, by the rule's own words."""
    found = Verdicts()
    for record in records:
        if is_claim(record):
            found.claims.append(record)
        elif record.value is not None:
            epoch = epoch_of(record)
            if not any(epoch < claim.offset for claim in found.claims):
                found.valid.append(record)
    return found


async def check(world: World) -> None:
    """Invariants 1-5 and 10 of the architecture, over the log, the outputs, the offsets and Redis."""
    published: dict[str, set[bytes]] = defaultdict(set)
    for record in await world.all_of(CUSTOMER_REPLIES.name):
        published[record.header("ce_id").decode()].add(record.value)
    valid_outputs: dict[str, bytes] = {}
    for partition in range(SHARDS):
        records = await world.records(TICKET_STATE.name, partition)
        valid = raw_survey(records).valid
        states = [decode(record) for record in valid]
        _chains(states)
        for state in states:
            valid_outputs |= {o.id: outgoing_of(o, state).record.value for o in state.outputs}
        await _acknowledged(world, partition, states, published)
        _compactions(records, valid)
        _index(world, partition, valid)
    for id_, contents in published.items():
        assert contents == {valid_outputs.get(id_)}, f"output {id_} is not what a valid record says"


def _chains(states: Sequence[StateRecord]) -> None:
    by_conversation: dict[str, list[StateRecord]] = defaultdict(list)
    for state in states:
        by_conversation[state.ticket.conversation].append(state)
    for chain in by_conversation.values():
        assert [s.version for s in chain] == list(range(1, len(chain) + 1))
        causes = [s.cause for s in chain]
        assert causes == sorted(set(causes))
        assert all(s.cause == s.ticket.inbox_offset and s.version == s.ticket.version for s in chain)


async def _acknowledged(
    world: World, partition: int, states: Sequence[StateRecord], published: dict[str, set[bytes]]
) -> None:
    causes = {state.cause for state in states}
    for record in await world.records(TICKET_INBOX.name, partition):
        if record.offset < await world.committed(partition) and record.header("ce_type") == RoutedMessage.TYPE.encode():
            assert record.offset in causes, f"message {record.offset} was committed and has no record"
    for state in states:
        if state.cause < await world.committed(partition):
            assert all(o.id in published for o in state.outputs), f"outputs of {state.cause} were never published"


def _compactions(records: list[Record], valid: list[Record]) -> None:
    """Whatever part of the log is compacted, replay gives the highest valid record of each conversation."""
    wanted = {name: one.ticket_json for name, one in latest_of(valid).items()}
    dice = random.Random(len(records))
    for dirty in {0, len(records), *(dice.randrange(len(records) + 1) for _ in range(5))}:
        newest = {record.key: record.offset for record in records[:dirty]}
        judge = Judge()
        judge.feed([r for r in records[:dirty] if newest[r.key] == r.offset] + records[dirty:])
        assert {n: one.ticket_json for n, one in latest_of(judge.survey().valid).items()} == wanted


def _index(world: World, partition: int, valid: list[Record]) -> None:
    applied = world.applied(partition)
    if applied < 0:
        return
    latest = latest_of(r for r in valid if r.offset <= applied)
    found = world.blocking.hgetall(world.redis.key(partition, "tickets"))
    found.pop(b"")
    assert {name: raw.split(b" ", 1)[1] for name, raw in found.items()} == {
        name.encode(): one.ticket_json for name, one in latest.items()
    }
    timers = dict(world.blocking.zrange(world.redis.key(partition, "timers"), 0, -1, withscores=True))
    assert timers.pop(b"") == -1 - applied
    wanted = {}
    for one in latest.values():
        wanted |= timers_of(Timed.model_validate_json(one.ticket_json), POLICY.keep_closed_ms)
    assert {m.decode(): int(due) for m, due in timers.items()} == wanted


async def answered(world: World) -> None:
    """Every message a customer sent has been answered by exactly one decision."""
    offsets: dict[int, list[int]] = defaultdict(list)
    seen = set()
    for record in await world.all_of(CUSTOMER_REPLIES.name):
        body = json.loads(record.value)
        id_ = record.header("ce_id")
        if id_ not in seen and body["cause"] == RoutedMessage.TYPE:
            offsets[partition_for(record.key.decode(), SHARDS)].append(body["offset"])
        seen.add(id_)
    for partition in range(SHARDS):
        inbox = [
            record.offset
            for record in await world.records(TICKET_INBOX.name, partition)
            if record.header("ce_type") == RoutedMessage.TYPE.encode()
        ]
        assert sorted(offsets[partition]) == inbox
