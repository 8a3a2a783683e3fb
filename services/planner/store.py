"""What the owner keeps: state records in the log, and per shard an index of them in Redis.

The index of a shard is two keys in one hash slot. `tickets` is a hash: conversation → `<epoch> <ticket as JSON>`; its
empty field is the watermark `applied`, so that nothing can lose the one and keep the other. `timers` is a sorted set of
due times, with the watermark once more as a negative score, for the same reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter

from tandem.bus.base import NewRecord, Outgoing, Record
from tandem.contracts.events import KINDS_HEADER
from tandem.contracts.log import Output, StateRecord
from tandem.contracts.message import Envelope, to_headers
from tandem.contracts.ticket import Status, Ticket, Timer
from tandem.contracts.values import Millis
from tandem.fenced_log import epoch_of
from tandem.redis import Redis, Script

SOURCE = "tandem/planner"
CAUSE_HEADER = "tandem-cause"
TICKET_HEADER = "tandem-ticket"  # where the ticket's JSON starts in a state record; it ends one byte before the end
APPLIED = ""  # field of `tickets`, member of `timers`: no conversation and no timer is called so
FORGET = "\0forget"  # the timer of a closed ticket: when its last record may go
SEPARATOR = "\x1f"
MAX_DUE = 200
CHUNK = 400

_OUTPUTS = TypeAdapter(tuple[Output, ...])


class Held(NamedTuple):
    """A ticket, and the epoch its last record was written in."""

    ticket: Ticket
    epoch: int

    @property
    def key(self) -> str:
        return record_key(self.ticket.conversation, self.epoch, self.ticket.version)


class Transition(NamedTuple):
    """One decision about one message, ready to be committed."""

    epoch: int
    cause: int
    ticket: Ticket
    outputs: tuple[Output, ...]
    time: Millis
    traceparent: str | None

    def encode_ticket(self) -> bytes:
        return self.ticket.to_json()


@dataclass(frozen=True, slots=True)
class Stored:
    """A state record without decoding it."""

    conversation: str
    epoch: int
    cause: int
    ticket_json: bytes


def record_key(conversation: str, epoch: int, version: int) -> str:
    """Unique per record, so that compaction keeps what no tombstone names."""
    return f"{conversation}|{epoch}|{version}"


def encode(transition: Transition, ticket_json: bytes) -> NewRecord:
    """A `StateRecord`; the ticket, encoded once for log and index, stands at its end."""
    ticket = transition.ticket
    head = (
        f'{{"epoch":{transition.epoch},"version":{ticket.version},"cause":{transition.cause},"time":{transition.time},'
        f'"traceparent":{json.dumps(transition.traceparent)},"outputs":'
    )
    body = b"".join((head.encode(), _OUTPUTS.dump_json(transition.outputs), b',"ticket":', ticket_json, b"}"))
    key = record_key(ticket.conversation, transition.epoch, ticket.version)
    envelope = Envelope(
        id=key,
        source=SOURCE,
        type=StateRecord.TYPE,
        time=transition.time,
        subject=ticket.conversation,
        tenant=ticket.tenant,
        traceparent=transition.traceparent,
    )
    own = (
        (CAUSE_HEADER, b"%d" % transition.cause),
        (TICKET_HEADER, b"%d" % (len(body) - len(ticket_json) - 1)),
    )
    return NewRecord(key, body, to_headers(envelope) + own)


def stored(record: Record) -> Stored:
    """What a state record says, by its key and headers."""
    cause, start = record.header(CAUSE_HEADER), record.header(TICKET_HEADER)
    if record.key is None or record.value is None or cause is None or start is None:
        raise ValueError(f"{record.at} holds a record at {record.offset} that is no state record")
    conversation = record.key.decode().rsplit("|", 2)[0]
    return Stored(conversation, epoch_of(record) or 0, int(cause), record.value[int(start) : -1])


def outgoing_of(output: Output, transition: Transition | StateRecord) -> Outgoing:
    """An output as it is published, the same bytes whenever it is."""
    ticket = transition.ticket
    envelope = Envelope(
        id=output.id,
        source=SOURCE,
        type=output.type,
        time=transition.time,
        subject=ticket.conversation,
        tenant=ticket.tenant,
        traceparent=transition.traceparent,
    )
    own = ((KINDS_HEADER, output.kinds.encode()),) if output.kinds else ()
    return Outgoing(
        output.topic, NewRecord(output.key, output.body.encode(), to_headers(envelope) + own), output.partition
    )


class Timed(BaseModel):
    """As much of a ticket as its timers need."""

    id: str
    tenant: str
    conversation: str
    status: Status
    now: Millis
    timers: tuple[Timer, ...] = ()


def timers_of(ticket: Ticket | Timed, keep_closed_ms: int) -> dict[str, Millis]:
    """The ticket's timers as members of `timers`, with when they are due."""
    prefix = f"{ticket.conversation}{SEPARATOR}{ticket.id}{SEPARATOR}{ticket.tenant}{SEPARATOR}"
    due = {prefix + timer.name: timer.due for timer in ticket.timers}
    if ticket.status is Status.CLOSED:
        due[prefix + FORGET] = ticket.now + keep_closed_ms
    return due


