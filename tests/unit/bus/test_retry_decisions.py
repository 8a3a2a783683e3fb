"""What becomes of a failure, and the records it leads to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.bus.base import Record
from tandem.bus.dead_letters import dead_letter, tell_ticket
from tandem.bus.retries import (
    Backoff,
    RetryDecision,
    attempt_of,
    decide_retry,
    origin,
    own_headers,
    retry_record,
    wait_of,
)
from tandem.bus.sqlite_log import pack_headers, unpack_headers
from tandem.contracts.inbox import TaskDeadLettered
from tandem.contracts.topics import CUSTOMER_MESSAGES, TICKET_EVENTS, Topic, task_topic
from tandem.errors import InvalidError, InvalidMessage, InvalidPack, Refused, Unavailable

BACKOFF = Backoff(first_s=1.0, factor=4.0, cap_s=30.0)
TASKS = task_topic("rag_agent")

header_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
headers = st.lists(st.tuples(header_names, st.none() | st.binary(max_size=30)), max_size=12).map(tuple)


def record(topic: str = TASKS.name, **given: object) -> Record:
    fields = {"partition": 2, "offset": 7, "timestamp": 1, "key": b"k", "value": b"{}", "headers": (("h", b"1"),)}
    return Record(topic, **{**fields, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "attempt", "topic", "kind", "wait_s", "reason"),
    [
        (Unavailable("x"), 1, TASKS, "retry", 1.0, ""),
        (Unavailable("x"), 2, TASKS, "retry", 4.0, ""),
        (Unavailable("x"), 5, TASKS, "retry", 30.0, ""),
        (ValueError("x"), 1, TASKS, "retry", 1.0, ""),
        (Unavailable("x"), 6, TASKS, "dead", 0.0, "retries-exhausted"),
        (InvalidError("x"), 1, TASKS, "dead", 0.0, "invalid"),
        (InvalidPack("p", ["x"]), 1, TASKS, "dead", 0.0, "invalid"),
        (InvalidMessage("schema", "x"), 1, TASKS, "dead", 0.0, "schema"),
        (Refused("limit", "x"), 1, TASKS, "dead", 0.0, "limit"),
        (Unavailable("x"), 1, TICKET_EVENTS, "hold", 1.0, ""),
        (Unavailable("x"), 9_999, TICKET_EVENTS, "hold", 30.0, ""),
        (ValueError("x"), 1, TICKET_EVENTS, "dead", 0.0, "handler-failed"),
    ],
)
def test_decisions(error: Exception, attempt: int, topic: Topic, kind: str, wait_s: float, reason: str) -> None:
    decision = decide_retry(error, attempt, topic, BACKOFF)
    assert (decision.kind, decision.wait_s, decision.reason) == (kind, wait_s, reason)
    assert decision.detail != RetryDecision("dead").detail


@given(st.integers(1, 10_000))
def test_backoff_grows_up_to_its_cap(attempt: int) -> None:
    assert BACKOFF.first_s <= BACKOFF.after(attempt) <= BACKOFF.after(attempt + 1) <= BACKOFF.cap_s


@given(headers, st.integers(2, 9), st.integers(0, 10**13))
def test_a_retry_and_a_dead_letter_carry_the_headers_they_came_with(
    given_headers: tuple[tuple[str, bytes | None], ...], attempt: int, due: int
) -> None:
    original = record(headers=given_headers)
    sent = retry_record(original, TASKS, attempt, due)
    assert (sent.topic, sent.partition, sent.record.key, sent.record.value) == (TASKS.retry, 2, b"k", b"{}")
    again = record(TASKS.retry, offset=99, headers=sent.record.headers)
    assert own_headers(again) == given_headers
    assert (attempt_of(again), origin(again)) == (attempt, f"{TASKS.name}/2/7")
    assert wait_of(again, due - 2_000, BACKOFF) == 2.0
    assert wait_of(again, due, BACKOFF) == 0.0
    letter = dead_letter(again, "reason", "detail", "me").record
    assert letter.headers[: len(given_headers)] == given_headers
    assert ("tandem-dead-origin", f"{TASKS.name}/2/7".encode()) in letter.headers[len(given_headers) :]


@pytest.mark.parametrize("due", [b"", b"soon", b"-5", b"\xff", None])
def test_a_garbled_due_time_is_now(due: bytes | None) -> None:
    ours = (("tandem-attempt", due), ("tandem-not-before", due), ("tandem-origin", due))
    found = record(TASKS.retry, headers=ours)
    assert (wait_of(found, 0, BACKOFF), attempt_of(found)) == (0.0, 1)


def test_a_due_time_far_ahead_is_bounded() -> None:
    assert wait_of(
        record(TASKS.retry, headers=retry_record(record(), TASKS, 2, 10**14).record.headers), 0, BACKOFF
    ) == (BACKOFF.cap_s)


TASK = b'{"id": "task-1", "tenant": "acme", "conversation": "c", "ticket": "t", "step": "s1", "attempt": 2}'


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (record(value=TASK), ("acme", "c", "t", "task-1", "s1", 2)),
        (record(value=b'{"tenant": "acme", "conversation": "c"}'), ("acme", "c", None, None, None, None)),
        (record(value=b'{"tenant": "acme", "conversation": "c", "ticket": 7}'), ("acme", "c", None, None, None, None)),
        (record(value=b"broken"), None),
        (record(value=b"[" * 100_000), None),
        (record(value=None), None),
        (record(value=b"[1]"), None),
        (record(value=b'{"conversation": 7}'), None),
        (record(CUSTOMER_MESSAGES.name, value=b"broken", key=b"c"), ("acme", "c", None, None, None, None)),
        (record(CUSTOMER_MESSAGES.retry, value=b"broken", key=b"c"), ("acme", "c", None, None, None, None)),
        (record(CUSTOMER_MESSAGES.name, value=b"broken", key=b"\xff"), None),
        (record(CUSTOMER_MESSAGES.name, value=b"broken", key=None), None),
    ],
)
def test_whom_a_dead_letter_is_told(found: Record, expected: tuple[object, ...] | None) -> None:
    with_tenant = record(found.topic, value=found.value, key=found.key, headers=(("ce_tenant", b"acme"),))
    told = tell_ticket(with_tenant, "schema", "rag_agent", 1_700_000_000_000)
    if expected is None:
        assert told is None
        return
    assert told is not None
    message = TaskDeadLettered.model_validate_json(told.record.value or b"")
    about = (message.tenant, message.conversation, message.ticket, message.task, message.step, message.attempt)
    assert about == expected
    assert (message.topic, message.reason) == (found.topic, "schema")
    assert (told.topic, told.record.key) == ("ticket.inbox", "c")


@given(headers)
def test_headers_come_out_of_the_file_as_they_went_in(given_headers: tuple[tuple[str, bytes | None], ...]) -> None:
    assert unpack_headers(pack_headers(given_headers)) == given_headers
