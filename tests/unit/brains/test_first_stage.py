"""What the first, linear stage says of moments whose dialogue, or whose procedure, it never saw."""

from __future__ import annotations

import numpy as np
import pytest

from tandem.bench.star.unseen import among
from tandem.brains.compiled import KINDS, ROLES, compile_procedures
from tandem.brains.learning import first_stage
from tandem.brains.learning.first_stage import FirstStage
from tandem.brains.learning.moments import Moments
from tandem.brains.values import Api, Procedure, Step
from tests.unit.brains.recorded import PARCEL, SKY, dialogues, embed

OWN = ("sky_ask_city", "sky_told", "sky_look")
REPLY, CALL, ASK = (4 * KINDS.index(kind) for kind in ("reply", "call", "ask"))
SUCCESS, FAILURE, NEXT, NEITHER = range(4)


@pytest.fixture(scope="module")
def moments() -> Moments:
    return Moments(dialogues(60), [PARCEL, SKY], embed)


@pytest.fixture(scope="module")
def first(moments: Moments) -> FirstStage:
    return first_stage.fit(moments, compile_procedures([PARCEL, SKY], embed), [[SKY.name]])


def test_a_model_of_other_dialogues_knows_the_step(moments: Moments, first: FirstStage) -> None:
    likeliest = [first.linear.labels[int(row[: len(first.linear.labels)].argmax())] for row in first.seen.scores]
    assert likeliest == moments.labels


def test_what_was_left_out_is_unknown_but_for_its_role(moments: Moments, first: FirstStage) -> None:
    left = first.left[0]
    assert set(moments.active[left.rows]) == {SKY.name}
    for number in range(len(left.rows)):
        seen = first.look(moments, left, number)
        assert SKY.name not in seen.tasks
        assert not set(OWN) & set(seen.labels)
        assert len(seen.scores.roles) == ROLES
        assert not np.isnan(seen.scores.roles).any()
    asked = first.look(moments, left, 0).scores.roles
    assert asked[ASK : ASK + 4].max() > asked[REPLY : REPLY + 4].max()


def test_a_model_without_a_part_is_that_of_the_rest(moments: Moments, first: FirstStage) -> None:
    """The closed form, subtracted, against the same rows solved anew."""
    vocabulary = first_stage._vocabulary(moments)
    rows = first_stage._rows(moments, vocabulary)
    wanted = first_stage._wanted(moments, first.linear.labels, compile_procedures([PARCEL, SKY], embed))
    out = moments.touches([SKY.name])
    less = first_stage._sums(rows, wanted).less(first_stage._sums(rows.some(out), wanted[out]))
    dense = np.hstack([rows.tokens.toarray(), rows.vectors])[~out].astype(np.float64)
    ridge = dense.T @ dense + first_stage.RIDGE * np.eye(dense.shape[1])
    anew = np.linalg.solve(ridge, dense.T @ wanted[~out])
    assert np.abs(first_stage._solve(less) - anew).max() < 1e-3


@pytest.mark.parametrize(
    ("last", "roles"),
    [
        (0, [ASK + NEXT, CALL + NEITHER, REPLY + SUCCESS, REPLY + FAILURE]),
        (1, [ASK + NEITHER, CALL + NEXT, REPLY + SUCCESS, REPLY + FAILURE]),
        (None, [ASK + NEITHER, CALL + NEITHER, REPLY + SUCCESS, REPLY + FAILURE]),
    ],
)
def test_a_step_has_its_role_by_the_graph(last: int | None, roles: list[int]) -> None:
    steps = (
        Step("hello", "close", "Hello!"),
        Step("ask_size", "ask", "Which size?"),
        Step("book", "call", "", "book"),
        Step("told", "reply", "Booked."),
        Step("sorry", "reply", "It is full."),
    )
    edges = {"hello": "ask_size", "ask_size": "query", "query_success": "told", "query_failure": "sorry"}
    one = compile_procedures([Procedure("book", steps, edges, Api("book", ()))], embed)[0]
    assert one.roles(last)[1:].tolist() == roles


@pytest.mark.parametrize(("count", "names"), [(1, ["a"]), (2, ["a", "c"]), (9, ["a", "b", "c", "d"])])
def test_procedures_left_out_are_spread_over_all(count: int, names: list[str]) -> None:
    assert among(["a", "b", "c", "d"], count) == names
