"""Both adapters, one suite. On Kafka the registry's topics are shared by the run; each test has topics of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tandem.bus.base import Bus
from tandem.bus.kafka import KafkaBus, KafkaOptions
from tandem.bus.local import LocalBus
from tandem.contracts.topics import TOPICS, Key, Spread, Topic

SHARDS = 4
OPTIONS = KafkaOptions(session_timeout=3.0, ack_timeout=20.0, read_timeout=20.0)

Connect = Callable[[], Awaitable[Bus]]


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex[:12]


@pytest_asyncio.fixture(params=["local", pytest.param("kafka", marks=pytest.mark.connected)])
async def connect(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connect]:
    """Makes buses of one deployment; the first consumes, others are like those of other processes."""
    made: list[Bus] = []

    async def make() -> Bus:
        bus: Bus
        if request.param == "local":
            bus = LocalBus(tmp_path / "bus.sqlite", shards=SHARDS, work_partitions=2, session_s=3.0)
        else:
            bootstrap = request.getfixturevalue("kafka_bootstrap")
            bus = KafkaBus(bootstrap, shards=SHARDS, work_partitions=2, prefix="suite", replication=1, options=OPTIONS)
            await bus.create_topics(list(TOPICS.values()))
        await bus.start()
        made.append(bus)
        return bus

    yield make
    for bus in made:
        await bus.stop()


@pytest_asyncio.fixture
async def bus(connect: Connect) -> Bus:
    return await connect()


def make_topic(name: str, *, retries: int = 0) -> Topic:
    return Topic(
        name=name,
        title="A test's own",
        key=Key.CONVERSATION,
        spread=Spread.SHARD,
        retention_ms=3_600_000,
        producers=(),
        consumers=(),
        retries=retries,
    )


@pytest_asyncio.fixture
async def topic(bus: Bus, unique: str) -> str:
    """A topic of four partitions."""
    await bus.create_topics([make_topic(f"suite.{unique}")])
    return f"suite.{unique}"


@pytest.fixture
def group(unique: str) -> str:
    return f"group-{unique}"
