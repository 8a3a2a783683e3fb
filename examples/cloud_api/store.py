"""The cloud's records, in one SQLite file. One connection, one writer: the API runs in one process."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from examples.cloud_api.seed import ACCOUNTS, FILINGS, INSTANCES, ORDERS, crowd

Row: TypeAlias = dict[str, Any]
Work: TypeAlias = Callable[[int], Row]
"""Does a side effect, given the effect's number, and says what to answer."""

TABLES = {"accounts": "email", "instances": "instance_id", "orders": "order_id", "filings": "filing_number"}
STEPS = (
    "Looking up the instance",
    "Checking its power state",
    "Testing the network path",
    "Comparing services with security-group rules",
    "Writing the report",
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, position INTEGER, body TEXT, PRIMARY KEY (kind, id));
CREATE INDEX IF NOT EXISTS of_whom ON records (kind, json_extract(body, '$.email'), position);
CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, key TEXT UNIQUE, started REAL, request TEXT);
CREATE TABLE IF NOT EXISTS effects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, operation TEXT, key TEXT UNIQUE, request TEXT, response TEXT,
    asked INTEGER DEFAULT 1);
"""


class Refusal(Exception):
    """The API says no: a status, a stable code, and a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Store:
    """Accounts, instances, orders, filings, diagnoses, and the record of every side effect."""

    def __init__(
        self,
        path: Path | str,
        *,
        diagnosis_ms: int = 2_000,
        customers: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`customers`: so many more than the seed names."""
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        self._now = now
        self._diagnosis_s = diagnosis_ms / 1000
        self._customers = customers
        if not self._one("SELECT 1 AS there FROM records LIMIT 1"):
            self.reset()

    def close(self) -> None:
        self._db.close()

    def reset(self) -> None:
        """Back to the seed data; nothing has happened yet."""
        with self._transaction():
            for table in ("records", "jobs", "effects"):
                self._db.execute(f"DELETE FROM {table}")
            for kind, rows in (
                ("accounts", ACCOUNTS),
                ("instances", INSTANCES),
                ("orders", ORDERS),
                ("filings", FILINGS),
            ):
                for position, row in enumerate(rows):
                    self._put(kind, row, position)
            for kind, rows in crowd(self._customers).items():
                for position, row in enumerate(rows):
                    self._put(kind, row, 1_000 + position)

    # Records ----------------------------------------------------------------------------------------------------

    def find(self, kind: str, ident: str) -> Row | None:
        """A record by its id, whatever its case."""
        found = self._one("SELECT body FROM records WHERE kind = ? AND id = ?", kind, ident.lower())
        return json.loads(found["body"]) if found else None

    def get(self, kind: str, ident: str) -> Row:
        """A record that must exist."""
        found = self.find(kind, ident)
        if found is None:
            raise Refusal(404, "not_found", f"There is no {kind.removesuffix('s')} {ident}.")
        return found

    def all(self, kind: str) -> list[Row]:
        rows = self._db.execute("SELECT body FROM records WHERE kind = ? ORDER BY position", (kind,))
        return [json.loads(body) for (body,) in rows]

    def of(self, kind: str, email: str) -> list[Row]:
        """Whatever of a kind belongs to an account."""
        rows = self._db.execute(
            "SELECT body FROM records WHERE kind = ? AND json_extract(body, '$.email') = ? ORDER BY position",
            (kind, email),
        )
        return [json.loads(body) for (body,) in rows]

    def change(self, kind: str, ident: str, **fields: Any) -> None:
        """Change fields of a record."""
        body = json.dumps(self.get(kind, ident) | fields)
        self._db.execute("UPDATE records SET body = ? WHERE kind = ? AND id = ?", (body, kind, ident.lower()))

    # Effects ----------------------------------------------------------------------------------------------------

    def effect(self, operation: str, key: str | None, request: Row, work: Work) -> Row:
        """Do the work once per key and record it, in one transaction.

        The same key with the same request gets the same answer and nothing happens; with another request it is refused.
        Without a key every call is an effect.
        """
        with self._transaction():
            before = self._one("SELECT * FROM effects WHERE key = ?", key) if key else None
            if before:
                return self._again(before, operation, request)
            cursor = self._db.execute(
                "INSERT INTO effects (at, operation, key, request, response) VALUES (?, ?, ?, ?, '{}')",
                (self._now(), operation, key, _canonical(request)),
            )
            number = cursor.lastrowid or 0
            response = work(number)
            self._db.execute("UPDATE effects SET response = ? WHERE id = ?", (json.dumps(response), number))
            return response

    def effects(self, operation: str | None = None) -> list[Row]:
        """Every side effect, in order."""
        rows = self._db.execute(
            "SELECT * FROM effects WHERE ? IS NULL OR operation = ? ORDER BY id", (operation, operation)
        )
        names = [column[0] for column in rows.description]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [row | {"request": json.loads(row["request"]), "response": json.loads(row["response"])} for row in found]

    def effect_of(self, operation: str, key: str) -> Row | None:
        """The answer to the effect done with this key."""
        found = self._one("SELECT response FROM effects WHERE operation = ? AND key = ?", operation, key)
        return json.loads(found["response"]) if found else None

    def _again(self, before: Row, operation: str, request: Row) -> Row:
        if before["operation"] != operation or before["request"] != _canonical(request):
            raise Refusal(409, "key_reused", "This Idempotency-Key was used for another request.")
        self._db.execute("UPDATE effects SET asked = asked + 1 WHERE id = ?", (before["id"],))
        answer: Row = json.loads(before["response"])
        return answer

    # Diagnoses --------------------------------------------------------------------------------------------------

    def start_job(self, key: str | None, request: Row) -> str:
        """A diagnosis; the same key starts it once."""
        with self._transaction():
            before = self._one("SELECT id FROM jobs WHERE key = ?", key) if key else None
            if before:
                return str(before["id"])
            (count,) = self._db.execute("SELECT count(*) FROM jobs").fetchone()
            job = f"diag-{count + 1:06d}"
            self._db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?)", (job, key, self._now(), _canonical(request)))
            return job

    def job(self, ident: str) -> tuple[Row, float, str]:
        """A diagnosis: its request, how far it is (0 to 1), and what it is doing."""
        found = self._one("SELECT * FROM jobs WHERE id = ?", ident)
        if found is None:
            raise Refusal(404, "not_found", f"There is no diagnosis {ident}.")
        elapsed = self._now() - found["started"]
        part = min(1.0, elapsed / self._diagnosis_s) if self._diagnosis_s else 1.0
        line = STEPS[min(int(part * len(STEPS)), len(STEPS) - 1)]
        return json.loads(found["request"]), part, line

    # SQLite -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _one(self, sql: str, *values: Any) -> Row | None:
        cursor = self._db.execute(sql, values)
        row = cursor.fetchone()
        return dict(zip((column[0] for column in cursor.description), row, strict=True)) if row else None

    def _put(self, kind: str, row: Row, position: int) -> None:
        ident = str(row[TABLES[kind]]).lower()
        self._db.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (kind, ident, position, json.dumps(row)))


def _canonical(value: Row) -> str:
    return json.dumps(value, sort_keys=True)