@dataclass(slots=True)
class Changes:
    """What one script writes."""

    tickets: dict[str, bytes] = field(default_factory=dict)
    disarmed: list[str] = field(default_factory=list)
    armed: dict[str, Millis] = field(default_factory=dict)

    def add(self, conversation: str, epoch: int, ticket_json: bytes) -> None:
        self.tickets[conversation] = b"%d " % epoch + ticket_json

    def add_timers(self, before: Mapping[str, Millis], after: Mapping[str, Millis]) -> None:
        self.disarmed += [member for member in before if member not in after]
        self.armed.update({member: due for member, due in after.items() if before.get(member) != due})

    def arguments(self) -> list[bytes | str | int]:
        pairs = [part for pair in self.tickets.items() for part in pair]
        scores: list[bytes | str | int] = [part for member, due in self.armed.items() for part in (due, member)]
        return [len(pairs), *pairs, len(self.disarmed), *self.disarmed, len(scores), *scores]


@dataclass(frozen=True, slots=True)
class Due:
    """What the timers say: `applied` is None if the watermark is missing or the two disagree."""

    applied: int | None
    members: list[tuple[str, Millis]]
    next_due: Millis | None


_APPLY = """
local function each(at, act)
  local n = tonumber(ARGV[at])
  for i = at + 1, at + n, 2 do act(ARGV[i], ARGV[i + 1]) end
  return at + n + 1
end
local function apply(at)
  at = each(at, function(field, value) redis.call('HSET', KEYS[1], field, value) end)
  local n = tonumber(ARGV[at])
  for i = at + 1, at + n do redis.call('ZREM', KEYS[2], ARGV[i]) end
  each(at + n + 1, function(score, member) redis.call('ZADD', KEYS[2], score, member) end)
end
local function mark(offset)
  redis.call('HSET', KEYS[1], '', offset)
  redis.call('ZADD', KEYS[2], -1 - tonumber(offset), '')
end
local function stands(offset)
  return redis.call('HGET', KEYS[1], '') == offset
    and tonumber(redis.call('ZSCORE', KEYS[2], '') or 0) == -1 - tonumber(offset)
end
"""
WRITE = Script(_APPLY + "if not stands(ARGV[1]) then return 0 end apply(3) mark(ARGV[2]) return 1")
BEGIN = Script("""
local found = redis.call('HGET', KEYS[1], '')
if found and ARGV[2] ~= 'force' and tonumber(string.match(found, '%d+')) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], '', 'building:' .. ARGV[1])
return 1
""")
_BUILDING = "if redis.call('HGET', KEYS[1], '') ~= 'building:' .. ARGV[1] then return 0 end "
FILL = Script(_APPLY + _BUILDING + "apply(2) return 1")
FINISH = Script(_APPLY + _BUILDING + "mark(ARGV[1]) return 1")
DROP = Script(
    _APPLY
    + """
if not stands(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[3])
return 1
"""
)
DUE = Script("""
return {
  redis.call('HGET', KEYS[1], ''),
  redis.call('ZSCORE', KEYS[2], ''),
  redis.call('ZRANGEBYSCORE', KEYS[2], 0, ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2]),
  redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
}
""")


