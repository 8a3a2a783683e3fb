"""An intent model learns what separates intents, keeps that in files, and rejects what it was shown as foreign."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from tandem.brains import intents
from tandem.brains.learning.intents import Messages, train
from tandem.errors import InvalidPack

SAID = {
    "card": "my card has not arrived number",
    "refund": "please give me a refund for order",
    "login": "i cannot log in",
}
FOREIGN = [f"tell me a joke about a penguin {at}" for at in range(30)]


def vectors(texts):
    """A direction for each kind of message, with a little noise."""
    kinds = [next((at for at, said in enumerate(SAID.values()) if text.startswith(said)), 3) for text in texts]
    found = np.eye(4, 8)[kinds] + np.random.default_rng(1).normal(0, 0.05, (len(texts), 8))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    texts = [f"{said} {at}" for said in SAID.values() for at in range(40)]
    labels = [label for label in SAID for _ in range(40)]
    messages = Messages(texts, labels, vectors(texts), FOREIGN, vectors(FOREIGN))
    return train(messages, date(2026, 1, 2), lambda _: None)


@pytest.mark.parametrize("label", SAID)
def test_what_was_learnt_is_known(model, label):
    text = f"{SAID[label]} 99"
    guess = model.guess(text, vectors([text])[0])
    assert guess.intents[0][0] == label
    assert not guess.rejected


def test_what_is_foreign_is_rejected(model):
    text = "tell me a joke about a cat"
    guess = model.guess(text, vectors([text])[0])
    assert guess.rejected
    assert guess.outside > 0.5


def test_a_model_is_the_same_after_it_was_kept(model, tmp_path):
    intents.save(tmp_path, model)
    text = f"{SAID['card']} 7"
    vector = vectors([text])[0]
    kept, made = (one.guess(text, vector) for one in (intents.load(tmp_path), model))
    assert kept.intents[0][0] == made.intents[0][0]
    assert kept.confidence == pytest.approx(made.confidence, abs=0.01)
    assert intents.load(tmp_path).facts == model.facts


def test_without_files_the_error_says_what_to_do(tmp_path):
    with pytest.raises(InvalidPack, match="tandem pack train"):
        intents.load(tmp_path)
