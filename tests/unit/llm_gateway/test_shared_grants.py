"""Two gateway processes and a real Redis."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.llm_gateway.shared_grants import SharedGrants
from tandem.clock import SystemClock
from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted, Unavailable
from tandem.model_pools import Pool
from tandem.redis import Redis, private_redis
from tests.unit.llm_gateway.replicas import replicas
from tests.unit.llm_gateway.served import call, chat_over

ONE = Cost(calls=1)


@contextlib.asynccontextmanager
async def two_gateways(home, **stub):
    """Both over one replica, and the server of their Redis."""
    server = await private_redis(home)
    clients = [Redis(server.url, timeout_s=0.5) for _ in range(2)]
    async with replicas(1, **stub) as [replica], contextlib.AsyncExitStack() as stack:
        pools = {"small": Pool(model="tiny", replicas=(replica.url,), vllm=False)}
        chats = [
            await stack.enter_async_context(chat_over(pools, shared=SharedGrants(redis, SystemClock())))
            for redis in clients
        ]
        try:
            yield chats, replica, server
        finally:
            await server.stop()
            for redis in clients:
                await redis.close()


@pytest.mark.asyncio
async def test_a_call_redelivered_to_another_process_is_made_once(tmp_path):
    async with two_gateways(tmp_path, delay_s=0.1) as ([one, other], replica, _):
        at_once = await asyncio.gather(
            *(chat.complete(call(grant="g", limit=ONE)) for chat in (one, other) for _ in range(5))
        )
        later = await other.complete(call(grant="g", limit=ONE))
        assert len(replica.seen) == 1
        stranger = await other.complete(call(grant="g", limit=ONE, tenant="another"))
        assert len(replica.seen) == 2
    assert {each.text for each in [*at_once, later, stranger]} == {"hello"}
    assert {each.cost for each in at_once} == {later.cost}


@pytest.mark.asyncio
async def test_both_together_stay_within_the_limit(tmp_path):
    limit = Cost(calls=3, tokens=200)
    async with two_gateways(tmp_path, delay_s=0.02) as (chats, replica, _):
        asked = [chats[n % 2].complete(call(f"question {n}", grant="g", limit=limit)) for n in range(20)]
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, Exhausted) for each in found) == 17
    assert len(replica.seen) == 3


@pytest.mark.asyncio
async def test_what_failed_may_be_made_again_by_the_other(tmp_path):
    async with two_gateways(tmp_path) as ([one, other], replica, _):
        replica.does.append("fail")
        with pytest.raises(Unavailable):
            await one.complete(call(grant="g", limit=ONE))
        assert (await other.complete(call(grant="g", limit=ONE))).text == "hello"


@pytest.mark.asyncio
async def test_what_a_dead_process_had_set_aside_counts_as_spent(tmp_path):
    async with two_gateways(tmp_path) as ([one, other], replica, _):
        asked = call(grant="g", limit=ONE, within=0.2)
        asked.pool = "small"
        assert await one._grants._shared.begin(asked, asked.question(), ONE) is None  # and dies
        with pytest.raises(Unavailable, match="another process"):
            await other.complete(call(grant="g", limit=ONE, within=0.3))
        with pytest.raises(Exhausted):
            await other.complete(call(grant="g", limit=ONE, within=5))
    assert replica.seen == []


@pytest.mark.asyncio
async def test_without_redis_each_goes_by_its_own_ledger(tmp_path):
    async with two_gateways(tmp_path) as ([one, other], replica, server):
        await server.stop()
        for chat in (one, one, other):
            assert (await chat.complete(call(grant="g", limit=ONE))).text == "hello"
    assert len(replica.seen) == 2
