"""Topics on the cluster: created with the registry's settings, and checked against them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, NoError, TopicAlreadyExistsError, for_code

from tandem.bus.kafka_link import RETRY_SECONDS, Link, Names, max_bytes, retried, unavailable
from tandem.contracts.topics import Topic
from tandem.errors import InvalidSettings

HOUR_MS = 3600 * 1000
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": str(HOUR_MS),  # only closed segments are compacted
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": str(24 * HOUR_MS),
}
CHECKED = ("message.timestamp.type", "cleanup.policy")


def topic_settings(topic: Topic, replication: int) -> dict[str, str]:
    """Kafka's settings of a topic. All take the broker's time: the owner's clock is the append time."""
    settings = {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(max_bytes(topic.name)),
    }
    if topic.retention_ms is None:
        settings |= COMPACTED
    else:
        settings |= {"cleanup.policy": "delete", "retention.ms": str(topic.retention_ms)}
    if replication >= 3:
        settings |= {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
    return settings


class Topics:
    """The cluster's topics, by logical name."""

    def __init__(self, link: Link, names: Names, replication: int) -> None:
        self._link = link
        self._names = names
        self._replication = replication

    async def create(self, wanted: Mapping[str, tuple[Topic, int]]) -> list[str]:
        """Create what is missing and wait until it can be written. Raises InvalidSettings, BusUnavailable."""
        there = await self._partitions()
        missing = {name: entry for name, entry in wanted.items() if name not in there}
        if not missing:
            return []
        topics = [
            NewTopic(
                self._names.topic(name),
                count,
                self._replication,
                topic_configs=topic_settings(topic, self._replication),
            )
            for name, (topic, count) in missing.items()
        ]
        response = await self._ask("create topics", lambda admin: admin.create_topics(topics))
        created = [physical for physical, code, *_ in response.topic_errors if self._created(physical, for_code(code))]
        await self._wait_led(missing)
        return sorted(map(self._names.logical, created))

    async def check(self, wanted: Mapping[str, tuple[Topic, int]]) -> None:
        """Compare with the registry. Raises InvalidSettings, naming every mismatch and what to do."""
        there = await self._partitions()
        missing = sorted(wanted.keys() - there.keys())
        if missing:
            raise InvalidSettings(
                f"topics missing on the cluster: {', '.join(map(self._names.topic, missing))}; run `tandem topics apply`"
            )
        problems = [
            f"{self._names.topic(name)} has {there[name]} partitions, the settings say {count}"
            for name, (_, count) in sorted(wanted.items())
            if there[name] != count
        ]
        if problems:
            raise InvalidSettings(
                f"{'; '.join(problems)}. Set TANDEM_SHARDS and TANDEM_WORK_PARTITIONS to what the topics have: "
                "a changed count would part conversations from their owners"
            )
        await self._check_settings([topic for topic, _ in wanted.values()])

    async def committed(self, group: str, at: KafkaPartition) -> int | None:
        """The group's committed offset."""

        name = self._names.group(group)
        offsets = await self._ask("committed", lambda admin: admin.list_consumer_group_offsets(name, partitions=[at]))
        found = offsets.get(at)
        return None if found is None or found.offset < 0 else found.offset

    @property
    def _timeout(self) -> float:
        return self._link.options.ack_timeout

    async def _ask(self, what: str, question: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        async def ask() -> Any:
            return await question(await self._link.admin())

        return await retried(what, self._timeout, ask)

    def _created(self, physical: str, error: type[KafkaError]) -> bool:
        """Whether this call created the topic. Raises InvalidSettings, BusUnavailable."""
        if error is InvalidReplicationFactorError:
            raise InvalidSettings(
                f"{physical}: the cluster has fewer brokers than {self._replication} replicas need; "
                "set TANDEM_KAFKA_REPLICATION to what it can hold"
            )
        if error is TopicAlreadyExistsError:  # someone was faster
            return False
        if error is not NoError:
            with unavailable(f"create topic {physical}"):
                raise error()
        return True

    async def _describe(self) -> list[dict[str, Any]]:
        """Every topic of this deployment. Asked for all by name, a broker might create them with its own settings."""
        topics = await self._ask("describe topics", lambda admin: admin.describe_topics())
        return [topic for topic in topics if topic["topic"].startswith(self._names.topic(""))]

    async def _partitions(self) -> dict[str, int]:
        return {self._names.logical(topic["topic"]): len(topic["partitions"]) for topic in await self._describe()}

    async def _wait_led(self, names: Iterable[str]) -> None:
        wanted = set(names)
        with unavailable("wait for the new topics"):
            async with asyncio.timeout(self._timeout):
                while True:
                    if wanted <= await self._led():
                        return
                    await asyncio.sleep(RETRY_SECONDS)

    async def _led(self) -> set[str]:
        """Topics whose partitions all have a leader."""
        return {
            self._names.logical(topic["topic"])
            for topic in await self._describe()
            if topic["partitions"] and all(p["leader"] >= 0 for p in topic["partitions"])
        }

    async def _check_settings(self, topics: Sequence[Topic]) -> None:
        """Append time and compaction carry the protocol: a topic made by hand may lack them."""
        expected = {self._names.topic(topic.name): topic_settings(topic, self._replication) for topic in topics}
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, physical, dict.fromkeys(CHECKED)) for physical in expected
        ]
        answers = await self._ask("describe topic settings", lambda admin: admin.describe_configs(resources))
        problems = []
        for _, _, _, physical, entries in (resource for answer in answers for resource in answer.resources):
            for key, value, *_ in entries:
                if key in CHECKED and value != expected[physical][key]:
                    problems.append(f"{physical}: {key} is {value}, must be {expected[physical][key]}")
        if problems:
            raise InvalidSettings(f"{'; '.join(sorted(problems))}. Change them with kafka-configs.sh --alter")
