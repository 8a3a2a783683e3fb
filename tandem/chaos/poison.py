"""Records that no adapter and no service of ours would write: hostile headers, bodies, versions, sizes, tombstones."""

from __future__ import annotations

import json
from random import Random
from typing import Final

from tandem.bus.base import NewRecord, Outgoing
from tandem.channels import Channels, signed
from tandem.contracts.customer import CustomerMessage
from tandem.contracts.message import Header
from tandem.contracts.topics import CUSTOMER_MESSAGES, TICKET_EVENTS, TICKET_INBOX, tasks_of
from tandem.contracts.values import conversation_id

MARK: Final = "x-chaos"
"""A header of ours by which a record is found again among the dead letters."""

TARGETS: Final = (
    *(CUSTOMER_MESSAGES.name, TICKET_INBOX.name, TICKET_EVENTS.name),
    *(tasks_of(service) for service in ("planner", "rag_agent", "function_agent", "executor")),
)
"""Where anybody but its one writer might write: the two fenced logs are not among them."""

TYPES: Final = (
    *("tandem.customer-message.v1", "tandem.customer-message.v9", "tandem.reply.v1", "tandem.step-completed.v1"),
    *("tandem.timer-fired.v1", "tandem.execute-tool.v1", "tandem.answer-question.v1", "nonsense", ""),
)
BODIES: Final = (
    *(b"", b"{", b"[]", b"{}", b"null", b"0", b"\xff\xfe\x00", b'{"id": "\xff"}', b"[" * 50_000, b'{"a":' * 5_000),
    json.dumps({"text": "x" * 1_100_000}).encode(),
    json.dumps({"parts": [{"kind": "text", "text": "\ud800"}]}).encode(),
)
LONG_EVERY: Final = 50
"""One body in so many is the megabyte: a thousand of them would measure the disk."""


class Hostile:
    """Makes them, of the same seed the same."""

    def __init__(self, random: Random, channels: Channels, channel: str, tenant: str) -> None:
        self._random = random
        self._channels = channels
        self._channel = channel
        self._tenant = tenant

    def record(self, mark: str) -> Outgoing:
        """One that must end among the dead letters as it came. Its key names no customer's conversation."""
        topic = self._random.choice(TARGETS)
        body = self._body(mark)
        headers = self._headers(mark)
        if topic == CUSTOMER_MESSAGES.name and body and self._random.random() < 0.5:
            headers, body = self._signed_nonsense(mark)
        key = self._random.choice([f"hostile-{mark}".encode(), b"\xff\xfe" + mark.encode()])
        return Outgoing(topic, NewRecord(key, body, (*headers, (MARK, mark.encode()))))

    def _body(self, mark: str) -> bytes | None:
        if self._random.random() < 0.1:
            return None
        long = int(mark) % LONG_EVERY == 0
        return self._random.choice([body for body in BODIES if (len(body) > 1_000_000) == long])

    def _headers(self, mark: str) -> tuple[Header, ...]:
        """The envelope's, one of them broken or missing half of the time."""
        whole: dict[str, bytes | None] = {
            "ce_id": mark.encode(),
            "ce_source": f"channel/{self._channel}".encode(),
            "ce_type": self._random.choice(TYPES).encode(),
            "ce_time": b"2026-01-01T00:00:00Z",
            "ce_subject": f"hostile-{mark}".encode(),
            "ce_tenant": self._tenant.encode(),
            "ce_specversion": b"1.0",
        }
        if self._random.random() < 0.5:
            name = self._random.choice(sorted(whole))
            match self._random.randrange(3):
                case 0:
                    del whole[name]
                case 1:
                    whole[name] = None
                case _:
                    whole[name] = b"\xff\xfe"
        return tuple(whole.items())

    def _signed_nonsense(self, mark: str) -> tuple[tuple[Header, ...], bytes]:
        """Rightly signed, and still wrong: it speaks in another's conversation, or says nothing."""
        mine = conversation_id(self._tenant, self._channel, f"hostile-{mark}")
        message = CustomerMessage(
            id=mark,
            tenant=self._tenant,
            channel=self._channel,
            thread=self._random.choice([f"hostile-{mark}", "another"]),
            conversation=mine,
            parts=(),
            sent_at=0,
        )
        headers = dict(self._headers(mark)) | {"ce_type": message.TYPE.encode(), "ce_subject": mine.encode()}
        kept = tuple((name, value) for name, value in headers.items() if value is not None)
        body = message.model_dump_json().encode()
        return signed(kept, body, self._channels.key(self._channel)), body
