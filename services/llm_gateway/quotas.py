"""What each tenant may have at once and a minute; over all gateway processes, where they tell one another once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from tandem import telemetry
from tandem.clock import Clock
from tandem.errors import Exhausted, IndexUnavailable
from tandem.model_pools import Tenant
from tandem.redis import Argument, Redis, Script
from tandem.telemetry import names

logger = logging.getLogger(__name__)

MAX_TENANTS = 10_000
"""Whose use is remembered; of more, the idle ones are forgotten."""

MAX_TOLD = 2_000
"""Tenants told of at once; the others are told of the next time."""

STALE_MS = 5_000
"""A process that has not told for so long is gone, and its calls with it."""

KEPT_S = 120

_EXCHANGE = Script(
    """
local key, me, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
local most, spent, running = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local at = tonumber(redis.call('HGET', key, 'at') or now)
local left = tonumber(redis.call('HGET', key, 'left') or most)
left = math.min(most, left + math.max(0, now - at) * most / 60000) - spent
redis.call('HSET', key, 'at', math.max(at, now), 'left', string.format('%.3f', left), 'p' .. me, running .. ' ' .. now)
local elsewhere = 0
local found = redis.call('HGETALL', key)
for i = 1, #found, 2 do
  if string.sub(found[i], 1, 1) == 'p' and found[i] ~= 'p' .. me then
    local count, told = string.match(found[i + 1], '(%d+) (%d+)')
    if now - told > tonumber(ARGV[6]) then redis.call('HDEL', key, found[i]) else elsewhere = elsewhere + count end
  end
end
redis.call('EXPIRE', key, ARGV[7])
return {math.floor(left), elsewhere}
"""
)


@dataclass(slots=True)
class _Use:
    """`untold`: tokens that the other processes have not been told of; `reported`: the calls in flight here that they were told
    of last; `elsewhere`: those in flight at them."""

    in_flight: int = 0
    tokens: float = 0.0
    at: float = 0.0
    untold: int = 0
    reported: int = 0
    elsewhere: int = 0


class Quotas:
    """Tokens are paid after the call: one call may overdraw, the next waits until the debt is worked off."""

    def __init__(self, share: Callable[[str], Tenant], now: Callable[[], float]) -> None:
        self._share = share
        self._now = now
        self._uses: dict[str, _Use] = {}

    def enter(self, tenant: str) -> Tenant:
        """Raises Exhausted."""
        share = self._share(tenant)
        use = self._use(tenant)
        running = use.in_flight + use.elsewhere
        if share.in_flight and running >= share.in_flight:
            _refuse("tenant_in_flight", f"tenant {tenant!r} has {running} calls in flight")
        if share.tokens_per_minute and self._left(use, share) <= 0:
            _refuse("tenant_tokens", f"tenant {tenant!r} has spent its {share.tokens_per_minute} tokens a minute")
        use.in_flight += 1
        return share

    def leave(self, tenant: str, tokens: int) -> None:
        share, use = self._share(tenant), self._use(tenant)
        use.in_flight -= 1
        if share.tokens_per_minute:
            use.tokens = self._left(use, share) - tokens
            use.at = self._now()
            use.untold += tokens

    def limited(self) -> Iterator[tuple[str, Tenant, _Use]]:
        """Tenants with a limit, those told of longest ago first."""
        for tenant, use in list(self._uses.items()):
            share = self._share(tenant)
            if share.in_flight or share.tokens_per_minute:
                yield tenant, share, use

    def told(self, tenant: str, use: _Use, spent: int, left: float, elsewhere: int) -> None:
        """What all processes together have left, once they know of what was `spent` here; less what was spent since."""
        use.untold -= spent
        use.tokens, use.at, use.elsewhere = left - use.untold, self._now(), elsewhere
        if self._uses.get(tenant) is use:
            self._uses[tenant] = self._uses.pop(tenant)
            self._forget_idle(tenant, use)

    def alone(self) -> None:
        """Nothing is known of the others: go by what is known here."""
        for use in self._uses.values():
            use.elsewhere = 0

    def _left(self, use: _Use, share: Tenant) -> float:
        if not use.at:
            return float(share.tokens_per_minute)
        earned = (self._now() - use.at) * share.tokens_per_minute / 60
        return min(float(share.tokens_per_minute), use.tokens + earned)

    def _use(self, tenant: str) -> _Use:
        use = self._uses.get(tenant)
        if use is None:
            if len(self._uses) >= MAX_TENANTS:
                self._forget()
            use = self._uses[tenant] = _Use()
        return use

    def _forget(self) -> None:
        idle = [name for name, use in self._uses.items() if not use.in_flight and self._now() - use.at > 60]
        for name in idle:
            del self._uses[name]

    def _forget_idle(self, tenant: str, use: _Use) -> None:
        """A tenant that owes nothing and runs nothing anywhere needs not be told of again."""
        full = use.tokens >= self._share(tenant).tokens_per_minute
        if full and not (use.in_flight or use.reported or use.elsewhere or use.untold):
            del self._uses[tenant]


class SharedQuotas:
    """Where gateway processes tell one another what their tenants use. Between two exchanges each goes by what it knows, so a
    tenant may have more by what it gets at the others in that time. Without Redis each goes by its own."""

    def __init__(self, redis: Redis, me: str, clock: Clock) -> None:
        self._redis = redis
        self._me = me
        self._clock = clock

    async def exchange(self, quotas: Quotas) -> None:
        """Tell what was spent here, and hear what is left."""
        limited = [found for found, _ in zip(quotas.limited(), range(MAX_TOLD), strict=False)]
        try:
            await asyncio.gather(*(self._tell(quotas, *each) for each in limited))
        except IndexUnavailable:
            quotas.alone()
            logger.warning("quotas are not shared: Redis does not serve")

    async def _tell(self, quotas: Quotas, tenant: str, share: Tenant, use: _Use) -> None:
        spent, use.reported = use.untold, use.in_flight
        key = f"{self._redis.prefix}:{{quota:{tenant}}}"
        most = share.tokens_per_minute
        args: list[Argument] = [self._me, self._clock.now(), most, spent, use.reported, STALE_MS, KEPT_S]
        left, elsewhere = await self._redis.run(_EXCHANGE, [key], args)
        quotas.told(tenant, use, spent, float(left), int(elsewhere))


def _refuse(reason: str, detail: str) -> NoReturn:
    telemetry.count(names.MODEL_REFUSED, reason)
    raise Exhausted(reason, detail)
