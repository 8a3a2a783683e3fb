"""What of a message is the answer to a question about values."""

from __future__ import annotations

import pytest

from services.planner.decide.answers import stated
from tandem.contracts.ticket import TypedValue
from tandem.packs.model import Slot
from tests.unit.decide.world import PACK, World, text, to

SLOTS = {
    "guests": Slot(name="guests", type="integer", ask=text("How many guests?")),
    "nights": Slot(name="nights", type="integer", ask=text("How many nights?")),
    "note": Slot(name="note", free_text=True, ask=text("A note?")),
}


def world(asked: str) -> World:
    flow = PACK.flows["reset"]
    who = flow.nodes["who"].model_copy(update={"slots": (asked,), "text": {}, "next": to("human")})
    flows = {**PACK.flows, "reset": flow.model_copy(update={"nodes": {**flow.nodes, "who": who}})}
    started = World(PACK.model_copy(update={"slots": {**PACK.slots, **SLOTS}, "flows": flows}))
    started.say("reset", "reset")
    return started


@pytest.mark.parametrize(
    ("said", "slot", "expected"),
    [
        ("My name is Kim.", {}, "Kim"),
        ("sure", {}, "sure"),
        ("It was stolen from me on the train and then I walked home in the rain", {}, None),
        ("Hi, this is Kim. I need a table for two people", {"words": 2}, "Kim"),
        ("Of course, it's Kim Lee", {"words": 2}, "Kim Lee"),
        ("Molly, I still have her", {"words": 2}, "Molly"),
        ("My name is Kim and I want to report a theft", {"words": 2}, "Kim"),
        ("Craig and Center", {"words": 3}, "Craig and Center"),
        ("yes", {"words": 2}, ""),
        ("My account is 85731 and my pin is 95", {"within": r"\d{3,}"}, "85731"),
        ("I have lost it", {"within": r"\d{3,}"}, ""),
    ],
)
def test_a_free_answer_is_cut_to_its_value(said: str, slot: dict[str, object], expected: str | None) -> None:
    value = stated(said, Slot.model_validate({"name": "n", "free_text": True, **slot}))
    assert value == (said if expected is None else expected)


def test_a_doubtful_value_counts_only_when_asked_for() -> None:
    def doubtful(slot: str) -> list[TypedValue]:
        return [TypedValue(slot=slot, value=3, text="3", confidence=0.3)]

    asked = world("guests")
    asked.say("3", typed=doubtful("guests"))
    assert asked.t.facts["guests"].value == 3
    other = world("note")
    other.say("3", typed=doubtful("guests"))
    assert "guests" not in other.t.facts


def test_the_one_number_answers_though_another_slot_has_taken_it() -> None:
    asked = world("guests")
    asked.say("4 nights?", typed=[TypedValue(slot="nights", value=4, text="4", confidence=0.9)])
    assert asked.t.facts["guests"].value == 4
