"""The `kafka` adapter of the bus: production."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from aiokafka import TopicPartition as KafkaPartition

from tandem.bus.base import Appended, Consumer, Listener, NewRecord, Outgoing, Record, TopicPartition, placed
from tandem.bus.kafka_admin import Topics
from tandem.bus.kafka_consumer import KafkaConsumer
from tandem.bus.kafka_link import KafkaOptions, Link, Names
from tandem.bus.kafka_producer import Sender
from tandem.bus.kafka_reader import Readers
from tandem.contracts.topics import TOPICS, Spread, Topic
from tandem.errors import InvalidSettings

__all__ = ["KafkaBus", "KafkaOptions"]


class KafkaBus:
    """See `tandem.bus.base.Bus`. One link, shared by all that publish and read; each consumer has its own connections."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        shards: int = 64,
        work_partitions: int = 32,
        prefix: str = "tandem",
        replication: int = 3,
        options: KafkaOptions | None = None,
    ) -> None:
        self._spread = {Spread.SHARD: shards, Spread.WORK: work_partitions, Spread.ONE: 1}
        self._topics = dict(TOPICS)
        self._names = Names(prefix)
        self._link = Link(bootstrap_servers, prefix, options or KafkaOptions())
        self._admin = Topics(self._link, self._names, replication)
        self._sender = Sender(self._link)
        self._readers = Readers(self._link, self._names)
        self._consumers: list[KafkaConsumer] = []
        self._turn = 0

    @property
    def kind(self) -> str:
        return "kafka"

    async def start(self) -> None:
        await self._link.connect()
        await self._admin.check({name: (topic, self.partitions(name)) for name, topic in TOPICS.items()})

    async def stop(self) -> None:
        while self._consumers:
            await self._consumers.pop().close()
        await self._sender.close()
        await self._readers.close()
        await self._link.close()

    async def create_topics(self, topics: Sequence[Topic]) -> list[str]:
        """May be called before `start`, which refuses a cluster that lacks topics."""
        await self._link.connect()
        self._topics |= {topic.name: topic for topic in topics}
        created = await self._admin.create({topic.name: (topic, self.partitions(topic.name)) for topic in topics})
        everywhere = [[self._at(name, n) for n in range(self.partitions(name))] for name in created]
        await asyncio.gather(*map(self._readers.ends, everywhere))  # answered once each partition can be used
        return created

    def partitions(self, topic: str) -> int:
        try:
            return self._spread[self._topics[topic].spread]
        except KeyError:
            raise InvalidSettings(f"there is no topic {topic!r}; create it first (tandem topics apply)") from None

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        groups: dict[KafkaPartition, list[NewRecord]] = defaultdict(list)
        for message in messages:
            groups[self._place(message)].append(message.record)
        if groups:
            await self._sender.send(groups)

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        if not records:
            return []
        at = self._at(topic, partition)
        return (await self._sender.send({at: records}))[at]

    def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Sequence[Record]]:
        return self._readers.read(self._at(topic, partition), start, end)

    async def end(self, topic: str, partition: int) -> int:
        return await self._readers.end(self._at(topic, partition))

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        return await self._admin.committed(group, self._at(topic, partition))

    async def consumer(
        self, group: str, topics: Sequence[str], listener: Listener | None = None, instance: str | None = None
    ) -> Consumer:
        consumer = KafkaConsumer(self._link, self._names, group, listener, instance or self._link.options.instance)
        await consumer.join(topics)
        self._consumers = [each for each in self._consumers if not each.closed] + [consumer]
        return consumer

    def _at(self, topic: str, partition: int) -> KafkaPartition:
        self.partitions(topic)  # refuses a topic that does not exist
        return self._names.partition(TopicPartition(topic, partition))

    def _place(self, message: Outgoing) -> KafkaPartition:
        count = self.partitions(message.topic)
        partition = placed(message, count)
        if partition is None:
            self._turn += 1
            partition = self._turn % count
        return self._at(message.topic, partition)