class ShardIndex:
    """One shard's index. Every method raises IndexUnavailable; what then became of a write, the watermark tells."""

    def __init__(self, redis: Redis, shard: int, keep_closed_ms: int) -> None:
        self._redis = redis
        self._keys = (redis.key(shard, "tickets"), redis.key(shard, "timers"))
        self._keep_closed_ms = keep_closed_ms

    async def load(self, conversations: Sequence[str]) -> tuple[int | None, dict[str, Held]]:
        """The watermark and those tickets that exist, at one moment."""
        found = await self._redis.call("HMGET", self._keys[0], APPLIED, *conversations)
        held = {name: _held(raw) for name, raw in zip(conversations, found[1:], strict=True) if raw is not None}
        return _offset(found[0]), held

    async def write(self, before: int, applied: int, changes: Changes) -> bool:
        """Write iff the watermark is still `before`; then it is `applied`."""
        return bool(await self._redis.run(WRITE, self._keys, [before, applied, *changes.arguments()]))

    async def due(self, now: Millis) -> Due:
        applied, mark, due, following = await self._redis.run(DUE, self._keys, [now, MAX_DUE])
        offset = _offset(applied)
        agree = offset is not None and mark is not None and int(float(mark)) == -1 - offset
        members = [(bytes(m).decode(), int(float(s))) for m, s in zip(due[::2], due[1::2], strict=True)]
        return Due(offset if agree else None, members, int(float(following[1])) if following else None)

    async def forget(self, applied: int, conversation: str, member: str) -> bool:
        """Drop a ticket whose last record has been tombstoned."""
        return bool(await self._redis.run(DROP, self._keys, [applied, conversation, member]))

    async def catch_up(self, before: int, applied: int, records: Sequence[Record]) -> bool:
        """Bring the index from `before` to `applied` by the records between. False: it must be rebuilt."""
        latest = latest_of(records)
        if len(latest) > CHUNK:
            return False
        found, held = await self.load(list(latest))
        if found != before:
            return False
        changes = Changes()
        for one in latest.values():
            old = held.get(one.conversation)
            self._add(changes, one, timers_of(old.ticket, self._keep_closed_ms) if old else {})
        return await self.write(before, applied, changes)

    async def rebuild(self, applied: int, records: Sequence[Record], force: bool = False) -> bool:
        """Make the index anew from all valid records. False: somebody is further, or has started to rebuild.

        `force` where the log says that nobody can be further: Redis is left from another life.
        """
        if not await self._redis.run(BEGIN, self._keys, [applied, "force" if force else ""]):
            return False
        rest = iter(latest_of(records).values())
        while part := list(islice(rest, CHUNK)):
            changes = Changes()
            for one in part:
                self._add(changes, one, {})
            if not await self._redis.run(FILL, self._keys, [applied, *changes.arguments()]):
                return False
        return bool(await self._redis.run(FINISH, self._keys, [applied]))

    def _add(self, changes: Changes, one: Stored, before: Mapping[str, Millis]) -> None:
        changes.add(one.conversation, one.epoch, one.ticket_json)
        changes.add_timers(before, timers_of(Timed.model_validate_json(one.ticket_json), self._keep_closed_ms))


def latest_of(records: Iterable[Record]) -> dict[str, Stored]:
    """The last record of each conversation."""
    return {one.conversation: one for one in map(stored, records)}


def _held(raw: Any) -> Held:
    epoch, _, ticket = bytes(raw).partition(b" ")
    return Held(Ticket.model_validate_json(ticket), int(epoch))


def _offset(raw: Any) -> int | None:
    """None without a watermark, and while the index is being rebuilt."""
    return int(raw) if raw is not None and bytes(raw).isdigit() else None
