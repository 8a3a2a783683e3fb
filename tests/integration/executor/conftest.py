from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tandem.bus.base import Bus
from tandem.bus.local import LocalBus
from tandem.contracts.topics import TOPICS
from tests.integration.executor.world import Outside

PREFIX = f"executor-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(params=["local", pytest.param("kafka", marks=pytest.mark.connected)])
async def any_bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """Either adapter; on Kafka the tests of a run share one deployment."""
    if request.param == "local":
        bus: Bus = LocalBus(None, shards=2, work_partitions=1)
    else:
        from tandem.bus.kafka import KafkaBus

        bootstrap = request.getfixturevalue("kafka_bootstrap")
        bus = KafkaBus(bootstrap, shards=2, work_partitions=1, prefix=PREFIX, replication=1)
        await bus.create_topics(list(TOPICS.values()))
    await bus.start()
    yield bus
    await bus.stop()


@pytest_asyncio.fixture
async def bus() -> AsyncIterator[Bus]:
    local = LocalBus(None, shards=2, work_partitions=1)
    await local.start()
    yield local
    await local.stop()


@pytest_asyncio.fixture
async def outside(bus: Bus) -> AsyncIterator[Outside]:
    there = Outside(bus)
    await there.start()
    yield there
    await there.stop()


@pytest.fixture
def ticket() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"
