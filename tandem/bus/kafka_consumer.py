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
"""A partition that is sought waits for the fetch under way, so this bounds that wait."""

NOWHERE = KafkaPartition("", -1)
"""Asked for alone, it has the consumer wait, and count as polled, without reading."""


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """See `tandem.bus.base.Consumer`. A static member keeps its place in the group when it closes."""

    def __init__(self, link: Link, names: Names, group: str, listener: Listener | None, instance: str | None) -> None:
        self._names = names
        self._group = group
        self._listener = listener
        self._options = link.options
        self._assigned: set[TopicPartition] = set()
        self._told: set[TopicPartition] = set()  # assigned, and the listener is ready for their records
        self._paused: set[TopicPartition] = set()
        self._waiting: asyncio.Timeout | None = None
        self._changing = asyncio.Lock()
        self._taking: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None  # the listener's: `poll` raises it
        self._joined = False
        self.closed = False
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
        if self._broken():
            await self._rejoin()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            found = await self._fetch(max_records, deadline)
            if self._failure is not None:
                raise self._failure
            if found or loop.time() >= deadline:
                return found

    async def _fetch(self, max_records: int, deadline: float) -> list[Record]:
        """Records of what may be read now. Empty at the deadline, or when that has changed."""
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(deadline) as self._waiting:
                with unavailable(f"poll {self._group}"):
                    found = await self._consumer.getmany(
                        *self._wanted(), timeout_ms=round(left * 1000), max_records=max_records
                    )
        except TimeoutError:  # also in a rebalance: aiokafka waits for its end however long it takes
            return []
        finally:
            self._waiting = None
        return [to_record(self._names, each) for records in found.values() for each in records]

    def _wanted(self) -> list[KafkaPartition]:
        """What `getmany` is to be asked for. Empty means all, and is quicker than naming them."""
        if self._told and not self._paused:
            return []
        return [self._names.partition(at) for at in self._told - self._paused] or [NOWHERE]

    def _interrupt(self) -> None:
        """Make a waiting poll look again at what it may read. aiokafka hands out nothing that it could lose then."""
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Only not asked for: aiokafka's own pause throws away what it has fetched, and fetches it again later."""
        self._paused |= self._assigned.intersection(partitions)
        self._interrupt()

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(partitions)
        self._interrupt()

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
        if self.closed:
            return
        self.closed = True
        if self._taking is not None:
            self._taking.cancel()
        try:
            await self._give_up()
        finally:
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
        """Nothing is delivered until the listener has returned."""
        async with self._changing:
            self._paused.clear()
            self._assigned = {TopicPartition(self._names.logical(at.topic), at.partition) for at in assigned}
            if await self._tell():
                self._told = set(self._assigned)
            self._interrupt()

    async def _tell(self) -> bool:
        """Tell the listener what was assigned. False if it failed or gave up."""
        if self._listener is None or not self._assigned:
            return True
        self._taking = asyncio.create_task(_call(self._listener.on_assigned(sorted(self._assigned))))
        await asyncio.wait({self._taking})
        if self._taking.cancelled():
            return False
        self._failure = self._taking.exception()
        return self._failure is None

    async def _give_up(self) -> None:
        """Tell the listener, once per assignment, for at most a session: then the group goes on without us."""
        async with self._changing:
            gone = sorted(self._assigned)
            self._told.clear()
            self._interrupt()
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
