"""The bus port: what the platform asks of a log, in words both adapters and the simulation are held to.

Guarantees (tests/contracts/bus runs the same suite over every adapter):

- *Acknowledged is kept.* When `publish` or `append` returns, every record is in the log; when it raises
  `BusUnavailable`, each record may or may not be, now or later.
- *Order per partition.* Offsets of a partition grow; records appended by one call stand in the order given. A partition
  is computed from the key by `partition_for`, unless it is given.
- *Append says where.* `append` returns each record's offset and append time. Two appends of this process to the same
  partition never interleave.
- *A group reads each partition through one member at a time*, as far as the group knows: a frozen member may still
  believe it owns a partition. Nothing that matters may rest on it (see `tandem.fenced_log`).
- *Commits are explicit*: offset = the next one to read. Nothing is ever committed on the user's behalf.
- *Assignment is awaited.* A partition's records are delivered only after `on_assigned` returned; `on_revoked` is awaited
  (bounded by the session) before the partition goes to another member. A rebalance revokes all that a member had and
  assigns all that it has then, by range: members of the same topics get the same partition numbers of each.
- *Compaction* keeps the newest record of each key; a record with `value=None` is a tombstone. Offsets never change.
- *Bytes in, bytes out.* Keys, values and headers are passed on as they came: null, not UTF-8 or oversized ones too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from tandem.contracts.message import Envelope, Header, Message, to_headers
from tandem.contracts.topics import Topic
from tandem.contracts.values import Millis, partition_for


class TopicPartition(NamedTuple):
    topic: str  # logical name
    partition: int


class Record(NamedTuple):
    """A record as it lies in the log."""

    topic: str  # logical name, without the deployment's prefix
    partition: int
    offset: int
    timestamp: Millis  # append time
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()

    @property
    def at(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    def header(self, name: str) -> bytes | None:
        """The last header of that name."""
        for key, value in reversed(self.headers):
            if key == name:
                return value
        return None


class NewRecord(NamedTuple):
    """A record to append. `value=None` is a tombstone."""

    key: str | bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class Outgoing(NamedTuple):
    """A record to publish. Without `partition`, `partition_for(key)` says where; without a key, any."""

    topic: str
    record: NewRecord
    partition: int | None = None


def placed(message: Outgoing, partitions: int) -> int | None:
    """The partition a record goes to; None: any will do. A key means the same as text and as its UTF-8 bytes."""
    if message.partition is not None:
        return message.partition
    key = message.record.key
    if key is None:
        return None
    return partition_for(key if isinstance(key, str) else _text(key), partitions)


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.decode("latin-1")


class Appended(NamedTuple):
    offset: int
    timestamp: Millis


class Listener(Protocol):
    """Told of assignments, and awaited. What it raises, the consumer's next `poll` raises."""

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None: ...

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None: ...


class Consumer(Protocol):
    """A member of a group. Used by one task."""

    @property
    def assignment(self) -> frozenset[TopicPartition]: ...

    async def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Records of unpaused partitions, in order within each. Empty after `timeout` seconds without any."""
        ...

    def pause(self, partitions: Sequence[TopicPartition]) -> None: ...

    def resume(self, partitions: Sequence[TopicPartition]) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver from `offset` next."""
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the next offset to read of each partition. Raises BusUnavailable; a lost partition is left out."""
        ...

    async def close(self) -> None:
        """Leave the group; `on_revoked` is awaited first."""
        ...


class Bus(Protocol):
    """A partitioned log with consumer groups."""

    @property
    def kind(self) -> str:
        """Which adapter this is: `kafka` or `local`."""
        ...

    async def start(self) -> None:
        """Connect, and check that every topic of the registry has the partitions it must. Raises InvalidSettings."""
        ...

    async def stop(self) -> None: ...

    async def create_topics(self, topics: Sequence[Topic]) -> list[str]:
        """Create what is missing with the registry's settings; returns the names created."""
        ...

    def partitions(self, topic: str) -> int: ...

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish all and wait until all are acknowledged. Raises BusUnavailable, and InvalidError for what no retry can
        send: to a topic that does not exist, or larger than the broker takes."""
        ...

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        """Append in order to one partition and say where each landed. Raises BusUnavailable."""
        ...

    def read(self, topic: str, partition: int, start: int, end: int | None = None) -> AsyncIterator[Sequence[Record]]:
        """Batches of records with `start` ≤ offset < `end` (by default the end at the time of the call)."""
        ...

    async def end(self, topic: str, partition: int) -> int:
        """The offset the next record will get."""
        ...

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The group's committed offset, None if there is none."""
        ...

    async def consumer(
        self, group: str, topics: Sequence[str], listener: Listener | None = None, instance: str | None = None
    ) -> Consumer:
        """Join a group. Without a committed offset a partition is read from its start. `instance`: static membership.

        `on_assigned` may still be to come when this returns; in it, the consumer may pause and seek what it was given.
        """
        ...


def outgoing(topic: str, key: str, message: Message, envelope: Envelope, partition: int | None = None) -> Outgoing:
    """A message as a record to publish."""
    record = NewRecord(key, message.to_json(), to_headers(envelope))
    return Outgoing(topic, record, partition)
