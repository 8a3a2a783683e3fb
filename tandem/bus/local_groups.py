"""Consumer groups of the local bus: members of one process share partitions by range."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tandem.bus.base import Listener, Record, TopicPartition
from tandem.bus.local_tail import Log

log = logging.getLogger(__name__)

Fetch = Callable[[Log, int, int], list[Record]]
"""(log, from offset, at most) → records already committed."""

Commit = Callable[[str, Mapping[TopicPartition, int]], Awaitable[None]]


@dataclass(slots=True)
class Cursor:
    """Where a member stands in a partition that it was given."""

    log: Log
    position: int
    paused: bool = False
    held: bool = True  # until on_assigned returned


@dataclass(frozen=True, slots=True)
class Ports:
    """What groups need of the bus."""

    logs: Callable[[str], Sequence[Log]]
    fetch: Fetch
    commit: Commit
    committed: Callable[[str, Log], int]  # 0 where nothing was committed
    session_s: float


class LocalConsumer:
    """A member of a group (see `tandem.bus.base.Consumer`)."""

    def __init__(self, group: Group, topics: Sequence[str], listener: Listener | None) -> None:
        self.topics = frozenset(topics)
        self._group = group
        self._listener = listener
        self._cursors: dict[TopicPartition, Cursor] = {}
        self._owned: frozenset[TopicPartition] = frozenset()
        self._turn = 0
        self._wake: asyncio.Future[None] | None = None
        self._taking: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        return self._owned

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            await asyncio.sleep(0)  # others run too when there is always more to read
            if self._failure is not None:
                raise self._failure
            if records := self._fetch(max_records):
                return records
            left = deadline - loop.time()
            if left <= 0:
                return []
            await self._sleep(loop, left)

    async def _sleep(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None

    def wake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _fetch(self, max_records: int) -> list[Record]:
        """The partitions take turns in being first, so that a busy one starves none."""
        ready = [c for c in self._cursors.values() if c.position < c.log.end and not (c.paused or c.held)]
        if not ready:
            return []
        self._turn = (self._turn + 1) % len(ready)
        found: list[Record] = []
        for cursor in ready[self._turn :] + ready[: self._turn]:
            room = max_records - len(found)
            if room <= 0:
                break
            found += self._take(cursor, room)
        return found

    def _take(self, cursor: Cursor, room: int) -> list[Record]:
        records = self._group.ports.fetch(cursor.log, cursor.position, room)
        cursor.position = records[-1].offset + 1 if records else cursor.log.end
        cursor.log.forget_below(min(cursor.position, *self._group.positions(cursor.log)))
        return records

    def position_in(self, partition: TopicPartition) -> int | None:
        cursor = self._cursors.get(partition)
        return None if cursor is None else cursor.position

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._mark(partitions, paused=True)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._mark(partitions, paused=False)
        self.wake()

    def _mark(self, partitions: Sequence[TopicPartition], paused: bool) -> None:
        for partition in partitions:
            if cursor := self._cursors.get(partition):
                cursor.paused = paused

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if cursor := self._cursors.get(partition):
            cursor.position = offset
            self.wake()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if mine := {at: offset for at, offset in offsets.items() if at in self._owned}:
            await self._group.ports.commit(self._group.name, mine)

    async def close(self) -> None:
        await self._group.leave(self)

    async def revoke(self) -> None:
        """Stop fetching at once, then let the listener finish, as long as the session lasts."""
        owned, seconds = sorted(self._owned), self._group.ports.session_s
        for cursor in self._cursors.values():
            cursor.log.watchers.pop(self, None)
            cursor.log.forget_below(cursor.log.end)
        self._cursors = {}
        if owned and self._listener:
            try:
                await asyncio.wait_for(self._listener.on_revoked(owned), seconds)
            except TimeoutError:
                log.warning("revocation took too long", extra={"group": self._group.name, "seconds": seconds})
            except Exception as error:  # the others still get their partitions; `poll` raises it
                log.exception("on_revoked failed", extra={"group": self._group.name})
                self._failure = error
        self._owned = frozenset()

    async def assign(self, logs: Sequence[Log]) -> None:
        """Take the partitions; records flow once the listener returned."""
        ports, name = self._group.ports, self._group.name
        cursors = {log.at: Cursor(log, ports.committed(name, log)) for log in logs}
        self._cursors, self._owned = cursors, frozenset(cursors)
        if cursors and self._listener:
            self._taking = asyncio.ensure_future(self._listener.on_assigned(sorted(cursors)))
            await asyncio.wait({self._taking})
            if self._taking.cancelled():
                return
            if error := self._taking.exception():
                self._failure = error
                self.wake()
                return
        for cursor in cursors.values():
            cursor.held = False
            cursor.log.watchers[self] = None
        self.wake()

    def abandon(self) -> None:
        """Give up taking partitions: the member is about to leave."""
        if self._taking is not None:
            self._taking.cancel()


@dataclass
class Group:
    """Members in the order they joined. A change of members revokes everything, then assigns anew."""

    name: str
    ports: Ports
    members: list[LocalConsumer] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: bool = False
    _rebalance: asyncio.Task[None] | None = None

    def join(self, member: LocalConsumer) -> None:
        self.members.append(member)
        self._start_rebalance()

    async def leave(self, member: LocalConsumer) -> None:
        if member not in self.members:
            return
        self.members.remove(member)
        member.abandon()
        async with self._turn:
            await member.revoke()
        if self.members:
            self._start_rebalance()

    def positions(self, log: Log) -> list[int]:
        """Where each reader of the log stands, whatever its group."""
        found = (watcher.position_in(log.at) for watcher in log.watchers)
        return [position for position in found if position is not None]

    def _start_rebalance(self) -> None:
        self._changed = True
        if self._rebalance is None or self._rebalance.done():
            self._rebalance = asyncio.create_task(self._rebalancing(), name=f"rebalance {self.name}")

    async def _rebalancing(self) -> None:
        while self._changed:
            self._changed = False
            async with self._turn:
                await asyncio.gather(*(member.revoke() for member in self.members))
                await asyncio.gather(*(member.assign(share) for member, share in self._shares().items()))

    def _shares(self) -> dict[LocalConsumer, list[Log]]:
        """Range assignment: each topic's partitions in as many runs as it has readers."""
        shares: dict[LocalConsumer, list[Log]] = {member: [] for member in self.members}
        topics = {topic for member in self.members for topic in member.topics}
        for topic in sorted(topics):
            readers = [member for member in self.members if topic in member.topics]
            logs = self.ports.logs(topic)
            size, more = divmod(len(logs), len(readers))
            runs = iter(logs)
            for n, member in enumerate(readers):
                shares[member] += islice(runs, size + (n < more))
        return shares

    async def stop(self) -> None:
        members = list(self.members)
        for member in members:
            member.abandon()
        await asyncio.gather(*(self.leave(member) for member in members))
        if self._rebalance is not None:
            await self._rebalance
