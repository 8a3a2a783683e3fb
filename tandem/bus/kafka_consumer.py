"""A member of a group, over aiokafka's consumer: FastStream's own drops records whose headers it cannot read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError

from tandem.bus.base import Listener, Record, TopicPartition
from tandem.bus.kafka_link import Link, Names, stop_consumer, unavailable
from tandem.bus.kafka_reader import to_record

logger = logging.getLogger(__name__)

FETCH_WAIT_MS = 100
"""A partition that is resumed or sought waits for the fetch under way, so this bounds that wait."""


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """See `tandem.bus.base.Consumer`. A static member keeps its place in the group when it closes."""

    def __init__(self, link: Link, names: Names, group: str, listener: Listener | None, instance: str | None) -> None:
        self._names = names
        self._group = group
        self._listener = listener
        self._options = link.options
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._changing = asyncio.Lock()
        self._taking: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._joined = False
        self._closed = False
        self._link = link
        self._instance = instance
        self._topics: Sequence[str] = ()
        self._consumer: AIOKafkaConsumer = self._make()

    def _make(self) -> AIOKafkaConsumer:
        session_ms = round(self._options.session_timeout * 1000)
        return self._link.consumer(
            group_id=self._names.group(self._group),
            group_instance_id=self._instance,
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(1000, session_ms // 5),
            rebalance_timeout_ms=3 * session_ms,
            request_timeout_ms=4 * session_ms,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    async def join(self, topics: Sequence[str]) -> None:
        """Start and subscribe; the assignment comes later. Raises BusUnavailable."""
        self._topics = topics
        with unavailable(f"join {self._group}"):
            try:
                async with asyncio.timeout(self._options.ack_timeout):
                    await self._consumer.start()
            except BaseException:
                await stop_consumer(self._consumer, self._options.session_timeout)
                raise
        self._consumer.subscribe([self._names.topic(topic) for topic in topics], listener=self)
        self._joined = True

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._assigned)

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        if self._failure is not None:
            raise self._failure
        if self._broken():
            await self._rejoin()
        try:
            async with asyncio.timeout(timeout):
                with unavailable(f"poll {self._group}"):
                    found = await self._consumer.getmany(timeout_ms=round(timeout * 1000), max_records=max_records)
        except TimeoutError:  # a rebalance: aiokafka waits for its end however long it takes
            return []
        return [to_record(self._names, each) for records in found.values() for each in records]

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        mine = self._assigned.intersection(partitions)
        self._paused |= mine
        self._consumer.pause(*map(self._names.partition, mine))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        mine = self._assigned.intersection(partitions)
        self._paused -= mine
        if not self._changing.locked():
            self._consumer.resume(*map(self._names.partition, mine))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._assigned:
            self._consumer.seek(self._names.partition(partition), offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        mine = {self._names.partition(at): offset for at, offset in offsets.items() if at in self._assigned}
        if not mine:
            return
        with unavailable(f"commit for {self._group}"):
            try:
                async with asyncio.timeout(self._options.ack_timeout):
                    await self._consumer.commit(mine)
            except (CommitFailedError, IllegalStateError):
                logger.info("commit left out, the group has moved on", extra={"group": self._group})

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._taking is not None:
            self._taking.cancel()
        await self._give_up()
        await stop_consumer(self._consumer, self._options.session_timeout)

    def _broken(self) -> bool:
        """Whether a task of aiokafka's has died of something unforeseen; it tells nobody and never comes back."""
        if not self._joined:
            return True
        vital: list[asyncio.Task[None]] = [
            self._consumer._fetcher.error_future,
            self._consumer._coordinator._coordination_task,
        ]
        return any(task.done() for task in vital)

    async def _rejoin(self) -> None:
        logger.error("consumer broken, joining anew", extra={"group": self._group})
        self._joined = False
        await self._give_up()
        await stop_consumer(self._consumer, self._options.session_timeout)
        self._consumer = self._make()
        await self.join(self._topics)

    async def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        await self._give_up()

    async def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        """Told by aiokafka before anything was fetched. All stays paused until the listener has returned."""
        async with self._changing:
            self._consumer.pause(*assigned)
            self._paused.clear()
            self._assigned = {TopicPartition(self._names.logical(at.topic), at.partition) for at in assigned}
            if await self._told():
                self._consumer.resume(*map(self._names.partition, self._assigned - self._paused))

    async def _told(self) -> bool:
        """Tell the listener what was assigned. If that fails or is given up, nothing of it is delivered."""
        if self._listener is None or not self._assigned:
            return True
        self._taking = asyncio.create_task(_call(self._listener.on_assigned(sorted(self._assigned))))
        await asyncio.wait({self._taking})
        if self._taking.cancelled():
            return False
        if error := self._taking.exception():
            self._failure = error
            return False
        return True

    async def _give_up(self) -> None:
        """Tell the listener, once per assignment, for at most a session: then the group goes on without us."""
        async with self._changing:
            gone = sorted(self._assigned)
            if self._listener is not None and gone:
                try:
                    async with asyncio.timeout(self._options.session_timeout):
                        await self._listener.on_revoked(gone)
                except TimeoutError:
                    logger.warning("partitions lost before the work on them ended", extra={"group": self._group})
                except Exception as error:  # the others still get their partitions; `poll` raises it
                    logger.exception("on_revoked failed", extra={"group": self._group})
                    self._failure = error
            self._assigned.clear()
            self._paused.clear()


async def _call(told: Awaitable[None]) -> None:
    await told
