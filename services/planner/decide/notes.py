"""What memory makes of a ticket that came to an end."""

from __future__ import annotations

from typing import Any

from services.planner.decide.customer import first_time
from services.planner.decide.draft import Draft
from tandem.contracts.inbox import TicketNoted


def on_noted(draft: Draft, message: TicketNoted) -> None:
    """It changes nothing in the ticket but what it has cost; the events keep it, and memory reads them."""
    if not first_time(draft, message.id):
        return
    draft.budget = draft.budget.changed(spent=draft.budget.spent + message.cost)
    data: dict[str, Any] = {"facts": [fact.model_dump(mode="json") for fact in message.facts]}
    if message.prompt:
        data["prompt"] = message.prompt
    if message.usage is not None:
        data["usage"] = message.usage.model_dump(mode="json")
    draft.event("noted", text=message.summary, cost=message.cost, rung="large", data=data)
