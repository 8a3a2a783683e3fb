"""What the router paid a model for a message is the ticket's."""

from __future__ import annotations

from tandem.contracts.ticket import Cost
from tests.unit.decide.world import World

COST = Cost(calls=1, tokens=300, micros=40)


def test_it_is_spent_once_and_stands_in_the_events() -> None:
    world = World()
    for _ in range(2):
        world.say("how do I fork", intent="fork", cost=COST, id="m1")
    assert world.t.budget.spent == COST
    told = [event for events in world.messages("ticket.events") for event in events.events]
    assert [event.cost for event in told if event.kind == "message_received"] == [COST]


def test_a_message_of_which_no_model_was_asked_costs_nothing() -> None:
    world = World()
    world.say("how do I fork", intent="fork")
    told = [event for events in world.messages("ticket.events") for event in events.events]
    assert [event.cost for event in told if event.kind == "message_received"] == [None]
    assert world.t.budget.spent == Cost()
