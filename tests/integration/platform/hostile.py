"""Records that no adapter and no service of ours would write, and what is said of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tandem.bus.base import NewRecord
from tandem.channels import Channels, signed
from tandem.contracts.customer import CustomerMessage, Reply, ReplyText, TextPart
from tandem.contracts.inbox import TaskDeadLettered
from tandem.contracts.message import Envelope, Header, to_headers
from tandem.contracts.tasks import AnswerQuestion
from tandem.contracts.topics import CUSTOMER_MESSAGES, TICKET_EVENTS, TICKET_INBOX, TOPICS
from tandem.contracts.values import conversation_id

AT: Final = 1_760_000_000_000
MESSAGES: Final = CUSTOMER_MESSAGES.name
INBOX: Final = TICKET_INBOX.name
CASE: Final = "x-case"
GHOST: Final = "ghost"
"""A tenant that a channel may speak for, and that has no pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A customer's message, right in everything that is not given."""

    thread: str = "hostile"
    text: str = "hello"
    tenant: str = "acme"
    channel: str = "cli"
    key: str | bytes | None = None  # the record's; by default the conversation
    body: bytes | None = b""  # the whole body in place of the message's
    fields: Mapping[str, Any] | None = None  # more fields of the body
    headers: Mapping[str, bytes | None] | None = None  # in place of the envelope's, before it is signed
    later: Mapping[str, bytes | None] | None = None  # headers put or replaced after it was signed
    secret: str | None = None  # another key to sign with; empty: not signed

    def record(self, channels: Channels) -> NewRecord:
        conversation = conversation_id(self.tenant, self.channel, self.thread)
        message = CustomerMessage(
            id="m1",
            tenant=self.tenant,
            channel=self.channel,
            thread=self.thread,
            conversation=conversation,
            parts=(TextPart(text=self.text),),
            sent_at=AT,
        )
        body = self.body
        if body == b"":
            body = json.dumps(message.model_dump(mode="json") | dict(self.fields or {})).encode()
        envelope = Envelope(
            id=f"m1-{self.thread}",
            source=f"channel/{self.channel}",
            type=CustomerMessage.TYPE,
            time=AT,
            subject=conversation,
            tenant=self.tenant,
        )
        headers = _put(to_headers(envelope), self.headers or {})
        known = channels.channels.get(self.channel)
        secret = self.secret if self.secret is not None else known.key.get_secret_value() if known else "x" * 32
        signable = all(value is not None for name, value in headers if name.startswith("ce_"))
        if secret and signable:
            headers = signed(headers, body or b"", secret)
        return NewRecord(self.key or conversation, body, _put(headers, self.later or {}))


def marked(name: str, record: NewRecord) -> NewRecord:
    """The record with a header of ours by which it is found again."""
    return NewRecord(record.key, record.value, (*record.headers, (CASE, name.encode())))


def _put(headers: tuple[Header, ...], others: Mapping[str, bytes | None]) -> tuple[Header, ...]:
    return (*((name, value) for name, value in headers if name not in others), *others.items())


def _plain(
    type_: str, body: bytes | None, key: str | bytes, **headers: bytes | None
) -> Callable[[Channels], NewRecord]:
    """A record of the platform's own topics."""
    envelope = Envelope(id="x", source="tandem/test", type=type_, time=AT, subject="hostile", tenant="acme")
    return lambda channels: NewRecord(key, body, _put(to_headers(envelope), headers))


_TASK: Final = AnswerQuestion(
    id="t",
    tenant="acme",
    conversation="c",
    ticket="k",
    pack="p",
    step="s",
    attempt=1,
    turn=1,
    deadline=AT,
    question="?",
)
_DEAD: Final = TaskDeadLettered(tenant="acme", conversation="another", topic="tasks.planner", reason="a test")
_REPLY: Final = Reply(
    id="r",
    tenant="acme",
    channel="cli",
    thread="t",
    conversation="c",
    ticket="k",
    turn=1,
    seq=1,
    state="final",
    parts=(ReplyText(text="hello"),),
)
_LONG: Final = json.dumps({"text": "x" * 1_100_000}).encode()

