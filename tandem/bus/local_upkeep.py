"""Upkeep of the local bus: the WAL is carried over often, retention and compaction are applied now and then."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from tandem.bus.sqlite_log import SqliteLog
from tandem.clock import Clock
from tandem.contracts.topics import DAY_MS

log = logging.getLogger(__name__)

CLEAN_S = 300.0
CHECKPOINT_S = 0.25
CHECKPOINT_BYTES = 4_000_000


class Upkeep:
    """Runs in a thread, on a connection of its own. `registry`: retention (None: compacted) and logs of each topic."""

    def __init__(
        self,
        path: Path | None,
        store: Callable[[], SqliteLog],
        registry: Callable[[], Iterable[tuple[int | None, list[int]]]],
        clock: Clock,
    ) -> None:
        self._path = path
        self._store = store
        self._registry = registry
        self._clock = clock

    async def run(self) -> None:
        due = self._clock.boot() + CLEAN_S
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            try:
                if self._wal_bytes() > CHECKPOINT_BYTES:
                    await self._aside(SqliteLog.checkpoint)
                if self._clock.boot() > due:
                    due = self._clock.boot() + CLEAN_S
                    await self.clean()
            except sqlite3.Error:
                log.warning("upkeep of the local bus failed; it is tried again", exc_info=True)

    async def clean(self) -> int:
        gone = 0
        for retention_ms, logs in self._registry():
            if retention_ms is None:
                gone += await self.compact(logs, DAY_MS)
            else:
                gone += await self._aside(partial(_retire, logs=logs, before=self._clock.now() - retention_ms))
        return gone

    async def compact(self, logs: Sequence[int], keep_tombstones_ms: int) -> int:
        before = self._clock.now() - keep_tombstones_ms
        return await self._aside(partial(_compact, logs=logs, tombstones_before=before))

    async def _aside(self, work: Callable[[SqliteLog], int]) -> int:
        """In memory there is but one connection."""
        if self._path is None:
            return work(self._store())
        return await asyncio.to_thread(_with_connection, self._path, work)

    def _wal_bytes(self) -> int:
        try:
            return Path(f"{self._path}-wal").stat().st_size if self._path else 0
        except FileNotFoundError:
            return 0


def _with_connection(path: Path, work: Callable[[SqliteLog], int]) -> int:
    store = SqliteLog(path)
    try:
        return work(store)
    finally:
        store.close()


def _compact(store: SqliteLog, logs: Sequence[int], tombstones_before: int) -> int:
    return sum(store.compact(number, tombstones_before) for number in logs)


def _retire(store: SqliteLog, logs: Sequence[int], before: int) -> int:
    return sum(store.retire(number, before) for number in logs)
