from __future__ import annotations

import numpy as np
import pytest

from services.router.calibration import Logistic, fit
from services.router.similarity import TextIndex, piece_features, word_features

PRIOR = Logistic((4.0, -2.0))


def test_without_examples_the_prior_speaks():
    assert fit(PRIOR, np.zeros((0, 1)), np.zeros(0)) is PRIOR
    assert fit(PRIOR, np.ones((3, 1)), np.ones(3)) is PRIOR


def test_probabilities_follow_the_examples():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (2_000, 1))
    truth = (rng.uniform(0, 1, 2_000) < 1 / (1 + np.exp(-(10 * x[:, 0] - 6)))).astype(float)
    fitted = fit(PRIOR, x, truth)
    for low in (0.2, 0.4, 0.6, 0.8):
        bucket = (x[:, 0] >= low) & (x[:, 0] < low + 0.1)
        told = np.mean([fitted(value) for value in x[bucket, 0]])
        assert told == pytest.approx(truth[bucket].mean(), abs=0.1)


@pytest.mark.parametrize("features", [word_features, piece_features])
def test_a_text_is_most_like_itself(features):
    texts = ["refund my order", "where is the parcel", "包裹在哪里", "opening hours"]
    index = TextIndex(texts, features)
    for number, text in enumerate(texts):
        similarities = index.similarities(text)
        assert int(similarities.argmax()) == number
        assert similarities[number] == pytest.approx(1.0, abs=1e-5)


def test_pieces_forgive_a_spelling_mistake():
    index = TextIndex(["forgot the password", "where is the parcel"], piece_features)
    first, second = index.similarities("my passwrod")
    assert first > second
