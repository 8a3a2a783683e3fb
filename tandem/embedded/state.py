"""Redis against the log: whether each shard's index says what the log says, and making it anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.planner.core import OwnerPolicy
from services.planner.store import APPLIED, ShardIndex, Stored, Timed, latest_of, timers_of
from tandem.bus.base import Bus, Record
from tandem.contracts.topics import TICKET_STATE
from tandem.contracts.values import Millis
from tandem.fenced_log import Judge, Survey
from tandem.redis import Redis, Script

BOTH = Script("return {redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')}")
MAX_NAMED = 20
"""Differences of a shard that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard. `applied`: how far the index says it has come; None without a watermark, or while it is rebuilt."""

    shard: int
    applied: int | None
    last: int  # offset of the log's last valid record or claim
    tickets: int
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        return {
            "shard": self.shard,
            "agrees": self.agrees,
            "applied": self.applied,
            "last": self.last,
            "tickets": self.tickets,
            "differences": list(self.differences),
        }


async def verify(bus: Bus, redis: Redis, shard: int) -> ShardState:
    """What the index holds at `applied` = x, compared with what the log says up to x: an owner may be at work meanwhile."""
    policy = OwnerPolicy()
    found, timers = await redis.run(BOTH, [redis.key(shard, name) for name in ("tickets", "timers")], [])
    tickets = {bytes(k).decode(): bytes(v) for k, v in zip(found[::2], found[1::2], strict=True)}
    mark = tickets.pop(APPLIED, b"")
    applied = int(mark) if mark.isdigit() else None
    scores = {bytes(m).decode(): int(float(s)) for m, s in zip(timers[::2], timers[1::2], strict=True)}
    scores.pop(APPLIED, None)
    whole = await survey(bus, shard)
    last = last_of(whole)
    if applied is None:
        why = ("it is being rebuilt",) if mark else ("there is no watermark: Redis is empty, or was flushed",)
        return ShardState(shard, None, last, len(tickets), why if last >= 0 else ())
    later = {one.conversation for one in map(_stored, whole.valid) if one.offset > applied}
    known = latest_of(record for record in whole.valid if record.offset <= applied)
    log = {name: one for name, one in known.items() if name not in later}
    index = {name: raw for name, raw in tickets.items() if name not in later}
    wrong = [*_tickets(log, index), *_timers(log, scores, later, policy.keep_closed_ms)]
    if applied > last:
        wrong.insert(0, f"applied is {applied}, and the log ends at {last}: the index is left from another life")
    more = [f"and {len(wrong) - MAX_NAMED} more"] if len(wrong) > MAX_NAMED else []
    return ShardState(shard, applied, last, len(tickets), (*wrong[:MAX_NAMED], *more))


async def rebuild(bus: Bus, redis: Redis, shard: int) -> ShardState:
    """Make the index anew from the log. An owner at work notices, and brings it up to date."""
    whole = await survey(bus, shard)
    if (last := last_of(whole)) >= 0:
        index = ShardIndex(redis, shard, OwnerPolicy().keep_closed_ms)
        await index.rebuild(last, whole.valid, force=True)
    return await verify(bus, redis, shard)


async def survey(bus: Bus, shard: int) -> Survey:
    """All of a shard's log."""
    judge = Judge()
    async for records in bus.read(TICKET_STATE.name, shard, 0):
        judge.feed(records)
    return judge.survey()


def last_of(found: Survey) -> int:
    """Where the owner's last record or claim lies; -1 in an empty log."""
    return max((record.offset for record in (*found.valid[-1:], *found.claims[-1:])), default=-1)


@dataclass(frozen=True, slots=True)
class _Place:
    conversation: str
    offset: int


def _stored(record: Record) -> _Place:
    return _Place((record.key or b"").decode().rsplit("|", 2)[0], record.offset)


def _tickets(log: dict[str, Stored], index: dict[str, bytes]) -> list[str]:
    wrong = [f"{name} is in the log and not in the index" for name in log.keys() - index.keys()]
    wrong += [f"{name} is in the index and not in the log" for name in index.keys() - log.keys()]
    for name in log.keys() & index.keys():
        if index[name] != b"%d " % log[name].epoch + log[name].ticket_json:
            wrong.append(f"{name} is another in the index than in the log")
    return sorted(wrong)


def _timers(log: dict[str, Stored], scores: dict[str, Millis], later: set[str], keep_closed_ms: int) -> list[str]:
    wanted: dict[str, Millis] = {}
    for one in log.values():
        wanted |= timers_of(Timed.model_validate_json(one.ticket_json), keep_closed_ms)
    there = {member: due for member, due in scores.items() if member.split("\x1f")[0] not in later}
    wrong = [f"the timer {_timer(m)} is missing" for m in wanted.keys() - there.keys()]
    wrong += [f"the timer {_timer(m)} is armed for nothing" for m in there.keys() - wanted.keys()]
    wrong += [f"the timer {_timer(m)} is due at another time" for m in wanted if there.get(m, wanted[m]) != wanted[m]]
    return sorted(wrong)


def _timer(member: str) -> str:
    parts = member.split("\x1f")
    return f"{parts[-1].strip(chr(0))} of {parts[0]}"
