"""The figures of the business, counted from what tickets did. Each version of a ticket is counted once."""

from __future__ import annotations

from tandem.contracts.events import Event, TicketEvents
from tandem.telemetry import count as raise_counter
from tandem.telemetry import names, observe

MAX_EXPERTS = 500
"""Experts told apart by name; a label must stay bounded."""

COUNTED = frozenset(
    {"resolved", "handed_over", "reopened", "closed", "approved", "approval_rejected", "taken_over", "noted"}
)
"""Kinds of events that raise a figure, whether or not memory keeps anything of them."""

_experts: set[str] = set()


def count(events: TicketEvents) -> None:
    """What the events come to."""
    for event in events.events:
        match event.kind:
            case "resolved":
                _outcome(events, event.status or "resolved")
            case "handed_over":
                _outcome(events, "handed_over")
                raise_counter(names.HANDOVERS, event.text.partition(":")[0][:40])
            case "reopened":
                raise_counter(names.REOPENED, events.pack)
            case "noted" if event.cost is not None:  # after the ticket had its outcome
                raise_counter(names.TICKET_COST, events.pack, "noted", by=event.cost.micros)
                raise_counter(names.TICKET_TOKENS, events.pack, "noted", by=event.cost.tokens)
            case "closed":
                independent = "yes" if event.data.get("independent") is True else "no"
                raise_counter(names.CLOSED, events.pack, event.status or "", independent)
            case "approved" | "approval_rejected" | "taken_over":
                _by_expert(events, event)


def _outcome(events: TicketEvents, outcome: str) -> None:
    labels = (events.pack, outcome)
    raise_counter(names.TICKETS, *labels)
    if outcome == "confirmed":
        return  # it had its outcome before the customer said that it is the right one
    raise_counter(names.TICKET_COST, *labels, by=events.spent.micros)
    raise_counter(names.TICKET_TOKENS, *labels, by=events.spent.tokens)
    if events.opened_at is not None:
        observe(names.TICKET_SECONDS, max(0, events.at - events.opened_at) / 1000, *labels)


def _by_expert(events: TicketEvents, event: Event) -> None:
    expert = event.name or "unknown"
    if expert not in _experts and len(_experts) >= MAX_EXPERTS:
        expert = "other"
    _experts.add(expert)
    raise_counter(names.EXPERT_ACTIONS, expert, event.kind)
    if event.data.get("kind") == "suggestion":
        raise_counter(names.SUGGESTIONS, events.pack, "yes" if event.kind == "approved" else "no")
