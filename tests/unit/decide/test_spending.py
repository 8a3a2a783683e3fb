"""What a ticket has spent: what the router paid a model for its message, and what a step may have cost that gave no answer."""

from __future__ import annotations

import pytest

from tandem.contracts.ticket import Cost
from tests.unit.decide.test_reasoning import OPEN
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


@pytest.mark.parametrize("retryable", [True, False], ids=["the answer is asked for again", "there will be none"])
def test_what_a_step_without_an_answer_cost_is_not_known_and_counts_as_spent(retryable: bool) -> None:
    world = World(OPEN)
    world.say("what colour is my instance and can it be changed")
    task, before = world.tasks[-1], world.t.budget
    assert task.reserved.tokens > 0
    world.fail(retryable, task)
    assert world.t.budget.spent == before.spent + task.reserved
