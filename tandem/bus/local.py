"""The bus of one machine, kept in a SQLite file: the embedded default, and what tests and the simulation run on.

The guarantees of `tandem.bus.base` hold as on Kafka. What is particular:

- Acknowledged means committed to SQLite: it survives `kill -9` of the process, not a power loss.
- Everything that was published, appended and committed in one turn of the event loop is one transaction, run in the
  loop itself: it costs less than a hop to a thread and back. Readers in the process are woken by it and fed from memory.
- Several processes may use it; what another appends is noticed within `WATCH_S`. All members of a group are in one
  process, which holds the group's lock file.
- The newest record of a partition is never removed, so offsets need no counter of their own.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from tandem.bus.base import Appended, Listener, NewRecord, Outgoing, Record, TopicPartition, placed
from tandem.bus.local_groups import Group, LocalConsumer, Ports
from tandem.bus.local_tail import Budget, Log
from tandem.bus.local_upkeep import Upkeep
from tandem.bus.sqlite_log import Busy, Changed, Row, SqliteLog, pack_headers
from tandem.clock import Clock, SystemClock
from tandem.contracts.topics import DAY_MS, TOPICS, Spread, Topic
from tandem.contracts.values import Millis
from tandem.errors import BusUnavailable, InvalidSettings

log = logging.getLogger(__name__)

WATCH_S = 0.05
READ_BATCH = 500
TAIL_BYTES = 32_000_000
GIVE_UP_S = 5.0
TRY_AGAIN_S = 0.002


class Written(NamedTuple):
    """When a write's records were appended, and at which offsets."""

    at: Millis
    offsets: list[int]


@dataclass(slots=True)
class Write:
    """What one caller waits for."""

    records: Sequence[tuple[Log, NewRecord]]
    commits: Sequence[tuple[str, int, int]]
    done: asyncio.Future[Written]


@dataclass(slots=True)
class Draft:
    """The transaction of one turn: where each record will stand."""

    now: Millis
    rows: list[Row] = field(default_factory=list)
    ends: dict[Log, int] = field(default_factory=dict)
    fresh: dict[Log, list[Record]] = field(default_factory=dict)  # only where someone reads
    offsets: list[list[int]] = field(default_factory=list)  # per write

    def add(self, write: Write) -> None:
        offsets: list[int] = []
        for log, new in write.records:
            offset = self.ends.get(log, log.end)
            self.ends[log] = offset + 1
            key = new.key.encode() if isinstance(new.key, str) else new.key
            self.rows.append((log.id, offset, self.now, key, pack_headers(new.headers), new.value))
            if log.watchers:
                record = Record(log.at.topic, log.at.partition, offset, self.now, key, new.value, tuple(new.headers))
                self.fresh.setdefault(log, []).append(record)
            offsets.append(offset)
        self.offsets.append(offsets)


