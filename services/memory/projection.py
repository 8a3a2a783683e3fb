"""What a ticket's events mean to memory. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem.contracts.events import Event, TicketEvents
from tandem.contracts.ticket import Line

MAX_TEXT = 2_000
_ALWAYS = {"ticket", "at", "status"}


@dataclass(frozen=True, slots=True)
class Update:
    """What one `TicketEvents` adds: lines said, and what changed of the ticket's own record."""

    lines: tuple[Line, ...] = ()
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


def _line(events: TicketEvents, event: Event) -> Line | None:
    if not event.text:
        return None
    if event.kind == "message_received":
        return Line(who="customer", text=event.text[:MAX_TEXT], at=events.at)
    if event.kind == "reply_sent":
        who = events.owner if events.owner.startswith("expert:") else "bot"
        return Line(who=who, text=event.text[:MAX_TEXT], at=events.at)
    return None


def _ticket(event: Event) -> dict[str, Any]:
    match event.kind:
        case "plan_started" if event.name:
            return {"intent": event.name}
        case "resolved":
            return {"outcome": event.status or "resolved"}
        case "handed_over":
            return {"outcome": "handed_over"}
        case "reopened":
            return {"outcome": ""}
        case _:
            return {}
