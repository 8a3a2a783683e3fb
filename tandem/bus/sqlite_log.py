"""Partitioned records and group offsets in one SQLite file: what lies beneath the local bus.

Synchronous and quick (a transaction of ten records takes about 0.1 ms), so it is called straight from the event loop.
Records stand in the order of their arrival, with an index over (log, offset): a transaction then touches few pages.
WAL with synchronous=NORMAL: what is committed survives the death of the process, not of the machine.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

from tandem.bus.base import Record, TopicPartition
from tandem.contracts.message import Header

SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, UNIQUE (topic, partition)
);
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, log INTEGER NOT NULL, offset INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    key BLOB, headers BLOB NOT NULL, value BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS record_of_log ON records (log, offset);
CREATE TABLE IF NOT EXISTS offsets (
    consumers TEXT NOT NULL, log INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (consumers, log)
) WITHOUT ROWID;
"""
INSERT = "INSERT INTO records (log, offset, timestamp, key, headers, value) VALUES (?, ?, ?, ?, ?, ?)"
COMMIT_OFFSET = (
    "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT (consumers, log) DO UPDATE SET offset = excluded.offset"
)
SELECT = (
    "SELECT offset, timestamp, key, headers, value FROM records"
    " WHERE log = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?"
)
SUPERSEDED = """
SELECT id FROM (
    SELECT id, offset, timestamp, value IS NULL AS tombstone, max(offset) OVER (PARTITION BY key) AS newest
    FROM records WHERE log = :log AND offset < :end AND key IS NOT NULL
) WHERE offset < newest OR (tombstone AND timestamp < :tombstones_before AND offset < :end - 1)
"""
RETIRED = "SELECT id FROM records WHERE log = ? AND offset < ?"

YOUNG = "SELECT offset FROM records WHERE log = ? AND timestamp >= ? ORDER BY offset LIMIT 1"

BUSY_MS = 100
CHUNK = 500
PAGE_BYTES = 16_384  # a ticket's record fits one page: a third of the writes that SQLite's default takes
CHECKPOINT_PAGES = 2_500  # a bound on the WAL's growth when nobody does the upkeep

Row: TypeAlias = tuple[int, int, int, bytes | None, bytes, bytes | None]
"""log, offset, timestamp, key, packed headers, value"""


class Changed(Exception):
    """Another process has written since we last looked, so offsets may be taken; nothing was written now."""


class Busy(Exception):
    """Another process is writing; nothing was written."""


def pack_headers(headers: Sequence[Header]) -> bytes:
    """Names and values as they are, null values told from empty ones: count, sizes of names, of values, names, values."""
    if not headers:
        return b""
    names, values = zip(*headers, strict=True)
    sizes, raw, pack = _pack_names(names)
    try:
        return b"".join((sizes, pack(*map(len, values)), raw, *values))
    except TypeError:  # a null value has no length
        lengths = [-1 if value is None else len(value) for value in values]
        return b"".join((sizes, pack(*lengths), raw, *filter(None, values)))


def unpack_headers(packed: bytes) -> tuple[Header, ...]:
    if not packed:
        return ()
    (count,) = struct.unpack_from("<i", packed)
    names_at = 4 + 8 * count
    sizes = struct.unpack_from(f"<{2 * count}i", packed, 4)
    at = names_at + sum(sizes[:count])
    names = _unpack_names(sizes[:count], packed[names_at:at])
    values: list[bytes | None] = []
    for size in sizes[count:]:
        if size < 0:
            values.append(None)
            continue
        values.append(packed[at : at + size])
        at += size
    return tuple(zip(names, values, strict=True))


@lru_cache(maxsize=64)
def _pack_names(names: tuple[str, ...]) -> tuple[bytes, bytes, Callable[..., bytes]]:
    """Most records have the same names in the same order: sizes, names, and what packs the values' sizes."""
    raw = [name.encode("utf-8", "surrogateescape") for name in names]
    sizes = struct.pack(f"<{1 + len(raw)}i", len(raw), *map(len, raw))
    return sizes, b"".join(raw), struct.Struct(f"<{len(raw)}i").pack


@lru_cache(maxsize=64)
def _unpack_names(sizes: tuple[int, ...], raw: bytes) -> tuple[str, ...]:
    ends = tuple(accumulate(sizes))
    return tuple(
        raw[end - size : end].decode("utf-8", "surrogateescape") for size, end in zip(sizes, ends, strict=True)
    )


class SqliteLog:
    """One connection. `path` None keeps everything in memory, for one connection alone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._db = self._connect(path)
        self._version = -1

    @staticmethod
    def _connect(path: Path | None) -> sqlite3.Connection:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=5.0)
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -16000")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        db.executescript(SCHEMA)
        db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        return db

    def close(self) -> None:
        self._db.close()

    def add_logs(self, topic: str, partitions: int) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO logs (topic, partition) VALUES (?, ?)", [(topic, n) for n in range(partitions)]
        )

    def logs(self) -> list[tuple[int, str, int]]:
        """(id, topic, partition) of every log."""
        return self._db.execute("SELECT id, topic, partition FROM logs ORDER BY topic, partition").fetchall()

    def write(self, rows: Iterable[Row], commits: Iterable[tuple[str, int, int]]) -> None:
        """Append the rows and commit the group offsets (group, log, offset), all or nothing.

        Raises Busy and Changed.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Busy from error
            raise
        if self.changed():
            self._db.execute("ROLLBACK")
            raise Changed
        try:
            self._db.executemany(INSERT, rows)
            self._db.executemany(COMMIT_OFFSET, commits)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def end(self, log: int) -> int:
        """The next offset of a log: the newest record is never removed, so it is the one after."""
        (newest,) = self._db.execute("SELECT max(offset) FROM records WHERE log = ?", (log,)).fetchone()
        return 0 if newest is None else int(newest) + 1

    def read(self, log: int, at: TopicPartition, start: int, end: int, limit: int) -> list[Record]:
        return [
            Record(at.topic, at.partition, offset, timestamp, key, value, unpack_headers(headers))
            for offset, timestamp, key, headers, value in self._db.execute(SELECT, (log, start, end, limit))
        ]

    def committed(self, group: str, log: int) -> int | None:
        found = self._db.execute("SELECT offset FROM offsets WHERE consumers = ? AND log = ?", (group, log)).fetchone()
        return None if found is None else int(found[0])

    def changed(self) -> bool:
        """Has another connection written since this was last asked?"""
        before = self._version
        (self._version,) = self._db.execute("PRAGMA data_version").fetchone()
        return before != self._version

    def compact(self, log: int, tombstones_before: int) -> int:
        """Keep the newest record of each key and drop old tombstones. Returns how many went."""
        found = self._db.execute(
            SUPERSEDED, {"log": log, "end": self.end(log), "tombstones_before": tombstones_before}
        ).fetchall()
        return self._delete(found)

    def retire(self, log: int, before: int) -> int:
        """Drop what was appended before that time, except the newest record. Returns how many went."""
        young = self._db.execute(YOUNG, (log, before)).fetchone()
        return self._delete(self._db.execute(RETIRED, (log, young[0] if young else self.end(log) - 1)).fetchall())

    def _delete(self, ids: list[tuple[int]]) -> int:
        for first in range(0, len(ids), CHUNK):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM records WHERE id = ?", ids[first : first + CHUNK])
            self._db.execute("COMMIT")
        return len(ids)

    def checkpoint(self) -> int:
        """Carry the WAL over into the file as far as nobody is in the way. Returns the pages carried."""
        (_, _, carried) = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(carried)
