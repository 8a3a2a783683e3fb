"""Who may speak: what a record from outside must satisfy before anything is read into it."""

from __future__ import annotations

from tandem.bus.base import Record
from tandem.channels import Channels
from tandem.contracts.customer import CardActionPart, CustomerMessage, DeliveryReceipt, MediaPart
from tandem.contracts.message import Envelope
from tandem.contracts.values import conversation_id
from tandem.errors import InvalidMessage


def admit(record: Record, envelope: Envelope, message: CustomerMessage | DeliveryReceipt, channels: Channels) -> str:
    """The name of the tenant's pack. Raises Refused or InvalidMessage, whose reason the dead letter carries."""
    pack = channels.pack_of(message.tenant)
    channels.verify(message.channel, message.tenant, record.headers, record.value or b"")
    expected = {
        "tenant-mismatch": (envelope.tenant, message.tenant),
        "channel-mismatch": (envelope.source, f"channel/{message.channel}"),
        "conversation-mismatch": (
            message.conversation,
            conversation_id(message.tenant, message.channel, message.thread),
        ),
        "subject-mismatch": (envelope.subject, message.conversation),
        "key-mismatch": (record.key, message.conversation.encode()),
    }
    for reason, (given, wanted) in expected.items():
        if given != wanted:
            raise InvalidMessage(reason, f"{given!r} is given where {wanted!r} must be")
    return pack


def check_content(message: CustomerMessage) -> None:
    """Raises InvalidMessage for a message that says nothing at all."""
    if message.text() or any(isinstance(part, CardActionPart | MediaPart) for part in message.parts):
        return
    raise InvalidMessage("empty-message", "no text, no attachment and no action")
