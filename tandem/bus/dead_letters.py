"""Dead letters: the original record with the reason beside it, and word of it to the ticket it is about."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from tandem.bus.base import NewRecord, Outgoing, Record, outgoing
from tandem.bus.retries import origin, own_headers
from tandem.contracts.inbox import TaskDeadLettered
from tandem.contracts.message import MAX_BODY_BYTES, Envelope
from tandem.contracts.topics import CUSTOMER_MESSAGES, DEAD_LETTERS, TICKET_INBOX, TOPICS, Key
from tandem.contracts.values import Millis, derive_id

REASON = "tandem-dead-reason"
DETAIL = "tandem-dead-detail"
ORIGIN = "tandem-dead-origin"
SERVICE = "tandem-dead-service"

DETAIL_CHARS = 1_000


def dead_letter(record: Record, reason: str, detail: str, service: str) -> Outgoing:
    """The record as it came, key, value and headers, with why it could not be handled."""
    headers = (
        *own_headers(record),
        (REASON, reason.encode()),
        (DETAIL, detail[:DETAIL_CHARS].encode("utf-8", "replace")),
        (ORIGIN, origin(record).encode()),
        (SERVICE, service.encode()),
    )
    return Outgoing(DEAD_LETTERS.name, NewRecord(record.key, record.value, headers), 0)


FROM_OUTSIDE = (CUSTOMER_MESSAGES.name, CUSTOMER_MESSAGES.retry)


def tell_ticket(record: Record, reason: str, service: str, now: Millis) -> Outgoing | None:
    """Word to the mailbox of the ticket that the record is about, as far as key, headers and body can be read.

    A record from outside, whose signature nobody could check, names a conversation at most: it may not fail a step.
    """
    body = _body(record.value)
    if record.topic in FROM_OUTSIDE:
        body = {name: body[name] for name in ("tenant", "conversation") if name in body}
    conversation = _text(body.get("conversation")) or _key(record)
    if conversation is None:
        return None
    tenant = _text(body.get("tenant")) or _header(record, "ce_tenant")
    came_from = origin(record)
    told = _message(body, tenant, conversation, came_from.rsplit("/", 2)[0], reason)
    envelope = Envelope(
        id=derive_id("dead-letter", came_from),
        source=f"tandem/{service}",
        type=TaskDeadLettered.TYPE,
        time=now,
        subject=conversation,
        tenant=tenant,
        traceparent=_header(record, "traceparent") or None,
    )
    return outgoing(TICKET_INBOX.name, conversation, told, envelope)


def _message(body: dict[str, Any], tenant: str, conversation: str, topic: str, reason: str) -> TaskDeadLettered:
    about = {"tenant": tenant, "conversation": conversation, "topic": topic, "reason": reason}
    of_task = {"ticket": body.get("ticket"), "step": body.get("step"), "attempt": body.get("attempt")}
    try:
        return TaskDeadLettered.model_validate(
            {**about, **of_task, "task": body.get("id") if of_task["step"] else None}
        )
    except ValidationError:
        return TaskDeadLettered.model_validate(about)


def _body(value: bytes | None) -> dict[str, Any]:
    if value is None or len(value) > MAX_BODY_BYTES:
        return {}
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(record: Record) -> str | None:
    """The conversation, where that is what the topic's key is."""
    topic = TOPICS.get(record.topic.removesuffix(".retry"))
    if topic is None or topic.key is not Key.CONVERSATION or not record.key:
        return None
    try:
        return record.key.decode()
    except UnicodeDecodeError:
        return None


def _header(record: Record, name: str) -> str:
    try:
        return (record.header(name) or b"").decode()
    except UnicodeDecodeError:
        return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
