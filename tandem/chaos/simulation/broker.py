"""The broker's side of the simulation: the local bus in memory, and a record of all that ever happened on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tandem.bus.base import Record
from tandem.bus.local import Draft, LocalBus, Write
from tandem.bus.sqlite_log import unpack_headers
from tandem.clock import Clock

SESSION_S = 3.0


class Written(NamedTuple):
    """A record as it came into the log, whatever compaction makes of it later. `at` orders everything that happened."""

    at: int
    record: Record


class Committed(NamedTuple):
    """A group's offset was committed: everything below it is done, says the group."""

    at: int
    group: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Place:
    topic: str
    partition: int


class Broker(LocalBus):
    """Remembers every record and every commit in the order they became visible."""

    def __init__(self, clock: Clock, shards: int, work_partitions: int) -> None:
        super().__init__(None, shards=shards, work_partitions=work_partitions, clock=clock, session_s=SESSION_S)
        self.written: list[Written] = []
        self.commits: list[Committed] = []
        self._moment = 0
        self._places: dict[int, Place] = {}
        self._digest = hashlib.sha256()

    def moment(self) -> int:
        """A number above all that came before: for what happens beside the bus, in its order."""
        self._moment += 1
        return self._moment

    @property
    def digest(self) -> str:
        """Of all that ever happened: two runs are the same run iff it is."""
        return self._digest.hexdigest()

    def note(self, what: str) -> None:
        """Something that happened beside the bus is part of the run too."""
        self._digest.update(what.encode())

    def of(self, topic: str, partition: int | None = None) -> list[Written]:
        """What was ever written there."""
        return [
            one
            for one in self.written
            if one.record.topic == topic and (partition is None or one.record.partition == partition)
        ]

    def kept(self, topic: str, partition: int) -> list[Record]:
        """What compaction has left of it."""
        source = self._topic(topic)[partition]
        return self._store.read(source.id, source.at, 0, self._store.end(source.id), 1_000_000)

    def _commit_transaction(self, writes: Sequence[Write]) -> Draft:
        draft = super()._commit_transaction(writes)
        for number, offset, timestamp, key, headers, value in draft.rows:
            place = self._place(number)
            record = Record(place.topic, place.partition, offset, timestamp, key, value, unpack_headers(headers))
            self.written.append(Written(self.moment(), record))
            self._digest.update(repr(record).encode())
        for write in writes:
            for group, number, offset in write.commits:
                place, name = self._place(number), group.removeprefix(self._prefix)
                self.commits.append(Committed(self.moment(), name, place.topic, place.partition, offset))
                self._digest.update(repr(self.commits[-1][1:]).encode())
        return draft

    def _place(self, number: int) -> Place:
        if number not in self._places:
            self._places = {log.id: Place(log.at.topic, log.at.partition) for log in self._all_logs()}
        return self._places[number]
