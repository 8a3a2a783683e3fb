"""What memory makes of a ticket that came to an end, and what that may cost."""

from __future__ import annotations

from typing import Any

from services.planner.decide.customer import first_time
from services.planner.decide.draft import Draft
from tandem.contracts.events import ENDS
from tandem.contracts.inbox import TicketNoted
from tandem.contracts.ticket import Cost, SetAside
from tandem.contracts.values import derive_id

WAIT_MS = 5 * 60_000
"""Notes that take longer are not waited for: nobody may be there to take any."""

_LEAST = Cost(calls=1, tokens=1)


def set_aside(draft: Draft) -> None:
    """The ticket has come to an end: reserve what notes of it may cost, of what nothing else is reserved for."""
    ended = any(event.kind in ENDS and event.status != "confirmed" for event in draft.events)
    if draft.notes is not None or not ended:
        return
    budget, most = draft.budget, draft.pack.reserve_model
    left = budget.limit - budget.spent - budget.reserved
    cost = Cost.made(
        calls=min(left.calls, most.calls), tokens=min(left.tokens, most.tokens), micros=min(left.micros, most.micros)
    )
    if _LEAST.within(cost):
        id_ = derive_id("notes", draft.id, draft.version)
        draft.notes = SetAside.made(id=id_, cost=cost, until=draft.now + WAIT_MS)
        draft.budget = budget.changed(reserved=budget.reserved + cost)


def give_up(draft: Draft) -> None:
    """Let go of what was set aside for notes that have not come in time."""
    if draft.notes is not None and draft.now > draft.notes.until:
        _release(draft, draft.notes)


def _release(draft: Draft, notes: SetAside) -> None:
    draft.notes = None
    draft.budget = draft.budget.changed(reserved=draft.budget.reserved - notes.cost)


def on_noted(draft: Draft, message: TicketNoted) -> None:
    """It changes nothing in the ticket but what it has cost; the events keep it, and memory reads them."""
    if not first_time(draft, message.id):
        return
    if draft.notes is not None and draft.notes.id == message.id:
        _release(draft, draft.notes)
    draft.budget = draft.budget.changed(spent=draft.budget.spent + message.cost)
    data: dict[str, Any] = {"facts": [fact.model_dump(mode="json") for fact in message.facts]}
    if message.prompt:
        data["prompt"] = message.prompt
    if message.usage is not None:
        data["usage"] = message.usage.model_dump(mode="json")
    draft.event("noted", text=message.summary, cost=message.cost, rung="large", data=data)
