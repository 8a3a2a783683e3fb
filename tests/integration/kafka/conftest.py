"""A bus with topics of its own on the shared Kafka."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tandem.bus.kafka import KafkaBus, KafkaOptions
from tandem.contracts.topics import TOPICS

SHARDS = 4
QUICK = KafkaOptions(session_timeout=2.0, ack_timeout=20.0, read_timeout=20.0)


def make_bus(bootstrap: str, prefix: str, *, shards: int = SHARDS) -> KafkaBus:
    return KafkaBus(bootstrap, shards=shards, work_partitions=2, prefix=prefix, replication=1, options=QUICK)


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture
async def bus(kafka_bootstrap: str, prefix: str) -> AsyncIterator[KafkaBus]:
    made = make_bus(kafka_bootstrap, prefix)
    await made.create_topics(list(TOPICS.values()))
    await made.start()
    yield made
    await made.stop()
