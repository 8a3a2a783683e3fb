"""The owner role: the only writer of tickets. One member of the group, with a `Shard` for each partition it is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence

from services.planner.core import Core, Decide, OwnerPolicy, PackSource, Quarantine
from services.planner.shard import Shard
from tandem import telemetry
from tandem.bus.base import Bus, Consumer, TopicPartition
from tandem.bus.lag import Membership
from tandem.clock import Clock
from tandem.contracts.topics import TICKET_INBOX
from tandem.errors import RetryableError
from tandem.redis import Redis

__all__ = ["GROUP", "Owner", "OwnerPolicy"]

GROUP = "planner.owner"
POLL_RECORDS = 1_000
POLL_S = 0.1
FLUSH_S = 2.0

logger = logging.getLogger(__name__)


class InboxCommits:
    """Offsets of all shards, committed together, every `every_s` seconds at most."""

    def __init__(self, clock: Clock, every_s: float, kill: Callable[[str], None]) -> None:
        self.consumer: Consumer | None = None
        self._clock = clock
        self._every_s = every_s
        self._kill = kill
        self._done: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()

    def note(self, partition: int, offset: int) -> None:
        self._done[partition] = offset
        self._news.set()

    def acknowledged(self, partition: int) -> int:
        return self._acknowledged.get(partition, 0)

    def forget(self, partition: int) -> None:
        self._done.pop(partition, None)
        self._acknowledged.pop(partition, None)

    async def run(self) -> None:
        while True:
            await self._news.wait()
            try:
                await self.flush()
            except RetryableError as error:
                logger.warning("offsets not committed yet", extra={"error": str(error)})
                self._news.set()
            await self._clock.sleep(self._every_s)

    async def flush(self) -> None:
        """Commit what is done. Raises BusUnavailable."""
        async with self._turn:
            self._news.clear()
            new = {p: offset for p, offset in self._done.items() if self._acknowledged.get(p) != offset}
            if new and self.consumer is not None:
                await self.consumer.commit({TopicPartition(TICKET_INBOX.name, p): offset for p, offset in new.items()})
                self._acknowledged.update(new)
                self._kill("owner.10")


class Owner:
    """Joins the group, hands records to shards, and commits what they have done.

    `decide` and `quarantine` are the functional core; `kill` is called at named points, one between each pair of the
    protocol's numbered steps ("owner.1" … "owner.12"), where crash tests stop.
    """

    def __init__(
        self,
        bus: Bus,
        redis: Redis,
        packs: PackSource,
        decide: Decide,
        quarantine: Quarantine,
        clock: Clock,
        settings: OwnerPolicy | None = None,
        kill: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.heartbeat = clock.boot()
        self._policy = settings or OwnerPolicy()
        self._core = Core(
            bus=bus,
            redis=redis,
            packs=packs,
            decide=decide,
            quarantine=quarantine,
            clock=clock,
            policy=self._policy,
            kill=kill,
            owner_id=str(uuid.uuid4()),
            group=GROUP,
        )
        self._commits = InboxCommits(clock, self._policy.commit_s, kill)
        self._consumer: Consumer | None = None
        self._shards: dict[int, Shard] = {}  # assigned
        self._kept: dict[int, Shard] = {}  # given away, perhaps to come back
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: dict[int, asyncio.Task[None]] = {}  # of shards that were given away, perhaps still at work
        self._paused: set[int] = set()
        self._stopping = False
        self._crash: BaseException | None = None
        self._loop: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    @property
    def ready(self) -> bool:
        """True once every shard that was given to this owner is served."""
        return bool(self._shards) and all(shard.ready for shard in self._shards.values())

    @property
    def member(self) -> Membership | None:
        """Its place in the group; None before it has joined."""
        return None if self._consumer is None else (GROUP, self._consumer)

    async def run(self) -> None:
        """Own shards until stopped. Raises what ended a shard or the commits, which is never an ordinary error."""
        committing = asyncio.create_task(self._commits.run(), name="inbox commits")
        committing.add_done_callback(self._note_crash)
        self._loop = asyncio.ensure_future(self._poll())
        try:
            await self._loop
        except asyncio.CancelledError:
            if self._crash is None:
                raise
        finally:
            committing.cancel()
            try:
                await self._leave()
            finally:
                self._ended.set()
        if self._crash is not None:
            raise self._crash

    async def _leave(self) -> None:
        if self._crash is not None:
            await self._abandon()
        if self._consumer is not None:
            with contextlib.suppress(RetryableError):
                await self._consumer.close()

    async def stop(self, grace_s: float) -> None:
        """Stop fetching, finish the batches in hand, publish, commit, leave the group."""
        self._stopping = True
        if self._loop is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), grace_s)

    async def _poll(self) -> None:
        self._consumer = self._commits.consumer = await self._core.bus.consumer(GROUP, [TICKET_INBOX.name], self)
        while not self._stopping:
            self.heartbeat = self._core.clock.boot()
            self._steer()
            for record in await self._consumer.poll(POLL_RECORDS, POLL_S):
                if shard := self._shards.get(record.partition):
                    shard.deliver(record)

    def _steer(self) -> None:
        """Pause the partitions whose shards cannot take more, resume the others."""
        if self._consumer is None:
            return
        wanted = {partition for partition, shard in self._shards.items() if shard.full or not shard.ready}
        stop, go = wanted - self._paused, (self._paused - wanted) & self._shards.keys()
        self._paused = wanted
        if stop:
            self._consumer.pause([TopicPartition(TICKET_INBOX.name, partition) for partition in stop])
        if go:
            self._consumer.resume([TopicPartition(TICKET_INBOX.name, partition) for partition in go])

    # Assignment

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Step 1 starts here; records come while the shard takes over, and wait in it.

        A group whose session is over does not wait for `on_revoked`: who is still at work on a shard is ended first.
        """
        await self._cancel([self._ending.pop(partition) for _, partition in partitions if partition in self._ending])
        for _, partition in partitions:
            shard = self._kept.pop(partition, None) or Shard(partition, self._core, self._commits, self._steer)
            self._shards[partition] = shard
            task = asyncio.create_task(shard.start(), name=f"shard {partition}")
            task.add_done_callback(self._note_crash)
            self._tasks[partition] = task
        self._steer()
        telemetry.gauge(telemetry.names.SHARDS, len(self._shards))

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Step 12: finish the batches in hand and commit, within the policy's time."""
        tasks = []
        for _, partition in partitions:
            shard = self._shards.pop(partition, None)
            if shard is None:
                continue
            shard.ask_to_stop()
            self._ending[partition] = self._tasks.pop(partition)
            tasks.append(self._ending[partition])
            self._kept[partition] = shard
            self._paused.discard(partition)
        try:
            if tasks and self._crash is None:
                await self._drain(tasks)
        finally:
            for _, partition in partitions:
                if partition not in self._shards:
                    self._commits.forget(partition)
            telemetry.gauge(telemetry.names.SHARDS, len(self._shards))
        self._core.kill("owner.12")

    async def _drain(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Nobody is at work on a shard when this ends, however it ends: the group may not wait as long as the policy, and
        a shard that is given back begins anew."""
        try:
            await asyncio.wait(tasks, timeout=self._policy.drain_s)
        finally:
            await self._cancel([task for task in tasks if not task.done()])
        try:
            await asyncio.wait_for(self._commits.flush(), FLUSH_S)
        except (RetryableError, TimeoutError) as error:
            logger.warning("revoked before offsets were committed", extra={"error": str(error)})

    def _note_crash(self, task: asyncio.Task[None]) -> None:
        """A shard ends by being stopped; anything else ends the owner."""
        if task.cancelled() or task.exception() is None or self._crash is not None:
            return
        self._crash = task.exception()
        if self._loop is not None:
            self._loop.cancel()

    async def _abandon(self) -> None:
        """As if the process had died: nothing is finished, nothing is committed."""
        tasks, self._tasks = list(self._tasks.values()), {}
        self._shards.clear()
        await self._cancel(tasks)

    async def _cancel(self, tasks: Sequence[asyncio.Task[None]] | set[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
