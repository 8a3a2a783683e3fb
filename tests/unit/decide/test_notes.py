"""What memory makes of a ticket costs the ticket once, stands in its events, and changes nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from services.planner.decide.notes import WAIT_MS
from tandem.contracts.events import TicketEvents
from tandem.contracts.inbox import ModelUsage, Noted, TicketNoted
from tandem.contracts.ticket import Cost, SetAside, Status
from tests.unit.decide.world import PACK, World

COST = Cost(calls=1, tokens=300, micros=40)


def resolved(**budget: int) -> World:
    world = World(PACK.model_copy(update={"budget": PACK.budget.changed(**budget)}))
    world.say("how do I fork", intent="fork")
    for _ in range(3):
        world.result({"v": "x"})
    assert world.t.status is Status.RESOLVED
    return world


def noted(world: World, **fields: Any) -> TicketNoted:
    fact = Noted(name="region", value="Frankfurt", ticket=world.t.id, message="m1", at=1, until=9)
    id_ = world.t.notes.id if world.t.notes else "n1"
    about = {"tenant": "acme", "conversation": world.t.conversation, "ticket": world.t.id, "id": id_}
    usage = ModelUsage(models=("m",), calls=1)
    said = {"summary": "It forks.", "facts": (fact,), "cost": COST, "prompt": "memory.note@1-ab", "usage": usage}
    return TicketNoted.model_validate({**about, **said, **fields})


def test_it_is_paid_once_and_stands_in_the_events() -> None:
    world = resolved()
    before, notes = world.t, noted(world)
    for _ in range(2):
        world.feed(notes)
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


def told(world: World) -> SetAside | None:
    """What memory is told that it may spend, by the last events."""
    last: TicketEvents = world.messages("ticket.events")[-1]
    return last.notes


@pytest.mark.parametrize(("calls", "set_aside"), [(80, 4), (5, 2), (3, None)])
def test_what_notes_may_cost_is_set_aside_of_what_is_left(calls: int, set_aside: int | None) -> None:
    world = resolved(calls=calls)
    spent = world.t.budget.spent
    assert told(world) == world.t.notes
    assert (world.t.notes.cost.calls if world.t.notes else None) == set_aside
    assert world.t.budget.reserved == (world.t.notes.cost if world.t.notes else Cost())
    world.feed(noted(world))
    assert (world.t.notes, told(world)) == (None, None)
    assert (world.t.budget.reserved, world.t.budget.spent) == (Cost(), spent + COST)


def test_a_ticket_that_goes_on_leaves_the_notes_what_was_set_aside() -> None:
    world = resolved(calls=5)
    world.say("and again", intent="fork")
    assert world.t.outcome == "budget"
    assert world.t.status is Status.HANDED_OVER
    assert (world.t.budget.spent + world.t.budget.reserved).calls == 5


def test_notes_that_do_not_come_are_not_waited_for_and_late_ones_are_paid_all_the_same() -> None:
    world = resolved()
    late, before = noted(world), world.t.budget.spent
    world.now += WAIT_MS
    world.say("thank you", route={"sentiment": "positive"})
    assert (world.t.status, world.t.outcome) == (Status.RESOLVED, "confirmed")
    assert (world.t.notes, world.t.budget.reserved) == (None, Cost())
    world.feed(late)
    assert (world.t.budget.reserved, world.t.budget.spent) == (Cost(), before + COST)
