"""A fresh bus and a fresh private Redis for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tandem.bus.local import LocalBus
from tandem.redis import Redis, private_redis
from tests.integration.planner.world import SHARDS, World


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    server = await private_redis(tmp_path / "redis")
    client = Redis(server.url)
    yield client
    await client.close()
    await server.stop()


@pytest_asyncio.fixture
async def world(redis: Redis) -> AsyncIterator[World]:
    bus = LocalBus(None, shards=SHARDS, work_partitions=2)
    await bus.start()
    world = World(bus, redis)
    yield world
    world.blocking.close()
    await bus.stop()
