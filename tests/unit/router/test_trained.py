"""A pack whose intents were trained is routed by them; one whose models cannot be read, by its examples."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from services.router.reading import Reader
from services.router.trained import as_verdict
from tandem.brains import intents
from tandem.brains.background import OFF_TOPIC, VAGUE, VAGUE_INTENT
from tandem.brains.intents import Guess
from tandem.brains.learning.intents import Messages, train
from tests.unit.router.desk import SENT_AT, SetClock, WordLlm, pack

SAID = {
    "refund": ("please send the payment back for order", "i was charged twice for basket"),
    "delivery": ("the courier never came with box", "where did you leave crate"),
    "opening_hours": ("are you open on day", "when does the branch close on date"),
}


class Embedded(WordLlm):
    """Words to vectors of length 1, as the models want them."""

    async def embed(self, texts, deadline=5.0):
        found = await super().embed(texts, deadline)
        return found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-9)


async def trained_pack(root: Path):
    said = [(f"{text} {at}", label) for label, texts in SAID.items() for text in texts for at in range(30)]
    said += [(text, VAGUE_INTENT) for text in VAGUE["en"]]
    texts, labels = zip(*said, strict=True)
    outside = OFF_TOPIC["en"]
    llm = Embedded()
    messages = Messages(texts, labels, await llm.embed(texts), outside, await llm.embed(outside))
    intents.save(root / "models", train(messages, date(2026, 1, 2), lambda _: None))
    return pack(root=str(root), hash=root.name)


@pytest.mark.asyncio
async def test_a_trained_model_routes(tmp_path):
    llm = Embedded()
    reader = Reader(await trained_pack(tmp_path), lambda: llm, SetClock())
    route = (await reader.read("the courier never came with box nineteen", SENT_AT)).route
    assert (route.intent, route.rung) == ("delivery", "small")
    assert route.confidence >= pack().thresholds.intent
    assert llm.batches == [1], "the examples need not be embedded"
    assert all(candidate.intent in pack().intents for candidate in route.candidates)


@pytest.mark.asyncio
async def test_a_vague_message_is_not_sure(tmp_path):
    reader = Reader(await trained_pack(tmp_path), Embedded, SetClock())
    route = (await reader.read("it does not work", SENT_AT)).route
    assert route.confidence <= 0.3


@pytest.mark.asyncio
async def test_models_that_cannot_be_read_leave_the_examples(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "intents.json").write_text("{}", encoding="utf-8")
    reader = Reader(pack(root=str(tmp_path), hash="broken"), WordLlm, SetClock())
    assert (await reader.read("please refund the order", SENT_AT)).route.intent == "refund"


@pytest.mark.parametrize(
    ("guess", "first", "outside"),
    [
        (Guess((("a", 0.7), ("b", 0.3)), 0.9, 0.1, False), ("a", 0.9), 0.01),
        (Guess((("a", 0.7), ("b", 0.3)), 0.6, 0.8, True), ("a", 0.2), 0.8),
        (Guess(((VAGUE_INTENT, 0.9), ("b", 0.1)), 0.8, 0.1, False), ("b", 0.18), 0.02),
    ],
)
def test_a_guess_as_a_verdict(guess, first, outside):
    found = as_verdict(guess)
    assert found.candidates[0] == (first[0], pytest.approx(first[1]))
    assert found.out_of_scope == pytest.approx(outside)
    assert sum(share for _, share in found.candidates) + found.out_of_scope <= 1 + 1e-9
