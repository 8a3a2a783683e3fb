"""What the rankers are told of a moment."""

from __future__ import annotations

import numpy as np
import pytest

from tandem.brains.compiled import compile_procedures
from tandem.brains.rank_features import against_call
from tandem.brains.state import State
from tandem.brains.values import Situation, Turn
from tests.unit.brains.recorded import SKY, embed


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((), [0.0, 0.0]),
        (("thanks",), [0.0, 0.0]),
        (("Rome, as I said",), [0.0, 0.0]),
        (("and in Lima?",), [1.0, 1.0]),
        (("and in Lima?", "please"), [1.0, 1.0]),
    ],
)
def test_what_another_call_would_be_made_with_is_counted(said: tuple[str, ...], expected: list[float]) -> None:
    called = Turn("call", api="sky_look", params={"City": '"Rome"'})
    turns = (Turn("customer", "Lima"), called, Turn("return", item={"Sky": "blue"}))
    (sky,) = compile_procedures([SKY], embed)
    after = State(Situation((*turns, *(Turn("customer", text) for text in said))))
    assert against_call(after, sky) == expected
    assert np.isnan(against_call(State(Situation(turns[:1])), sky)).all()
