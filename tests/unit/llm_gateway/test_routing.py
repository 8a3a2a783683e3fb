from __future__ import annotations

import asyncio
from random import Random

import pytest

from services.llm_gateway.calls import Failed
from services.llm_gateway.replica import OPEN_AFTER, Breaker, Replica, State, read_load
from services.llm_gateway.routing import BOUND, Router, affinity
from tests.unit.llm_gateway.replicas import StubReplica
from tests.unit.llm_gateway.served import call, served

TENANTS, TICKETS, TURNS = 6, 120, 6


def conversations(random):
    """The calls of many tickets, mixed: each is longer by a turn than the one before of its ticket."""
    left = [ticket for ticket in range(TICKETS) for _ in range(TURNS)]
    random.shuffle(left)
    turns = [0] * TICKETS
    for ticket in left:
        turns[ticket] += 1
        tenant = f"tenant {ticket % TENANTS}"
        system = f"You help the customers of {tenant}. " * 8
        text = "".join(f"ticket {ticket}, turn {turn}: what was said at length. " * 3 for turn in range(turns[ticket]))
        yield call(text, system=system, tenant=tenant, ticket=str(ticket), within=30)


def oracle(asked):
    """The hit rate of one replica that forgets nothing: no routing can find more."""
    cache = StubReplica(blocks=10**9)
    for each in asked:
        cache._remember({**each.body, "cache_salt": each.tenant})
    return cache.hits / cache.lookups


@pytest.mark.parametrize("at_once", [1, 16])
@pytest.mark.asyncio
async def test_calls_go_where_their_beginning_is_cached_and_no_replica_has_too_many(at_once):
    asked = list(conversations(Random(7)))
    gate = asyncio.Semaphore(at_once)

    async def ask(chat, each):
        async with gate:
            await chat.complete(each)

    async with served(4, pool={"vllm": True}, blocks=3_000) as (chat, made):
        await asyncio.gather(*(ask(chat, each) for each in asked))
    rate = sum(replica.hits for replica in made) / sum(replica.lookups for replica in made)
    calls = [len(replica.seen) for replica in made]
    assert rate >= 0.95 * oracle(conversations(Random(7)))
    assert max(calls) <= BOUND * sum(calls) / len(calls)


@pytest.mark.asyncio
async def test_without_affinity_much_less_is_found():
    """So the test above can fail."""
    asked = list(conversations(Random(7)))
    async with served(4, pool={"vllm": True}, blocks=3_000) as (chat, made):
        for each in asked:
            each.ticket = str(Random(id(each)).random())
            await chat.complete(each)
    rate = sum(replica.hits for replica in made) / sum(replica.lookups for replica in made)
    assert rate < 0.8 * oracle(conversations(Random(7)))


def replicas(count, now=lambda: 0.0):
    return [Replica(f"http://r{number}/v1", number, now) for number in range(count)]


def test_every_process_sends_a_ticket_to_the_same_replica():
    keys = [affinity("acme", "system", str(ticket)) for ticket in range(50)]
    first, second = (Router(replicas(5), Random(seed)) for seed in (1, 2))
    assert [first.choose(key).number for key in keys] == [second.choose(key).number for key in keys]


def test_of_a_replica_that_is_away_only_its_own_tickets_move():
    made = replicas(5)
    router = Router(made, Random(1))
    keys = [affinity("acme", "system", str(ticket)) for ticket in range(200)]
    before = [router.choose(key) for key in keys]
    made[2].silent = True
    after = [router.choose(key) for key in keys]
    assert all(was is now for was, now in zip(before, after, strict=True) if was is not made[2])
    assert made[2] in before
    assert made[2] not in after


def test_calls_without_a_key_go_to_the_less_loaded():
    made = replicas(2)
    made[0].in_flight = 3
    router = Router(made, Random(1))
    assert affinity("acme", "", "") == b""
    assert {router.choose(b"").number for _ in range(20)} == {1}
    read_load(made[1], 'vllm:num_requests_waiting{engine="0"} 9.0\nvllm:kv_cache_usage_perc{engine="0"} 0.99\nother 1')
    assert (made[1].waiting, made[1].kv_use) == (9, 0.99)
    assert {router.choose(b"").number for _ in range(20)} == {0}


def test_a_replica_that_is_pressed_loses_its_calls_to_others():
    made = replicas(3)
    router = Router(made, Random(1))
    key = affinity("acme", "system", "t")
    home = router.choose(key)
    read_load(home, "vllm:num_requests_waiting 3.0\nvllm:kv_cache_usage_perc 0.97\n")
    assert router.choose(key) is not home
    read_load(home, "vllm:num_requests_waiting 0.0\n")
    assert router.choose(key) is home


def test_a_breaker_opens_lets_one_through_and_closes():
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(OPEN_AFTER):
        assert breaker.allows()
        breaker.started()
        breaker.failed()
    assert (breaker.state, breaker.allows()) == (State.OPEN, False)
    now[0] += 2.1
    assert breaker.state is State.HALF_OPEN
    breaker.started()
    assert not breaker.allows()  # one at a time
    breaker.failed()
    now[0] += 2.1
    assert breaker.state is State.OPEN  # twice as long now
    now[0] += 2.1
    breaker.started()
    breaker.left()
    assert breaker.allows()
    breaker.started()
    breaker.succeeded()
    assert (breaker.state, breaker.allows()) == (State.CLOSED, True)


def test_a_replica_says_once_that_it_is_out_and_once_that_it_is_back(caplog):
    now = [0.0]
    replica = Replica("http://replica/v1", 0, lambda: now[0])
    for _ in range(2):
        for _ in range(OPEN_AFTER + 2):
            replica.start()
            replica.failed(Failed("http_5xx", "out of\nmemory"))
        now[0] += 60.0
        for _ in range(2):
            replica.start()
            replica.succeeded()
    out = "a model's replica is left alone: http_5xx: out of memory"
    back = "a model's replica serves again: http://replica/v1"
    assert [record.message for record in caplog.records] == [out, back, out, back]


@pytest.mark.asyncio
async def test_a_replica_that_fails_is_left_alone_for_a_while():
    async with served(2) as (chat, made):
        made[0].does.extend(["fail"] * 20)
        for number in range(40):
            assert (await chat.complete(call(ticket=str(number)))).text == "hello"
        states = [replica.breaker.state for replica in chat.pools["small"].replicas]
    assert len(made[0].seen) == OPEN_AFTER
    assert states == [State.OPEN, State.CLOSED]
