"""What the adapter makes of the registry on a cluster, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tandem.bus.base import NewRecord
from tandem.bus.kafka import KafkaBus
from tandem.bus.kafka_admin import topic_settings
from tandem.contracts.topics import EFFECTS, TICKET_INBOX, TICKET_STATE, TOPICS
from tandem.errors import BusUnavailable, InvalidMessage, InvalidSettings
from tests.integration.kafka.conftest import make_bus

pytestmark = pytest.mark.connected


@asynccontextmanager
async def closing(bus: KafkaBus) -> AsyncIterator[KafkaBus]:
    try:
        yield bus
    finally:
        await bus.stop()


async def create_by_hand(bootstrap: str, name: str, settings: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 4, 1, topic_configs=settings)])
    await admin.close()


async def settings_of(bootstrap: str, name: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    await admin.close()
    return {key: value for key, value, *_ in answer.resources[0][4]}


@pytest.mark.parametrize("topic", [TICKET_INBOX, TICKET_STATE, EFFECTS], ids=lambda topic: topic.name)
@pytest.mark.asyncio
async def test_topics_are_created_with_the_registrys_settings(bus: KafkaBus, kafka_bootstrap, prefix, topic):
    found = await settings_of(kafka_bootstrap, f"{prefix}.{topic.name}")
    expected = topic_settings(topic, 1)
    assert {key: found[key] for key in expected} == expected


def test_three_replicas_need_two_in_sync_and_no_unclean_election():
    settings = topic_settings(TICKET_STATE, 3)
    assert settings["min.insync.replicas"] == "2"
    assert settings["unclean.leader.election.enable"] == "false"
    assert "min.insync.replicas" not in topic_settings(TICKET_STATE, 1)


@pytest.mark.asyncio
async def test_creating_again_creates_nothing(bus: KafkaBus):
    assert await bus.create_topics(list(TOPICS.values())) == []


@pytest.mark.asyncio
async def test_another_partition_count_refuses_to_start(bus: KafkaBus, kafka_bootstrap, prefix):
    async with closing(make_bus(kafka_bootstrap, prefix, shards=8)) as other:
        with pytest.raises(InvalidSettings, match=rf"{prefix}\.ticket\.inbox has 4 partitions, the settings say 8"):
            await other.start()


@pytest.mark.asyncio
async def test_missing_topics_refuse_to_start(kafka_bootstrap, prefix):
    async with closing(make_bus(kafka_bootstrap, prefix)) as other:
        with pytest.raises(InvalidSettings, match="tandem topics apply"):
            await other.start()


@pytest.mark.asyncio
async def test_a_topic_made_by_hand_without_append_time_refuses_to_start(kafka_bootstrap, prefix):
    await create_by_hand(kafka_bootstrap, f"{prefix}.ticket.state", {"cleanup.policy": "delete"})
    async with closing(make_bus(kafka_bootstrap, prefix)) as other:
        created = await other.create_topics(list(TOPICS.values()))
        assert set(created) == TOPICS.keys() - {"ticket.state"}
        with pytest.raises(InvalidSettings, match=r"ticket\.state: cleanup\.policy is delete, must be compact"):
            await other.start()


@pytest.mark.asyncio
async def test_more_replicas_than_brokers_are_refused(kafka_bootstrap, prefix):
    async with closing(KafkaBus(kafka_bootstrap, shards=1, work_partitions=1, prefix=prefix, replication=30)) as other:
        with pytest.raises(InvalidSettings, match="fewer brokers"):
            await other.create_topics([TICKET_INBOX])


@pytest.mark.asyncio
async def test_a_record_the_broker_refuses_harms_no_later_one(bus: KafkaBus):
    """A compacted topic refuses records without a key; aiokafka's producer never recovers from a refusal by itself."""
    await bus.append("ticket.state", 0, [NewRecord("a", b"1")])
    with pytest.raises(BusUnavailable):
        await bus.append("ticket.state", 0, [NewRecord(None, b"2")])
    (landed,) = await bus.append("ticket.state", 0, [NewRecord("b", b"3")])
    assert landed.offset == 1


@pytest.mark.asyncio
async def test_a_record_too_large_for_its_topic_is_refused_before_it_is_sent(bus: KafkaBus):
    with pytest.raises(InvalidMessage, match="too-large"):
        await bus.append("ticket.inbox", 0, [NewRecord("a", b"x" * 9_000_000)])
    assert await bus.end("ticket.inbox", 0) == 0
    (landed,) = await bus.append("dead-letters", 0, [NewRecord("a", b"x" * 9_000_000)])
    assert landed.offset == 0
