"""Whose steps a recorded agent took, where the record says otherwise."""

from __future__ import annotations

import pytest

from tandem.brains.learning.moments import Moment, Moments, followed
from tandem.brains.learning.policy import learnt_steps
from tandem.brains.values import Situation
from tests.unit.brains.recorded import PARCEL, SKY, embed

P, S = PARCEL.name, SKY.name
DESKS = [PARCEL, SKY]


def taken(*steps: tuple[str, str], dialogue: int = 1) -> list[Moment]:
    """Steps, each with the procedure that was recorded as active."""
    return [Moment(Situation(()), dialogue, task, "reply", step, {}, "so it is") for task, step in steps]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(P, "hello"), (P, "parcel_ask_day"), (P, "thanks")], [P, P, P]),
        ([(P, "hello"), (P, "sky_ask_city"), (P, "out_of_scope"), (P, "thanks")], [S, S, S, S]),
        ([(P, "parcel_told"), (P, "sky_look"), (P, "hello"), (P, "parcel_told")], [P, S, S, P]),
        ([(P, "sky_told"), (S, "hello"), (P, "hello")], [S, S, P]),
        ([(P, "hello"), (P, "thanks")], [P, P]),
    ],
    ids=["as recorded", "turned from the first", "there and back", "each record by itself", "nothing tells"],
)
def test_the_step_tells_the_procedure(steps: list[tuple[str, str]], expected: list[str]) -> None:
    assert followed(taken(*steps), DESKS) == expected


def test_dialogues_do_not_tell_of_each_other() -> None:
    assert followed([*taken((P, "sky_told")), *taken((P, "hello"), dialogue=2)], DESKS) == [S, P]


def test_another_procedures_steps_are_not_learnt_as_its_own() -> None:
    recorded = taken(*[(P, "parcel_told"), (P, "thanks"), (P, "sky_told")] * 5)
    assert {task: [step.name for step in steps] for task, steps in learnt_steps(recorded, DESKS).items()} == {
        P: ["thanks"]
    }


def test_a_dialogue_touches_what_it_was_recorded_as_and_what_it_was() -> None:
    moments = Moments([*taken((P, "sky_told")), *taken((P, "hello"), dialogue=2)], DESKS, embed)
    assert moments.touches([P]).tolist() == [True, True]
    assert moments.touches([S]).tolist() == [True, False]
