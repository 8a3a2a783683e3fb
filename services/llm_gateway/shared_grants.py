"""Grants over all gateway processes, in Redis: a call redelivered to another process is still made and paid once."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine
from typing import Any

from services.llm_gateway.calls import Call, Completion, Failed
from services.llm_gateway.recording import as_line, of_line
from tandem import telemetry
from tandem.clock import Clock
from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted, IndexUnavailable
from tandem.redis import Argument, Redis, Script
from tandem.telemetry import names

KEPT_S = 3_600
"""Longer than any task is redelivered."""

GRACE_MS = 1_000
"""After a call's deadline: a process that has not settled it by then is dead, and what it set aside counts as spent."""

ASK_AGAIN_S = 0.05

logger = logging.getLogger(__name__)

_CLOSE = """
local function close(entry, calls, tokens, micros)
  local _, c, t, m = string.match(entry, '(%d+) (%d+) (%d+) (%d+)')
  local function add(name, by) redis.call('HINCRBY', KEYS[1], name, by) end
  add('rc', 0 - c); add('rt', 0 - t); add('rm', 0 - m)
  add('sc', calls or c); add('st', tokens or t); add('sm', micros or m)
end
"""

_BEGIN = Script(
    _CLOSE
    + """
local question, now = ARGV[1], tonumber(ARGV[2])
local answer = redis.call('HGET', KEYS[1], 'a' .. question)
if answer then return {'answered', answer} end
local entry = redis.call('HGET', KEYS[1], 'e' .. question)
if entry then
  if now < tonumber(string.match(entry, '%d+')) then return {'running'} end
  close(entry)
  redis.call('HDEL', KEYS[1], 'e' .. question)
end
for i, name in ipairs({'c', 't', 'm'}) do
  local most = tonumber(ARGV[6 + i])
  local spent = tonumber(redis.call('HGET', KEYS[1], 's' .. name) or '0')
  local set_aside = tonumber(redis.call('HGET', KEYS[1], 'r' .. name) or '0')
  if most > 0 and spent + set_aside + tonumber(ARGV[3 + i]) > most then return {'spent'} end
end
for i, name in ipairs({'c', 't', 'm'}) do redis.call('HINCRBY', KEYS[1], 'r' .. name, ARGV[3 + i]) end
redis.call('HSET', KEYS[1], 'e' .. question, table.concat({ARGV[3], ARGV[4], ARGV[5], ARGV[6]}, ' '))
redis.call('EXPIRE', KEYS[1], ARGV[10])
return {'begun'}
"""
)

_END = Script(
    _CLOSE
    + """
local entry = redis.call('HGET', KEYS[1], 'e' .. ARGV[1])
if not entry then return 0 end
close(entry, ARGV[2], ARGV[3], ARGV[4])
redis.call('HDEL', KEYS[1], 'e' .. ARGV[1])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'a' .. ARGV[1], ARGV[5]) end
redis.call('EXPIRE', KEYS[1], ARGV[6])
return 1
"""
)


class SharedGrants:
    """Without Redis each process goes by its own ledger: then a call in flight may be paid once more."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._writes: set[asyncio.Task[None]] = set()

    async def begin(self, call: Call, question: str, estimate: Cost) -> Completion | None:
        """None: the call is ours to make. Else the answer that another process has, or is about to have.
        Raises Exhausted, and Failed when that answer does not come in time."""
        while True:
            try:
                found = await self._try(call, question, estimate)
            except IndexUnavailable:
                logger.warning("grants are not shared: Redis does not serve")
                return None
            match found:
                case [b"begun"]:
                    return None
                case [b"answered", raw]:
                    telemetry.count(names.MODEL_REPEATED, "grant")
                    return of_line(json.loads(raw))
                case [b"spent"]:
                    telemetry.count(names.MODEL_REFUSED, "grant_spent")
                    raise Exhausted("grant_spent", f"grant {call.grant} has no room for this call")
            if time.monotonic() + ASK_AGAIN_S >= call.deadline:
                raise Failed("timeout", "another process did not make the same call in time", fault=False)
            await asyncio.sleep(ASK_AGAIN_S)

    def settle(self, call: Call, question: str, completion: Completion) -> None:
        self._write(self._end(call, question, completion.cost, json.dumps(as_line(completion), ensure_ascii=False)))

    def fail(self, call: Call, question: str, spent: Cost) -> None:
        """The call has no answer and may be made again, for what is left."""
        self._write(self._end(call, question, spent, ""))

    async def close(self) -> None:
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _try(self, call: Call, question: str, estimate: Cost) -> Any:
        now = self._clock.now()
        until = now + round((call.deadline - time.monotonic()) * 1000) + GRACE_MS
        limit = call.limit
        own = (estimate.calls, estimate.tokens, estimate.micros)
        most = (limit.calls, limit.tokens, limit.micros)
        return await self._redis.run(_BEGIN, [self._key(call)], [question, now, until, *own, *most, KEPT_S])

    async def _end(self, call: Call, question: str, spent: Cost, answer: str) -> None:
        try:
            args: list[Argument] = [question, spent.calls, spent.tokens, spent.micros, answer, KEPT_S]
            await self._redis.run(_END, [self._key(call)], args)
        except IndexUnavailable:
            logger.warning("a grant was not settled: Redis does not serve", exc_info=True)

    def _write(self, end: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it: until it is written, what was set aside counts."""
        task = asyncio.create_task(end)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def _key(self, call: Call) -> str:
        return f"{self._redis.prefix}:{{grant:{call.grant_key}}}"
