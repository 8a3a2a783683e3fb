"""What a ticket's events mean to memory. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from services.memory.redaction import redacted
from tandem.contracts.events import Event, TicketEvents
from tandem.contracts.ticket import Line

MAX_TEXT = 2_000
MAX_ASKED = 200
_ALWAYS = {"ticket", "at", "status"}

_LINES = frozenset({"message_received", "reply_sent"})
KEPT = _LINES | {"plan_started", "resolved", "handed_over", "reopened", "noted"}
"""Kinds of events that memory may keep something of."""


class Said(Line):
    """A line with the ticket and the message that it stands in."""

    ticket: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """What one `TicketEvents` adds: lines said, and what changed of the ticket's own record."""

    lines: tuple[Said, ...] = ()
    ticket: dict[str, Any] = field(default_factory=dict)

    @property
    def matters(self) -> bool:
        """False while the platform only works: nobody who asks memory would see a difference."""
        return bool(self.lines) or not self.ticket.keys() <= _ALWAYS


def project(events: TicketEvents) -> Update:
    """Read one decision's events."""
    lines = tuple(line for event in events.events if (line := _line(events, event)) is not None)
    ticket: dict[str, Any] = {"ticket": events.ticket, "at": events.at, "status": events.status}
    for event in events.events:
        ticket |= _ticket(event)
    return Update(lines, ticket)


def _line(events: TicketEvents, event: Event) -> Said | None:
    if not event.text or event.kind not in _LINES:
        return None
    by_customer = event.kind == "message_received"
    who = "customer" if by_customer else events.owner if events.owner.startswith("expert:") else "bot"
    message = event.name or "" if by_customer else ""
    return Said.made(who=who, text=event.text[:MAX_TEXT], at=events.at, ticket=events.ticket, message=message)


def _ticket(event: Event) -> dict[str, Any]:
    match event.kind:
        case "message_received" if event.text:
            return {"asked": redacted([event.text])[0][:MAX_ASKED]}  # the first one stays
        case "plan_started" if event.name:
            return {"intent": event.name}
        case "resolved":
            return {"outcome": event.status or "resolved"}
        case "handed_over":
            return {"outcome": "handed_over"}
        case "reopened":
            return {"outcome": ""}
        case "noted" if event.text:
            return {"summary": event.text, "facts": json.dumps(event.data.get("facts", []))}
        case _:
            return {}
