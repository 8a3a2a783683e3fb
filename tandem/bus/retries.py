"""What becomes of a record whose handling failed: policies that decide, and the records they ask for.

A record's own headers are never lost: a retry or a dead letter carries them all, and ours beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tandem.bus.base import NewRecord, Outgoing, Record
from tandem.contracts.message import Header
from tandem.contracts.topics import Topic
from tandem.contracts.values import Millis
from tandem.errors import InvalidError, InvalidMessage, Refused, RetryableError

ATTEMPT = "tandem-attempt"
NOT_BEFORE = "tandem-not-before"
ORIGIN = "tandem-origin"
OURS = (ATTEMPT, NOT_BEFORE, ORIGIN)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Grows by `factor` from `first_s` up to `cap_s`."""

    first_s: float = 1.0
    factor: float = 4.0
    cap_s: float = 300.0

    def after(self, attempt: int) -> float:
        """Seconds to wait after that attempt, the first being 1."""
        return float(min(self.cap_s, self.first_s * self.factor ** min(attempt - 1, 64)))


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """`retry`: by the retry topic. `hold`: there is none; it keeps its place and is tried again. `dead`: never again."""

    kind: Literal["retry", "hold", "dead"]
    wait_s: float = 0.0
    reason: str = ""
    detail: str = ""


def decide_retry(error: Exception, attempt: int, topic: Topic, backoff: Backoff) -> RetryDecision:
    """After the failure of that attempt, the first being 1."""
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, InvalidMessage | Refused):
        return RetryDecision("dead", reason=error.reason, detail=error.detail)
    if isinstance(error, InvalidError):
        return RetryDecision("dead", reason="invalid", detail=detail)
    if attempt <= topic.retries:
        return RetryDecision("retry", backoff.after(attempt), detail=detail)
    if topic.retries:
        return RetryDecision("dead", reason="retries-exhausted", detail=f"after {attempt} attempts: {detail}")
    if isinstance(error, RetryableError):
        return RetryDecision("hold", backoff.after(attempt), detail=detail)
    return RetryDecision("dead", reason="handler-failed", detail=detail)


def retry_record(record: Record, topic: Topic, attempt: int, not_before: Millis) -> Outgoing:
    """The record for the retry topic: `attempt` is the one to come, `not_before` when."""
    headers = (
        *own_headers(record),
        (ATTEMPT, str(attempt).encode()),
        (NOT_BEFORE, str(not_before).encode()),
        (ORIGIN, origin(record).encode()),
    )
    return Outgoing(topic.retry, NewRecord(record.key, record.value, headers), record.partition)


def attempt_of(record: Record) -> int:
    """1 for a record that never failed."""
    return max(1, _number(_ours(record, ATTEMPT), 1))


def wait_of(record: Record, now: Millis, backoff: Backoff) -> float:
    """Seconds until it may be handled; never more than the backoff's cap, whatever the header says."""
    return min(max(0.0, (_number(_ours(record, NOT_BEFORE), 0) - now) / 1000), backoff.cap_s)


def origin(record: Record) -> str:
    """`topic/partition/offset` of the record as it first came."""
    found = _ours(record, ORIGIN)
    return found.decode("utf-8", "replace") if found else f"{record.topic}/{record.partition}/{record.offset}"


def own_headers(record: Record) -> tuple[Header, ...]:
    """The headers it first came with."""
    return record.headers[: -len(OURS)] if _retried(record) else record.headers


def _retried(record: Record) -> bool:
    """Only in a retry topic are these headers ours, and there they come last."""
    return record.topic.endswith(".retry") and tuple(name for name, _ in record.headers[-len(OURS) :]) == OURS


def _ours(record: Record, name: str) -> bytes | None:
    return record.header(name) if _retried(record) else None


def _number(raw: bytes | None, otherwise: int) -> int:
    try:
        return int(raw) if raw else otherwise
    except ValueError:
        return otherwise