BAD: Final[dict[str, tuple[str, Callable[[Channels], NewRecord], str, str]]] = {
    # name: (topic, record, the reason, who says it)
    **{
        name: (MESSAGES, said.record, reason, "router")
        for name, (said, reason) in {
            "not signed": (Said(secret=""), "unsigned"),
            "signed with another key": (Said(secret="k" * 32), "bad-signature"),
            "changed after it was signed": (Said(later={"ce_id": b"another"}), "bad-signature"),
            "an empty signature": (Said(later={"tandem-signature": None}), "unsigned"),
            "an unknown channel": (Said(channel="fax"), "unknown-channel"),
            "not this channel's tenant": (Said(tenant="other"), "tenant-not-allowed"),
            "an unknown tenant": (Said(tenant=GHOST, text="write me a poem about the sea"), "unknown-tenant"),
            "another's conversation": (Said(key="another"), "conversation-mismatch"),
            "another tenant in the envelope": (Said(headers={"ce_tenant": b"other"}), "tenant-mismatch"),
            "broken JSON": (Said(body=b'{"id": '), "broken-json"),
            "a body that is no text": (Said(body=b"\xff\xfe\x00"), "broken-json"),
            "very deep JSON": (Said(body=b"[" * 100_000), "broken-json"),
            "no object": (Said(body=b"[]"), "schema"),
            "no fields": (Said(body=b"{}"), "schema"),
            "half a character": (Said(fields={"parts": [{"kind": "text", "text": "\ud800"}]}), "broken-json"),
            "no body": (Said(body=None), "empty-body"),
            "over a megabyte": (Said(body=_LONG), "too-large"),
            "no text": (Said(text=""), "empty"),
            "blank text": (Said(text=" \n\t"), "empty"),
            "a null header": (Said(headers={"ce_tenant": None}), "null-header"),
            "a null trace": (Said(later={"traceparent": None}), "null-header"),
            "a header that is no text": (Said(headers={"ce_id": b"\xff\xfe"}), "header-not-utf8"),
            "no time": (Said(headers={"ce_time": b"yesterday"}), "bad-time"),
            "a newer version": (Said(headers={"ce_type": b"tandem.customer-message.v9"}), "unknown-type"),
            "another message": (
                Said(headers={"ce_type": Reply.TYPE.encode()}, body=_REPLY.model_dump_json().encode()),
                "unexpected-type",
            ),
        }.items()
    },
    "no envelope": (MESSAGES, lambda channels: NewRecord("hostile", b"{}"), "missing-header", "router"),
    "garbage in a mailbox": (INBOX, _plain(TaskDeadLettered.TYPE, b"\xff", "hostile"), "broken-json", "planner"),
    "a mailbox of nobody": (INBOX, _plain(TaskDeadLettered.TYPE, b"{}", b"\xff"), "bad-key", "planner"),
    "another's mailbox": (
        INBOX,
        _plain(TaskDeadLettered.TYPE, _DEAD.model_dump_json().encode(), "hostile"),
        "wrong-key",
        "planner",
    ),
    "not for a mailbox": (
        INBOX,
        _plain(Reply.TYPE, _REPLY.model_dump_json().encode(), "hostile"),
        "wrong-topic",
        "planner",
    ),
    "a type that is null": (INBOX, _plain("x", b"{}", "hostile", ce_type=None), "missing-header", "planner"),
    "another agent's task": (
        "tasks.function_agent",
        _plain(_TASK.TYPE, _TASK.model_dump_json().encode(), "hostile"),
        "unknown-task",
        "function_agent",
    ),
    "garbage as events": (TICKET_EVENTS.name, _plain("tandem.ticket-events.v1", b"0", "hostile"), "schema", "memory"),
    **{
        f"garbage to {service}": (
            f"tasks.{service}",
            _plain("tandem.execute-tool.v1" if service == "executor" else _TASK.TYPE, b"{", "hostile"),
            "broken-json",
            service,
        )
        for service in ("planner", "rag_agent", "function_agent", "executor")
    },
}

GOES_THROUGH: Final[dict[str, Said]] = {
    "unknown fields": Said(thread="g1", text="write me a poem", fields={"mood": {"is": ["cheerful"]}}),
    "a stranger's null header": Said(thread="g2", text="write me a poem", later={"x-null": None}),
    "a stranger's bytes": Said(thread="g3", text="write me a poem", later={"x-bytes": b"\xff\xfe"}),
    "a trace that is none": Said(thread="g4", text="write me a poem", later={"traceparent": b"nonsense"}),
}

assert {topic for topic, *_ in BAD.values()} <= set(TOPICS)
