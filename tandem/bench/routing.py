"""`tandem bench routing`: what messages are about, by a trained intent model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tandem.bench.routing_data import Texts, embedded, read_texts
from tandem.brains import intents
from tandem.brains.intents import Guess, IntentModel
from tandem.brains.learning.intents import Messages, train
from tandem.brains.values import Embed

RECIPE = "3"
"""Changes with the code that trains."""

TIMED = 200
"""Messages whose cost is measured, the encoder's included."""

Say = Callable[[str], None]


def measure(data: Path, split: str, given: Path | None, cache: Path, embed: Embed, say: Say) -> dict[str, Any]:
    """The figures of one split. A false rejection is an error. Raises InvalidSettings, InvalidPack."""
    texts = read_texts(data, split)
    model = (
        intents.load(given)
        if given is not None
        else _trained(data, "train" if split == "dev" else "all", cache, embed, say)
    )
    inside = _guesses(model, texts.texts, embed, cache)
    outside = _guesses(model, texts.outside, embed, cache) if texts.outside else []
    hits = [
        guess.intents[0][0] == label and not guess.rejected for guess, label in zip(inside, texts.labels, strict=True)
    ]
    return {
        "dataset": data.name,
        "split": split,
        "messages": len(hits),
        "accuracy": _rate(hits),
        "oos_messages": len(outside),
        "oos_recall": _rate([guess.rejected for guess in outside]) if outside else None,
        "false_oos_rate": _rate([guess.rejected for guess in inside]),
        "cpu_ms_per_message": _cost(model, texts, embed),
        "items": {"accuracy": [int(hit) for hit in hits], "oos_recall": [int(guess.rejected) for guess in outside]},
    }


def _trained(data: Path, part: str, cache: Path, embed: Embed, say: Say) -> IntentModel:
    texts = read_texts(data, part)
    digest = hashlib.blake2b(RECIPE.encode(), digest_size=8)
    digest.update("\n".join((*texts.texts, *texts.labels, *texts.outside)).encode())
    folder = cache / f"{data.name}-{digest.hexdigest()}"
    if (folder / intents.WORDS).exists():
        say(f"models of {folder}")
        return intents.load(folder)
    say(f"training on {data}; the models are kept in {folder}")
    foreign = embedded(texts.outside, embed, cache) if texts.outside else None
    messages = Messages(texts.texts, texts.labels, embedded(texts.texts, embed, cache), texts.outside, foreign)
    intents.save(folder, train(messages, datetime.now(UTC).date(), say))
    return intents.load(folder)


def _guesses(model: IntentModel, texts: tuple[str, ...], embed: Embed, cache: Path) -> list[Guess]:
    vectors = embedded(texts, embed, cache)
    return [model.guess(text, vector) for text, vector in zip(texts, vectors, strict=True)]


def _cost(model: IntentModel, texts: Texts, embed: Embed) -> float:
    chosen = texts.texts[:: max(1, len(texts.texts) // TIMED)][:TIMED]
    began = time.process_time()
    for text in chosen:
        model.guess(text, embed([text])[0])
    return round((time.process_time() - began) * 1000 / len(chosen), 2)


def _rate(hits: list[bool]) -> float:
    return round(float(np.mean(hits)), 4)
