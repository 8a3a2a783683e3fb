"""The link to a Kafka cluster: FastStream's broker gives the connections, what goes over them is ours (ADR 0002)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka.publisher.producer import AioKafkaFastProducerImpl
from faststream.security import BaseSecurity

from tandem.bus.base import TopicPartition
from tandem.contracts.topics import DEAD_LETTERS
from tandem.errors import BusUnavailable

BATCH_BYTES = 256 * 1024
RETRY_SECONDS = 0.1
MAX_RECORD_BYTES = 8 * 1024 * 1024
"""What a topic takes. Far above a legal body: a reader must be able to see what it refuses."""


def max_bytes(topic: str) -> int:
    """The largest record of a topic. Retries and dead letters carry headers that say why, beside all of the original."""
    copies = topic.endswith((".retry", DEAD_LETTERS.name))
    return 2 * MAX_RECORD_BYTES if copies else MAX_RECORD_BYTES


logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """How long things may take, and how to be let in."""

    ack_timeout: float = 30.0  # until a publish, an append or a commit counts as unacknowledged
    read_timeout: float = 30.0  # without progress, until a read gives up
    session_timeout: float = 10.0  # a silent member of a group loses its partitions after this
    security: BaseSecurity | None = None
    instance: str | None = None  # static membership, unless a consumer says its own


@dataclass(frozen=True, slots=True)
class Names:
    """Logical names and what they are called on the cluster."""

    prefix: str

    def topic(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    def group(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    def logical(self, topic: str) -> str:
        return topic.removeprefix(f"{self.prefix}.")

    def partition(self, at: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self.topic(at.topic), at.partition)


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turn what Kafka, the network and the clock throw into BusUnavailable."""
    try:
        yield
    except (KafkaError, TimeoutError, OSError) as error:
        raise BusUnavailable(f"{what}: {error!r}") from error


async def retried(what: str, timeout: float, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent call while its error may pass. Raises BusUnavailable."""
    with unavailable(what):
        async with asyncio.timeout(timeout):
            while True:
                try:
                    return await call()
                except (KafkaError, OSError) as error:
                    if isinstance(error, KafkaError) and not error.retriable:
                        raise
                await asyncio.sleep(RETRY_SECONDS)


async def stop_consumer(consumer: AIOKafkaConsumer, timeout: float) -> None:
    """Stop within the time. aiokafka lets its own tasks' cancellation escape from `stop`, its connections still open."""
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait({stopping}, timeout=timeout)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait({stopping})
    if stopping.cancelled() or stopping.exception():
        logger.warning("kafka consumer not closed in order")
        await consumer._client.close()


class _Producer(AioKafkaFastProducerImpl):
    """FastStream's, with its aiokafka producer in reach, and closed again when it cannot connect."""

    raw: AIOKafkaProducer

    async def connect(self, producer: AIOKafkaProducer, *given: Any, **named: Any) -> None:
        self.raw = producer
        try:
            await super().connect(producer, *given, **named)
        except BaseException:
            await producer.stop()
            raise


class Link:
    """One FastStream broker: a producer, an admin client and a maker of consumers. Replaced whole when it breaks."""

    def __init__(self, bootstrap_servers: str, client_id: str, options: KafkaOptions) -> None:
        self._servers = [server.strip() for server in bootstrap_servers.split(",")]
        self._client_id = client_id
        self.options = options
        self._open = False
        self._broker: KafkaBroker | None = None
        self._builder: Callable[..., AIOKafkaConsumer] | None = None
        self._changing = asyncio.Lock()

    async def connect(self) -> None:
        """Connect, if it is not yet. Raises BusUnavailable."""
        self._open = True
        await self.ensure()

    async def ensure(self) -> None:
        """Connect again if a replacement failed. Raises BusUnavailable, also before `connect` and after `close`."""
        if self._broker is None:
            async with self._changing:
                await self._connect()

    async def close(self) -> None:
        self._open = False
        async with self._changing:
            await self._disconnect()

    async def replace(self, broken: AIOKafkaProducer) -> None:
        """Connect anew after a producer failed for good: its sequence numbers have a gap no later batch can close."""
        async with self._changing:
            if self._broker is not None and self.producer is broken:
                logger.warning("kafka producer replaced")
                await self._disconnect()  # first: what it still has in flight must not land among later batches
            await self._connect()

    async def _connect(self) -> None:
        if not self._open:
            raise BusUnavailable("the bus is not started, or was stopped")
        if self._broker is not None:
            return
        broker = KafkaBroker(
            self._servers,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * MAX_RECORD_BYTES,
            request_timeout_ms=round(min(self.options.ack_timeout, 15.0) * 1000),
            security=self.options.security,
            logger=None,
        )
        broker.config.broker_config.producer = _Producer(parser=None, decoder=None)
        with unavailable(f"cannot reach Kafka at {','.join(self._servers)}"):
            try:
                async with asyncio.timeout(self.options.ack_timeout):
                    self._builder = await broker.connect()
                    await broker.start()
            except BaseException:
                await broker.stop()
                raise
        self._broker = broker

    async def _disconnect(self) -> None:
        """Let what is in flight land, for at most a session."""
        if self._broker is None:
            return
        producer, broker, self._broker = self.producer, self._broker, None
        try:
            async with asyncio.timeout(self.options.session_timeout):
                await broker.stop()
        except (KafkaError, TimeoutError, OSError):
            logger.warning("kafka connections not closed in time", exc_info=True)
            sending = producer._sender.sender_task  # it would try for ever
            if sending is not None:
                sending.cancel()
                await asyncio.wait({sending}, timeout=1.0)
            await producer.client.close()

    @property
    def broker(self) -> KafkaBroker:
        if self._broker is None:
            raise BusUnavailable("not connected to Kafka")
        return self._broker

    @property
    def producer(self) -> AIOKafkaProducer:
        sender = self.broker.config.producer
        assert isinstance(sender, _Producer)
        return sender.raw

    async def admin(self) -> AIOKafkaAdminClient:
        await self.ensure()
        return self.broker.config.broker_config.admin_client

    def consumer(self, **settings: object) -> AIOKafkaConsumer:
        """A consumer with this link's connection settings, not yet started."""
        if self._builder is None:
            raise BusUnavailable("not connected to Kafka")
        return self._builder(enable_auto_commit=False, auto_offset_reset="earliest", **settings)
