"""What the users of Valkey may do, on a real server with the lines that the start script writes."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.llm_gateway.calls import Call, Completion
from services.llm_gateway.quotas import Quotas, SharedQuotas
from services.llm_gateway.shared_grants import SharedGrants
from services.memory.store import MemoryStore
from services.planner.store import Changes, ShardIndex
from tandem.clock import SystemClock
from tandem.contracts.ticket import Cost
from tandem.errors import IndexUnavailable
from tandem.model_pools import Tenant
from tandem.redis import Redis, private_redis
from tests.deploy.tools import ROOT

SCRIPT = ROOT / "deploy" / "k8s" / "components" / "redis" / "scripts" / "start-valkey.sh"
LINES = re.findall(r'echo "user (\w+) on >\$(\w+) (.+)"', SCRIPT.read_text(encoding="utf-8"))


@asynccontextmanager
async def server(home: Path) -> AsyncIterator[str]:
    """Address of a server with the users, each with its name for a password; the default user still on, to set up."""
    private = await private_redis(home)
    admin = Redis(private.url)
    try:
        for name, _, rules in LINES:
            await admin.call("ACL", "SETUSER", name, "on", f">{name}", *rules.split())
        yield private.url
    finally:
        await admin.close()
        await private.stop()


@asynccontextmanager
async def user(url: str, name: str) -> AsyncIterator[Redis]:
    client = Redis(url.replace("unix://", f"unix://{name}:{name}@"))
    try:
        yield client
    finally:
        await client.close()


def test_every_user_is_read() -> None:
    assert [name for name, _, _ in LINES] == ["planner", "memory", "llm_gateway", "replica", "sentinel", "proxy"]
    assert 'echo "user default off"' in SCRIPT.read_text(encoding="utf-8")


@pytest.mark.asyncio
async def test_an_owner_can_keep_its_index(tmp_path: Path) -> None:
    async with server(tmp_path) as url, user(url, "planner") as redis:
        await redis.ping()
        index = ShardIndex(redis, 3, 1_000)
        assert await index.load(["c"]) == (None, {})
        assert not await index.write(4, 5, Changes())
        await index.due(1)
        assert not await index.forget(5, "c", "m")


@pytest.mark.asyncio
async def test_memory_can_keep_its_store(tmp_path: Path) -> None:
    async with server(tmp_path) as url, user(url, "memory") as redis:
        store = MemoryStore(redis, 90)
        await store.ping()
        assert await store.generation("g1") == "g1"
        assert await store.conversation("acme", "c") == []
        assert await store.customer("acme", "c") == {"facts": {}, "tickets": [], "known": []}


@pytest.mark.asyncio
async def test_the_gateway_can_keep_its_grants(tmp_path: Path) -> None:
    call = Call(body={"messages": []}, deadline=time.monotonic() + 5, grant="g", limit=Cost(calls=1))
    async with server(tmp_path) as url, user(url, "llm_gateway") as redis:
        grants = SharedGrants(redis, SystemClock())
        assert await grants.begin(call, "q", Cost(calls=1)) is None
        grants.settle(call, "q", Completion(model="m", text="hello", cost=Cost(calls=1)))
        await grants.close()
        answer = await grants.begin(call, "q", Cost(calls=1))
        assert answer is not None
        assert answer.text == "hello"
        quotas = Quotas(lambda _: Tenant(tokens_per_minute=60), time.monotonic)
        quotas.enter("acme")
        quotas.leave("acme", 100)
        await SharedQuotas(redis, "me", SystemClock()).exchange(quotas)
        assert [use.untold for _, _, use in quotas.limited()] == [0]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("planner", ("GET", "tandem:memory:generation")),
        ("planner", ("FLUSHALL",)),
        ("planner", ("CONFIG", "GET", "*")),
        ("planner", ("KEYS", "*")),
        ("memory", ("HGETALL", "tandem:{p03}:tickets")),
        ("memory", ("FLUSHDB",)),
        ("llm_gateway", ("HGETALL", "tandem:{p03}:tickets")),
        ("llm_gateway", ("GET", "tandem:memory:generation")),
        ("proxy", ("GET", "tandem:memory:generation")),
        ("sentinel", ("HGETALL", "tandem:{p03}:tickets")),
        ("replica", ("SET", "tandem:memory:generation", "x")),
    ],
)
async def test_it_can_do_nothing_else(tmp_path: Path, name: str, command: tuple[str, ...]) -> None:
    async with server(tmp_path) as url, user(url, name) as redis:
        with pytest.raises(IndexUnavailable, match=r"(?i)permission"):
            await redis.call(*command)


@pytest.mark.asyncio
async def test_the_proxy_sees_who_leads(tmp_path: Path) -> None:
    async with server(tmp_path) as url, user(url, "proxy") as redis:
        assert b"role:master" in await redis.call("INFO", "replication")