class LocalBus:
    """See the module. `path` None keeps everything in memory."""

    def __init__(
        self,
        path: Path | None,
        *,
        shards: int = 8,
        work_partitions: int = 4,
        prefix: str = "tandem",
        clock: Clock | None = None,
        session_s: float = 10.0,
    ) -> None:
        self._path = path
        self._counts = {Spread.SHARD: shards, Spread.WORK: work_partitions, Spread.ONE: 1}
        self._prefix = f"{prefix}."
        self._clock = clock or SystemClock()
        self._budget = Budget(TAIL_BYTES)
        self._opened: SqliteLog | None = None
        self._logs: dict[str, list[Log]] = {}
        self._groups: dict[str, Group] = {}
        self._pending: list[Write] = []
        self._any = itertools.count()
        self._busy_since: float | None = None
        self._ports = Ports(self._fresh_logs, self._fetch, self._commit, self._committed, session_s)
        self._upkeep = Upkeep(path, lambda: self._store, self._registry, self._clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._locks: dict[str, int] = {}

    @property
    def kind(self) -> Literal["local"]:
        return "local"

    async def start(self) -> None:
        await self.create_topics(list(TOPICS.values()))
        for topic in TOPICS.values():
            if (found := self.partitions(topic.name)) != (wanted := self._counts[topic.spread]):
                raise InvalidSettings(
                    f"{self._path} has {found} partitions of {topic.name}, the settings say {wanted}: "
                    "set it back, or start with another home folder"
                )

    async def stop(self) -> None:
        for group in list(self._groups.values()):
            await group.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._flush()
        self._fail_pending("the bus was stopped")
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        self._logs.clear()
        self._groups.clear()
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()

    async def create_topics(self, topics: Sequence[Topic]) -> list[str]:
        """May be called before `start`, which does it for the registry."""
        self._open()
        missing = [topic for topic in topics if topic.name not in self._logs]
        for topic in missing:
            self._store.add_logs(self._prefix + topic.name, self._counts[topic.spread])
        if missing:
            self._load_logs()
        return [topic.name for topic in missing]

    def _open(self) -> None:
        if self._opened is not None:
            return
        try:
            self._opened = SqliteLog(self._path)
        except (sqlite3.Error, OSError) as error:
            raise InvalidSettings(f"cannot use {self._path} as the bus file: {error}") from error
        self._load_logs()

    @property
    def _store(self) -> SqliteLog:
        if self._opened is None:
            raise BusUnavailable("the bus is not started, or was stopped")
        return self._opened

    def _load_logs(self) -> None:
        """Logs of this deployment, in the order of their partitions."""
        for number, name, partition in self._store.logs():
            if not name.startswith(self._prefix):
                continue
            topic = name.removeprefix(self._prefix)
            logs = self._logs.setdefault(topic, [])
            if partition == len(logs):
                logs.append(Log(number, TopicPartition(topic, partition), self._budget, self._store.end(number)))

    def _topic(self, topic: str) -> list[Log]:
        if topic not in self._logs:
            self._load_logs()
        try:
            return self._logs[topic]
        except KeyError:
            raise InvalidSettings(f"there is no topic {topic!r}; create it first (tandem topics apply)") from None

    def partitions(self, topic: str) -> int:
        return len(self._topic(topic))

    # Writing

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        records: list[tuple[Log, NewRecord]] = []
        for message in messages:
            logs = self._topic(message.topic)
            partition = placed(message, len(logs))
            records.append((logs[next(self._any) % len(logs) if partition is None else partition], message.record))
        await self._write(records, ())

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        target = self._topic(topic)[partition]
        at, offsets = await self._write([(target, record) for record in records], ())
        return [Appended(offset, at) for offset in offsets]

    async def _commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        name = self._prefix + group
        await self._write((), [(name, self._logs[at.topic][at.partition].id, n) for at, n in offsets.items()])

    async def _write(
        self, records: Sequence[tuple[Log, NewRecord]], commits: Sequence[tuple[str, int, int]]
    ) -> Written:
        if not records and not commits:
            return Written(self._clock.now(), [])
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Written] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._flush)
        self._pending.append(Write(records, commits, done))
        return await done

    def _flush(self) -> None:
        """Commit what is pending as one transaction."""
        writes, self._pending = self._pending, []
        if not writes:
            return
        try:
            draft = self._commit_transaction(writes)
        except Busy:
            self._try_again(writes)
            return
        except sqlite3.Error as error:
            log.exception("the local bus could not write")
            self._fail(writes, f"{self._path}: {error}")
            return
        self._busy_since = None
        for target, end in draft.ends.items():
            target.remember(draft.fresh.get(target, ()))
            target.end = end
        for write, offsets in zip(writes, draft.offsets, strict=True):
            if not write.done.done():
                write.done.set_result(Written(draft.now, offsets))
        for target in draft.fresh:
            for watcher in target.watchers:
                watcher.wake()

    def _commit_transaction(self, writes: Sequence[Write]) -> Draft:
        """Offsets come from memory; when another process has written, from the file."""
        commits = [commit for write in writes for commit in write.commits]
        while True:
            draft = Draft(self._clock.now())
            for write in writes:
                draft.add(write)
            try:
                self._store.write(draft.rows, commits)
            except Changed:
                self._catch_up(self._all_logs())
                continue
            return draft

    def _try_again(self, writes: list[Write]) -> None:
        """Another process writes for long: keep the order, come back soon, give up in the end."""
        loop = asyncio.get_running_loop()
        self._busy_since = self._busy_since or loop.time()
        if loop.time() - self._busy_since > GIVE_UP_S:
            self._busy_since = None
            self._fail(writes, f"{self._path} has been locked by another process for {GIVE_UP_S:g} s")
            return
        self._pending = writes + self._pending
        loop.call_later(TRY_AGAIN_S, self._flush)

    def _fail_pending(self, why: str) -> None:
        writes, self._pending = self._pending, []
        self._fail(writes, why)

    @staticmethod
    def _fail(writes: Sequence[Write], why: str) -> None:
        for write in writes:
            if not write.done.done():
                write.done.set_exception(BusUnavailable(why))

    # Reading

    def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Sequence[Record]]:
        source = self._topic(topic)[partition]
        return self._batches(source, start, self._store.end(source.id) if end is None else end)

    async def _batches(self, source: Log, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        while records := self._store.read(source.id, source.at, start, end, READ_BATCH):
            yield records
            start = records[-1].offset + 1
            await asyncio.sleep(0)

    async def end(self, topic: str, partition: int) -> int:
        return self._store.end(self._topic(topic)[partition].id)

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        return self._store.committed(self._prefix + group, self._topic(topic)[partition].id)

    # Groups

    async def consumer(
        self, group: str, topics: Sequence[str], listener: Listener | None = None, instance: str | None = None
    ) -> LocalConsumer:
        """`instance` changes nothing here: members never outlive the process."""
        for topic in topics:
            self._topic(topic)
        self._lock(group)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._upkeep.run())]
        joined = self._groups.setdefault(group, Group(group, self._ports))
        member = LocalConsumer(joined, topics, listener)
        joined.join(member)
        return member

    def _lock(self, group: str) -> None:
        if self._path is None or group in self._locks:
            return
        folder = Path(f"{self._path}.groups")
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / quote(self._prefix + group, safe=""), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise InvalidSettings(
                f"another process reads {self._path} as {group} already: stop it, or set another home; "
                "only over Kafka (TANDEM_BUS=kafka) processes share the work"
            ) from None
        self._locks[group] = handle

    def _fresh_logs(self, topic: str) -> Sequence[Log]:
        logs = self._topic(topic)
        self._catch_up(logs)
        return logs

    def _fetch(self, source: Log, position: int, limit: int) -> list[Record]:
        if records := source.remembered(position, limit):
            return records
        records = self._store.read(source.id, source.at, position, source.tail_start, limit)
        return records or source.remembered(source.tail_start, limit)

    def _committed(self, group: str, source: Log) -> int:
        return self._store.committed(self._prefix + group, source.id) or 0

    def _catch_up(self, logs: Sequence[Log]) -> None:
        """Look where the logs end, and wake their readers if others appended."""
        for source in logs:
            if source.moved_to(self._store.end(source.id)):
                for watcher in source.watchers:
                    watcher.wake()

    async def _watch(self) -> None:
        """Notice what other processes append."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._store.changed():
                self._catch_up(self._all_logs())

    def _all_logs(self) -> list[Log]:
        return [source for logs in self._logs.values() for source in logs]

    async def compact(self, topic: str, keep_tombstones_ms: int = DAY_MS) -> int:
        """Keep the newest record of each key, whatever the topic's retention. Returns how many records went."""
        return await self._upkeep.compact([source.id for source in self._topic(topic)], keep_tombstones_ms)

    async def clean(self) -> int:
        """Apply every topic's retention or compaction, as is done now and then anyway. Returns how many records went."""
        return await self._upkeep.clean()

    def _registry(self) -> Iterator[tuple[int | None, list[int]]]:
        for topic in TOPICS.values():
            yield topic.retention_ms, [source.id for source in self._topic(topic.name)]
