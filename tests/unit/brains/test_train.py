"""Trained on a few dialogues, saved and loaded, the models do what was recorded."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from tandem.brains import artefact
from tandem.brains.brains import Brains
from tandem.brains.learning.boosting import boost, boost_rare
from tandem.brains.learning.train import data_hash, train
from tandem.brains.trees import Trees
from tandem.brains.values import Api, Procedure, Situation, Step, Turn
from tandem.errors import InvalidPack
from tests.unit.brains.recorded import PARCEL, SKY, dialogues, embed

TODAY = date(2026, 1, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("models")
    trained = train(dialogues(120), [PARCEL, SKY], embed, TODAY, lambda text: None)
    artefact.save(target, trained.brains, trained.steps)
    return target


@pytest.fixture(scope="module")
def brains(folder: Path) -> Brains:
    return artefact.load(folder, [PARCEL, SKY], embed)


def test_the_models_say_what_they_were_made_of(brains: Brains) -> None:
    assert brains.facts["date"] == "2026-01-02"
    assert brains.facts["data"] == data_hash(dialogues(120))
    assert brains.facts["procedures"] == ["parcel_book", "sky_look"]


@pytest.mark.parametrize(("number", "expected"), [(0, "sky_look"), (1, "parcel_book")])
def test_every_step_of_a_dialogue_is_decided_as_recorded(brains: Brains, number: int, expected: str) -> None:
    for moment in dialogues(number + 1)[-3:]:
        decision = brains.decide(moment.situation)
        assert (decision.task, decision.step) == (expected, moment.step)
        assert 0.5 < decision.confidence <= 1
    assert brains.route(Situation((Turn("customer", "I want to send a parcel"),)))[0][0] == "parcel_book"


def test_a_call_gets_the_value_that_the_customer_named(brains: Brains) -> None:
    situation = Situation(
        (
            Turn("customer", "how is the sky"),
            Turn("agent", SKY.steps[1].text, "sky_ask_city"),
            Turn("customer", "Rome please"),
        )
    )
    assert brains.decide(situation).params == {"City": "Rome"}
    assert brains.extractor.fill(situation, SKY.api, ["City"]) == {"City": "Rome"}


def test_a_text_is_filled_from_the_last_return(brains: Brains) -> None:
    last = dialogues(2)[-1]
    assert brains.decide(last.situation).text == "The parcel is fetched on Monday."


def test_a_procedure_that_was_never_seen_is_ranked_by_its_texts(folder: Path) -> None:
    """Dropped in as data, with no dialogue of it."""
    steps = (
        Step("piano_ask_key", "ask", "Which key of the piano is broken?"),
        Step("piano_fix", "call", "", "piano_fix"),
    )
    scope = "Sorry? I can only mend a broken piano."
    piano = Procedure("piano_fix", steps, {"piano_ask_key": "query"}, Api("piano_fix", ()), scope)
    brains = artefact.load(folder, [PARCEL, SKY, piano], embed)
    seen = brains.look(Situation((Turn("customer", "my piano is broken mend it"),)))
    assert "piano_fix" not in seen.tasks
    assert {one.step.name for one in brains.policy.rank(seen)} == {"piano_ask_key", "piano_fix"}


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPack, match="tandem pack train"):
        artefact.load(tmp_path, [PARCEL], embed)


def test_trees_without_lightgbm_say_the_same() -> None:
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(2_000, 4)).astype(np.float32)
    rows[chance.random(rows.shape) < 0.2] = np.nan
    wanted = np.nan_to_num(rows[:, 0], nan=0.3) + np.nan_to_num(rows[:, 1]) > 0
    options = {"objective": "binary", "num_leaves": 8, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, wanted.astype(np.int8)), 20)
    trees = Trees.of_arrays(Trees.of_lightgbm(booster.dump_model()).arrays("t"), "t")
    np.testing.assert_allclose(trees.predict(rows), booster.predict(rows, raw_score=True), atol=1e-9)


def test_rare_rows_are_ranked_first_and_the_mean_of_trees_is_that_of_their_sums() -> None:
    chance = np.random.default_rng(2)
    rows = chance.normal(size=(4_000, 5)).astype(np.float32)
    rare = rows[:, 0] + rows[:, 1] > 3.2
    assert 0 < rare.mean() < 0.03
    several = [boost(rows[:, : 2 + extra], rare, rounds=10 + extra, leaves=4) for extra in range(3)]
    mean = np.mean([one.predict(rows) for one in several], axis=0)
    np.testing.assert_allclose(Trees.mean(several).predict(rows), mean, atol=1e-9)
    found = boost_rare(rows, rare, rounds=60, leaves=7, rate=0.1).predict(rows)
    assert rare[np.argsort(-found)[: rare.sum() // 2]].mean() > 0.9
