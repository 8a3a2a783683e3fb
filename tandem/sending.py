"""Messages of a conversation as services send them: keyed by the conversation, in the trace at hand."""

from __future__ import annotations

from typing import Any

from tandem import telemetry
from tandem.bus.base import Outgoing, outgoing
from tandem.contracts.customer import Reply
from tandem.contracts.inbox import InboxMessage
from tandem.contracts.message import Envelope
from tandem.contracts.tasks import Task
from tandem.contracts.values import Millis


def about(task: Task, service: str) -> dict[str, Any]:
    """What every answer to a task says of it (`StepMessage`)."""
    return {
        "tenant": task.tenant,
        "conversation": task.conversation,
        "ticket": task.ticket,
        "task": task.id,
        "step": task.step,
        "attempt": task.attempt,
        "service": service,
    }


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
