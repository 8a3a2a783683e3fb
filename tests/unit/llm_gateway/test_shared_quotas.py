"""Gateway processes and a real Redis: together they keep to a tenant's quota, up to what one exchange lies behind."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest

from services.llm_gateway.quotas import STALE_MS, Quotas, SharedQuotas
from tandem.errors import Exhausted
from tandem.model_pools import Pool, Tenant
from tandem.redis import Redis, private_redis
from tests.unit.llm_gateway.replicas import replicas
from tests.unit.llm_gateway.served import call, chat_over


class Time:
    """One clock for all, in seconds and in milliseconds."""

    seconds = 1_000.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return round(self.seconds * 1_000)


class Process:
    def __init__(self, number, redis, time, tenant):
        self.quotas = Quotas(lambda _: tenant, time.monotonic)
        self.shared = SharedQuotas(redis, f"process-{number}", time)

    async def exchange(self):
        await self.shared.exchange(self.quotas)

    def spend(self, tokens, tenant="acme"):
        self.quotas.enter(tenant)
        self.quotas.leave(tenant, tokens)


@contextlib.asynccontextmanager
async def processes(home, count=2, **tenant):
    server, time = await private_redis(home), Time()
    redis = Redis(server.url, timeout_s=0.5)
    try:
        yield [Process(number, redis, time, Tenant(**tenant)) for number in range(count)], time, server
    finally:
        await redis.close()
        await server.stop()


@pytest.mark.asyncio
async def test_what_one_has_spent_the_other_does_not_give(tmp_path):
    async with processes(tmp_path, tokens_per_minute=600) as ([one, other], time, _):
        other.spend(0)
        one.spend(700)
        await one.exchange()
        other.spend(0)  # it does not know yet
        await other.exchange()
        for each in (one, other):
            with pytest.raises(Exhausted, match="tenant_tokens"):
                each.spend(1)
        other.spend(1, tenant="another")
        time.seconds += 11
        other.spend(1)  # the debt of 100 is worked off at 10 a second


@pytest.mark.asyncio
async def test_calls_in_flight_count_wherever_they_are(tmp_path):
    async with processes(tmp_path, in_flight=2) as ([one, other], _, _):
        for _ in range(2):
            one.quotas.enter("acme")
        other.quotas.enter("acme")
        other.quotas.leave("acme", 0)
        await one.exchange()
        other.spend(0)
        await other.exchange()
        with pytest.raises(Exhausted, match="tenant_in_flight"):
            other.quotas.enter("acme")
        one.quotas.leave("acme", 0)
        await one.exchange()
        await other.exchange()
        other.quotas.enter("acme")


@pytest.mark.asyncio
async def test_a_dead_process_holds_nothing_for_long(tmp_path):
    async with processes(tmp_path, in_flight=1) as ([dead, other], time, _):
        dead.quotas.enter("acme")
        await dead.exchange()
        other.spend(0)
        await other.exchange()
        with pytest.raises(Exhausted):
            other.quotas.enter("acme")
        time.seconds += STALE_MS / 1_000 + 0.1
        await other.exchange()
        other.quotas.enter("acme")


@pytest.mark.asyncio
async def test_without_redis_each_goes_by_its_own_and_nothing_spent_is_forgotten(tmp_path):
    async with processes(tmp_path, tokens_per_minute=600, in_flight=3) as ([one, other], _, server):
        one.quotas.enter("acme")
        await one.exchange()
        other.spend(0)
        await other.exchange()
        await server.stop()
        other.spend(700)
        await other.exchange()
        [(_, _, use)] = other.quotas.limited()
        assert (use.untold, use.elsewhere) == (700, 0)
        with pytest.raises(Exhausted, match="tenant_tokens"):
            other.spend(1)


@pytest.mark.asyncio
async def test_whoever_owes_nothing_is_not_told_of_for_ever(tmp_path):
    async with processes(tmp_path, tokens_per_minute=600) as ([one, _], time, _):
        one.spend(5)
        await one.exchange()
        assert len(list(one.quotas.limited())) == 1
        time.seconds += 60
        await one.exchange()
        assert list(one.quotas.limited()) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(5))
async def test_together_they_overdraw_by_no_more_than_one_exchange(tmp_path, seed):
    """Three processes in whatever order; each call takes 10 tokens, each process exchanges at least every ten calls."""
    random = Random(seed)
    async with processes(tmp_path, count=3, tokens_per_minute=6_000) as (made, time, _):
        spent, since = 0, [0, 0, 0]
        began = time.seconds
        for _ in range(3_000):
            number = random.randrange(3)
            with contextlib.suppress(Exhausted):
                made[number].spend(10)
                spent += 10
            since[number] += 1
            time.seconds += 0.005
            if since[number] == 10:
                since[number] = 0
                await made[number].exchange()
        allowed = 6_000 + (time.seconds - began) * 100
        assert allowed - 400 <= spent <= allowed + 3 * 10 * 10 + 10


async def refused(process):
    """Once it has heard."""
    while True:
        await process.exchange()
        try:
            process.spend(0, tenant="default")
        except Exhausted as error:
            return error.reason
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_chat_exchanges_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("services.llm_gateway.chat.POLL_S", 0.01)
    async with processes(tmp_path, tokens_per_minute=20) as ([one, other], _, _), replicas(1) as [replica]:
        pools = {"small": Pool(model="tiny", replicas=(replica.url,), vllm=False)}
        async with chat_over(pools, tenants={"*": Tenant(tokens_per_minute=20)}, quotas=one.shared) as chat:
            for _ in range(2):
                await chat.complete(call())
            async with asyncio.timeout(5):
                assert await refused(other) == "tenant_tokens"
