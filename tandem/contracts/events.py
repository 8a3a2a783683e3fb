"""What the owner tells the world: ticket.events, expert.tasks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tandem.contracts.message import Message
from tandem.contracts.ticket import FREE, Cost, Line, SetAside
from tandem.contracts.values import Json, Millis, Value

KINDS_HEADER = "tandem-events"
"""Header of `ticket.events`: the kinds of a record's events, with commas between. Who looks for some kinds alone need not read
the body of a record that has none of them; one without the header may have any."""

ENDS = frozenset({"resolved", "handed_over"})
"""The kinds of events by which a ticket comes to an end."""


class Event(Value):
    """One thing that happened, in the past tense. Texts are masked; sensitive facts are not in it."""

    kind: str  # e.g. "message_received", "plan_started", "step_dispatched", "effect_done", "reply_sent", "taken_over"
    step: str | None = None
    node: str | None = None
    name: str | None = None  # agent, tool, intent or question
    sentence: int | None = None
    procedure: str | None = None
    text: str = ""
    effect: str | None = None
    status: str | None = None
    cost: Cost | None = None
    rung: str | None = None
    took_ms: float | None = None
    data: dict[str, Json] = Field(default_factory=dict)


class TicketEvents(Message, name="ticket-events"):
    """What one decision did: all events of one version of the ticket."""

    tenant: str
    conversation: str
    ticket: str
    version: int
    turn: int
    at: Millis
    owner: str
    status: str
    cause: str  # TYPE of the message that caused it
    pack: str
    language: str = "en"
    opened_at: Millis | None = None
    spent: Cost = FREE
    notes: SetAside | None = None  # the ticket has come to an end: notes of it may be taken
    events: tuple[Event, ...]


class ExpertTask(Message, name="expert-task"):
    """Work for a person. A later one with the same id replaces it; `state` closes it."""

    id: str
    tenant: str
    conversation: str
    ticket: str
    state: Literal["open", "closed"] = "open"
    kind: Literal["approve", "unknown_outcome", "suggestion", "handover", "message", "conflict"]
    skill_group: str = "general"
    urgency: Literal["low", "normal", "high"] = "normal"
    reason: str = ""
    created_at: Millis
    expires: Millis | None = None
    tool: str | None = None
    effect: str | None = None
    arguments: dict[str, Json] = Field(default_factory=dict)
    arguments_hash: str | None = None
    procedure: str | None = None
    sentence: int | None = None
    text: str = ""  # a drafted reply, or the customer's message
    recent: tuple[Line, ...] = ()
    language: str = "en"
