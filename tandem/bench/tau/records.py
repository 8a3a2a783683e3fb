"""A business's records: tables that are read once and shared, and what one session changed, laid over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
Tables: TypeAlias = Mapping[str, Mapping[str, Row]]


class Refusal(Exception):
    """The business's system says no: a stable code, and a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Database:
    """The tables, as one session sees them. What is read must not be changed; `change` and `add` do that."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._changed: dict[tuple[str, str], Row] = {}

    def get(self, table: str, key: str) -> Row:
        """Raises Refusal for what is not there."""
        row = self.find(table, key)
        if row is None:
            raise Refusal("not-found", f"{table.removesuffix('s').capitalize()} {key} not found")
        return row

    def find(self, table: str, key: str) -> Row | None:
        return self._changed.get((table, key)) or self._tables.get(table, {}).get(key)

    def all(self, table: str) -> Iterator[tuple[str, Row]]:
        """Every record with its key: those of the beginning in their order, then the new ones."""
        known = self._tables.get(table, {})
        for key, row in known.items():
            yield key, self._changed.get((table, key), row)
        yield from ((key, row) for (name, key), row in self._changed.items() if name == table and key not in known)

    def change(self, table: str, key: str) -> Row:
        """The record, as a copy of this session's own that may be changed. Raises Refusal for what is not there."""
        row = self._changed[table, key] = deepcopy(self.get(table, key))
        return row

    def add(self, table: str, key: str, row: Row) -> None:
        self._changed[table, key] = row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is changed inside, or, when it raises, none."""
        before = dict(self._changed)
        try:
            yield
        except BaseException:
            self._changed = before
            raise

    @property
    def changes(self) -> dict[tuple[str, str], Row]:
        """Every record that is not as it was: two sessions with the same changes have the same database."""
        unlike = self._changed.items()
        return {(table, key): row for (table, key), row in unlike if self._tables.get(table, {}).get(key) != row}
