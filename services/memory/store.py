"""The projection in Redis: per conversation a capped list of lines and a capped hash of tickets.

Everything here can be built again from `ticket.events`. The store has a generation: a store that was lost gets a new
one. Keys and the consumer group are named after it: a new generation reads the topic from its start, and what a reader
of the generation before still writes is seen by nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from services.memory.projection import Said, Update
from tandem.clock import Clock, SystemClock
from tandem.contracts.events import TicketEvents
from tandem.contracts.inbox import Noted
from tandem.contracts.ticket import Line
from tandem.contracts.values import Millis
from tandem.errors import InvalidError
from tandem.redis import Argument, Redis, Script

MAX_LINES = 100
MAX_TICKETS = 20
MAX_FACTS = 30
DAY_S = 24 * 3600

_WRITE = Script("""
local lines, tickets = KEYS[1], KEYS[2]
local ticket, version, max_lines, max_tickets, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local update = cjson.decode(ARGV[6])
local before = redis.call('HGET', tickets, ticket)
local known = before and cjson.decode(before) or {}
if known.version and known.version >= version then return 0 end
for i = 7, #ARGV do redis.call('RPUSH', lines, ARGV[i]) end
redis.call('LTRIM', lines, -max_lines, -1)
update.asked = known.asked or update.asked
for name, value in pairs(update) do known[name] = value end
known.version = version
redis.call('HSET', tickets, ticket, cjson.encode(known))
while redis.call('HLEN', tickets) > max_tickets do
  local all, oldest, at = redis.call('HGETALL', tickets), nil, nil
  for i = 1, #all, 2 do
    local seen = cjson.decode(all[i + 1]).at
    if at == nil or seen < at then oldest, at = all[i], seen end
  end
  redis.call('HDEL', tickets, oldest)
end
redis.call('EXPIRE', lines, ttl)
redis.call('EXPIRE', tickets, ttl)
return 1
""")


class MemoryStore:
    """The Memory port over Redis, and what writes it. Raises IndexUnavailable when Redis does not serve."""

    def __init__(self, redis: Redis, days: int = 90, clock: Clock | None = None) -> None:
        self._redis = redis
        self._ttl_s = days * DAY_S
        self._clock = clock or SystemClock()

    async def generation(self, candidate: str) -> str:
        """The store's generation; `candidate` becomes it if the store is new or was lost."""
        await self._redis.call("SET", self._generation_key, candidate, "NX")
        return await self._current() or candidate

    async def write(self, generation: str, events: TicketEvents, update: Update) -> bool:
        """Add what the events mean; False if this version of the ticket was added before."""
        lines, tickets = self._keys(generation, events.tenant, events.conversation)
        said = [line.model_dump_json() for line in update.lines]
        limits = (MAX_LINES, MAX_TICKETS, self._ttl_s)
        head: list[Argument] = [events.ticket, events.version, *limits, json.dumps(update.ticket)]
        return bool(await self._redis.run(_WRITE, [lines, tickets], [*head, *said]))

    async def conversation(self, tenant: str, conversation: str, limit: int = 20, deadline: float = 0.3) -> list[Line]:
        if not 0 <= limit <= MAX_LINES:
            raise InvalidError(f"limit {limit}: between 0 and {MAX_LINES}")
        generation = await self._current()
        if limit == 0 or generation is None:
            return []
        lines, _ = self._keys(generation, tenant, conversation)
        found: Sequence[bytes] = await self._redis.call("LRANGE", lines, -limit, -1)
        return [Said.model_validate_json(line) for line in found]

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        past = sorted(await self._tickets(tenant, conversation), key=lambda ticket: -ticket["at"])
        return {
            "facts": _facts(past),
            "tickets": [_past(ticket) for ticket in past],
            "known": _known(past, self._clock.now()),
        }

    async def said(self, tenant: str, conversation: str, ticket: str, version: int) -> list[Said] | None:
        """The lines of one ticket that are still kept; None while its version is not written here yet."""
        known = {found["ticket"]: found["version"] for found in await self._tickets(tenant, conversation)}
        if known.get(ticket, -1) < version:
            return None
        lines = await self.conversation(tenant, conversation, MAX_LINES)
        return [line for line in lines if isinstance(line, Said) and line.ticket == ticket]

    async def _tickets(self, tenant: str, conversation: str) -> list[dict[str, Any]]:
        generation = await self._current()
        if generation is None:
            return []
        _, tickets = self._keys(generation, tenant, conversation)
        found: Sequence[bytes] = await self._redis.call("HVALS", tickets)
        return [json.loads(ticket) for ticket in found]

    async def ping(self) -> None:
        await self._redis.ping()

    async def _current(self) -> str | None:
        found: bytes | None = await self._redis.call("GET", self._generation_key)
        return found.decode() if found is not None else None

    @property
    def _generation_key(self) -> str:
        return f"{self._redis.prefix}:memory:generation"

    def _keys(self, generation: str, tenant: str, conversation: str) -> tuple[str, str]:
        # Length first: no tenant's name can make another tenant's key. The braces keep both in one hash slot.
        name = f"{self._redis.prefix}:memory:{generation}:{{{len(tenant)}:{tenant}:{conversation}}}"
        return f"{name}:lines", f"{name}:tickets"


def _past(ticket: dict[str, Any]) -> dict[str, Any]:
    return {
        "ticket": ticket["ticket"],
        "intent": ticket.get("intent", ""),
        "outcome": ticket.get("outcome", ""),
        "at": round(ticket["at"]),
        "summary": ticket.get("summary") or _told(ticket),
    }


def _told(ticket: dict[str, Any]) -> str:
    """What the events alone say of a ticket: the rung without a model."""
    asked = f"The customer wrote: {ticket['asked']}" if ticket.get("asked") else ""
    matter = f"Matter: {ticket['intent']}" if ticket.get("intent") else ""
    outcome = f"Outcome: {ticket['outcome']}" if ticket.get("outcome") else ""
    return ". ".join(part for part in (asked, matter, outcome) if part)


def _known(past: list[dict[str, Any]], now: Millis) -> list[dict[str, Any]]:
    """What customers said that still holds: of each name what was said last, the newest first, at most so many."""
    found = [Noted.model_validate(fact) for ticket in past for fact in json.loads(ticket.get("facts", "[]"))]
    newest: dict[str, Noted] = {}
    for fact in sorted(found, key=lambda fact: -fact.at):
        newest.setdefault(fact.name, fact)
    return [fact.model_dump(mode="json") for fact in newest.values() if fact.until > now][:MAX_FACTS]


def _facts(past: list[dict[str, Any]]) -> dict[str, Any]:
    """What the tickets say of the customer: how many, how many a person had to take, when the last was."""
    if not past:
        return {}
    handed_over = sum(ticket.get("outcome") == "handed_over" for ticket in past)
    return {"tickets": len(past), "handed_over": handed_over, "last_contact": round(past[0]["at"])}
