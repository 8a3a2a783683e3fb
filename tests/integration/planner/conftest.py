"""A fresh bus and a fresh private Redis for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tandem.bus.base import Bus
from tandem.bus.kafka import KafkaBus
from tandem.bus.local import LocalBus
from tandem.contracts.topics import TOPICS
from tandem.redis import Redis, private_redis
from tests.integration.planner.world import SHARDS, World

PREFIX = f"owner-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    server = await private_redis(tmp_path / "redis")
    client = Redis(server.url)
    yield client
    await client.close()
    await server.stop()


@pytest_asyncio.fixture(params=["local", pytest.param("kafka", marks=pytest.mark.connected)])
async def any_world(request: pytest.FixtureRequest, redis: Redis) -> AsyncIterator[World]:
    """On either adapter; on Kafka the tests of a run go on in one log, with a new Redis each."""
    if request.param == "local":
        bus: Bus = LocalBus(None, shards=SHARDS, work_partitions=2)
    else:
        bootstrap = request.getfixturevalue("kafka_bootstrap")
        bus = KafkaBus(bootstrap, shards=SHARDS, work_partitions=2, prefix=PREFIX, replication=1)
        await bus.create_topics(list(TOPICS.values()))
    await bus.start()
    world = World(bus, redis)
    yield world
    world.blocking.close()
    await bus.stop()


@pytest_asyncio.fixture
async def world(redis: Redis) -> AsyncIterator[World]:
    bus = LocalBus(None, shards=SHARDS, work_partitions=2)
    await bus.start()
    world = World(bus, redis)
    yield world
    world.blocking.close()
    await bus.stop()
