"""A message of a conversation as a service sends it: keyed by the conversation, in the trace at hand."""

from __future__ import annotations

from tandem import telemetry
from tandem.bus.base import Outgoing, outgoing
from tandem.contracts.customer import Reply
from tandem.contracts.inbox import InboxMessage
from tandem.contracts.message import Envelope
from tandem.contracts.values import Millis


def sent_by(service: str, topic: str, message: InboxMessage | Reply, id: str, now: Millis) -> Outgoing:
    """`id`: of this sending; whatever bears it again is a second copy."""
    envelope = Envelope(
        id=id,
        source=f"tandem/{service}",
        type=message.TYPE,
        time=now,
        subject=message.conversation,
        tenant=message.tenant,
        traceparent=telemetry.current_traceparent(),
    )
    return outgoing(topic, message.conversation, message, envelope)
