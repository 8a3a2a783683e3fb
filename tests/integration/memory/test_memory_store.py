"""The store on a real Redis."""

from __future__ import annotations

import pytest
import pytest_asyncio

from services.memory.projection import Said, Update
from services.memory.store import MAX_LINES, MAX_TICKETS, MemoryStore
from tandem.contracts.events import TicketEvents
from tandem.errors import IndexUnavailable, InvalidError
from tandem.redis import Redis, private_redis


@pytest_asyncio.fixture
async def redis(tmp_path):
    server = await private_redis(tmp_path)
    client = Redis(server.url, "test")
    yield client
    await client.close()
    await server.stop()


@pytest.fixture
def store(redis):
    return MemoryStore(redis)


def said(*texts, at=1):
    return tuple(Said(who="customer", text=text, at=at) for text in texts)


async def add(store, tenant, conversation, version, *texts, ticket="t1", at=1, **more):
    events = TicketEvents(
        tenant=tenant,
        conversation=conversation,
        ticket=ticket,
        version=version,
        turn=1,
        at=at,
        owner="bot",
        status="working",
        cause="tandem.routed-message.v1",
        pack="p",
        events=(),
    )
    generation = await store.generation("g1")
    return await store.write(generation, events, Update(said(*texts, at=at), {"ticket": ticket, "at": at, **more}))


@pytest.mark.asyncio
async def test_what_is_written_is_read_and_a_repeated_version_changes_nothing(store):
    assert await add(store, "acme", "c1", 1, "hello", intent="refund")
    assert await add(store, "acme", "c1", 2, "héllo", at=2, outcome="done")
    assert not await add(store, "acme", "c1", 2, "héllo", at=2)
    assert not await add(store, "acme", "c1", 1, "hello")
    assert await store.conversation("acme", "c1") == [*said("hello"), *said("héllo", at=2)]
    assert await store.conversation("acme", "c1", limit=1) == [*said("héllo", at=2)]
    known = await store.customer("acme", "c1")
    assert known["tickets"] == [
        {
            "ticket": "t1",
            "intent": "refund",
            "outcome": "done",
            "at": 2,
            "summary": "Matter: refund. Outcome: done",
        }
    ]
    assert known["facts"] == {"tickets": 1, "handed_over": 0, "last_contact": 2}


@pytest.mark.asyncio
async def test_nobody_known_is_empty_and_tenants_do_not_meet(store):
    await add(store, "a", "b:c", 1, "mine")
    await add(store, "a:b", "c", 1, "another's")
    assert await store.conversation("a", "b:c") == [*said("mine")]
    assert await store.conversation("b", "b:c") == []
    assert await store.customer("b", "c1") == {"facts": {}, "tickets": [], "known": []}


@pytest.mark.asyncio
async def test_lists_are_capped_and_the_oldest_go(store):
    for number in range(MAX_TICKETS + 5):
        lines = [f"{number}-{i}" for i in range(10)]
        await add(store, "acme", "c1", 1, *lines, ticket=f"t{number}", at=number)
    lines = await store.conversation("acme", "c1", limit=MAX_LINES)
    assert len(lines) == MAX_LINES
    assert lines[-1].text == f"{MAX_TICKETS + 4}-9"
    tickets = (await store.customer("acme", "c1"))["tickets"]
    assert [ticket["at"] for ticket in tickets] == list(range(MAX_TICKETS + 4, 4, -1))


@pytest.mark.asyncio
async def test_what_is_silent_for_long_is_forgotten(store, redis):
    await add(store, "acme", "c1", 1, "hello")
    keys = [key for key in await redis.call("KEYS", "*") if b"acme" in key]
    assert len(keys) == 2
    for key in keys:
        assert await redis.call("TTL", key) > 80 * 24 * 3600


@pytest.mark.asyncio
async def test_a_lost_store_is_a_new_generation(store, redis):
    assert await store.generation("one") == "one"
    assert await store.generation("two") == "one"
    await redis.call("FLUSHALL")
    assert await store.conversation("acme", "c1") == []
    assert await store.customer("acme", "c1") == {"facts": {}, "tickets": [], "known": []}
    assert await store.generation("two") == "two"


@pytest.mark.parametrize("limit", [-1, MAX_LINES + 1])
@pytest.mark.asyncio
async def test_limits_are_checked(store, limit):
    with pytest.raises(InvalidError):
        await store.conversation("acme", "c1", limit=limit)
    assert await store.conversation("acme", "c1", limit=0) == []


@pytest.mark.asyncio
async def test_no_redis_is_unavailable(tmp_path):
    client = Redis(f"unix://{tmp_path}/none.sock", "test")
    with pytest.raises(IndexUnavailable):
        await MemoryStore(client).conversation("acme", "c1")
    await client.close()
