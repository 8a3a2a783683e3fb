"""What memory makes of a ticket costs the ticket once, stands in its events, and changes nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.contracts.inbox import ModelUsage, Noted, TicketNoted
from tandem.contracts.ticket import Cost, Status
from tests.unit.decide.world import World

COST = Cost(calls=1, tokens=300, micros=40)


def resolved() -> World:
    world = World()
    world.say("how do I fork", intent="fork")
    for _ in range(3):
        world.result({"v": "x"})
    assert world.t.status is Status.RESOLVED
    return world


def noted(world: World, **fields: Any) -> TicketNoted:
    fact = Noted(name="region", value="Frankfurt", ticket=world.t.id, message="m1", at=1, until=9)
    about = {"tenant": "acme", "conversation": world.t.conversation, "ticket": world.t.id, "id": "n1"}
    usage = ModelUsage(models=("m",), calls=1)
    said = {"summary": "It forks.", "facts": (fact,), "cost": COST, "prompt": "memory.note@1-ab", "usage": usage}
    return TicketNoted.model_validate({**about, **said, **fields})


def test_it_is_paid_once_and_stands_in_the_events() -> None:
    world = resolved()
    before = world.t
    for _ in range(2):
        world.feed(noted(world))
    after = world.t
    assert after.budget.spent == before.budget.spent + COST
    assert (after.status, after.facts, after.plans, after.timers) == (
        before.status,
        before.facts,
        before.plans,
        before.timers,
    )
    assert world.events.count("noted") == 1
    assert world.events.count("duplicate_ignored") == 1


@pytest.mark.parametrize("ticket", ["of another time", ""])
def test_of_another_ticket_nothing_is_taken(ticket: str) -> None:
    world = resolved()
    before = world.t
    world.feed(noted(world, ticket=ticket))
    assert world.t == before
