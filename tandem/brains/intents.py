"""What a message is about: a linear model over words, pieces of words and the sentence's vector, and how far to believe it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.brains.values import Vectors
from tandem.errors import InvalidPack
from tandem.text import words

VERSION = 2
NUMBERS = "intents.npz"
WORDS = "intents.json"
VECTOR_WEIGHT = 2.0
SIZES = (3, 4, 5)
NEAREST = 5
VOTERS, VOTE = 10, 1.0
"""Known messages that vote with the separators, and what all of them together can add; by cross-validation on BANKING77."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Guess:
    """Intents with their share, best first; how likely the first is right, and that none is meant."""

    intents: tuple[tuple[str, float], ...]
    confidence: float
    outside: float
    rejected: bool  # `outside` is over the threshold that was set for few false rejections


@dataclass(frozen=True)
class IntentModel:
    """Trained by `tandem.brains.learning.intents`. `weights`: a row a term, then of the vector, then the bias."""

    vocabulary: Mapping[str, tuple[int, float]]  # term: row, inverse document frequency
    labels: tuple[str, ...]
    weights: Floats
    neighbours: Vectors  # of the training messages
    neighbour_labels: NDArray[np.int16]
    right: tuple[float, ...]  # logistic weights over `signs`
    outside: tuple[float, ...]
    threshold: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def guess(self, text: str, vector: Vectors, most: int = 5) -> Guess:
        """`vector`: of the text, of length 1."""
        scores = self.scores(text, vector)
        signs = signs_of(scores, *self.nearness(vector, int(scores.argmax())))
        outside = logistic(self.outside, signs)
        order = np.argsort(-scores)[:most]
        shares = _shares(scores)
        intents = tuple((self.labels[at], float(shares[at])) for at in order)
        return Guess(intents, logistic(self.right, signs), outside, outside > self.threshold)

    def scores(self, text: str, vector: Vectors) -> Floats:
        rows, values = row_of(text, self.vocabulary)
        first = len(self.vocabulary)
        said = values @ self.weights[rows]
        meant = (VECTOR_WEIGHT * vector) @ self.weights[first:-1]
        return np.asarray(said + meant + self.weights[-1] + self._votes(vector), np.float32)

    def _votes(self, vector: Vectors) -> Floats:
        """The nearest known messages, each for its label; one that is but a little like it hardly counts."""
        like = self.neighbours @ vector
        at = np.argpartition(-like, min(VOTERS, len(like) - 1))[:VOTERS]
        votes = np.zeros(len(self.labels), np.float32)
        np.add.at(votes, self.neighbour_labels[at], VOTE / VOTERS * np.maximum(0.0, like[at]) ** 4)
        return votes

    def nearness(self, vector: Vectors, label: int) -> tuple[float, float]:
        """Of the training messages: how like the nearest ones are, and which part of them has this label."""
        like = self.neighbours @ vector
        at = np.argpartition(-like, min(NEAREST, len(like) - 1))[:NEAREST]
        return float(like[at].mean()), float((self.neighbour_labels[at] == label).mean())


def terms(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Words with pairs of words, and pieces of words: each with how often it occurs, damped."""
    found = words(text)
    whole = [*found, *(f"{a} {b}" for a, b in pairwise(["^", *found, "$"]))]
    pieces = [
        f"#{padded[at : at + size]}"
        for padded in (f" {word} " for word in found)
        for size in SIZES
        for at in range(max(1, len(padded) - size + 1))
    ]
    return _damped(whole), _damped(pieces)


def row_of(text: str, vocabulary: Mapping[str, tuple[int, float]]) -> tuple[NDArray[np.int64], Floats]:
    """Places and weights of the known terms; words and pieces have length 1 each."""
    rows: list[int] = []
    values: list[float] = []
    for group in terms(text):
        known = [(vocabulary[term], weight) for term, weight in group.items() if term in vocabulary]
        weighted = [idf * weight for (_, idf), weight in known]
        norm = math.sqrt(sum(value * value for value in weighted)) or 1.0
        rows += [row for (row, _), _ in known]
        values += [value / norm for value in weighted]
    return np.array(rows, np.int64), np.array(values, np.float32)


def signs_of(scores: Floats, like: float, agreeing: float) -> tuple[float, ...]:
    """What tells a sure guess from a doubtful one: best score, lead, entropy, and the nearest known messages."""
    second, best = np.partition(scores, -2)[-2:] if len(scores) > 1 else (-1.0, scores[0])
    shares = _shares(scores)
    entropy = float(-(shares * np.log(shares + 1e-9)).sum())
    return float(best), float(best - second), entropy, like, agreeing


def logistic(weights: tuple[float, ...], signs: tuple[float, ...]) -> float:
    x = weights[-1] + sum(w * sign for w, sign in zip(weights, signs, strict=False))
    return 1.0 / (1.0 + math.exp(-min(max(x, -30.0), 30.0)))


def save(folder: Path, model: IntentModel) -> None:
    """Write the model; the JSON last, so that no reader sees half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / NUMBERS,
        weights=model.weights.astype(np.float16),
        neighbours=model.neighbours.astype(np.float16),
        neighbour_labels=model.neighbour_labels,
    )
    body = {
        "version": VERSION,
        "vocabulary": model.vocabulary,
        "labels": model.labels,
        "right": model.right,
        "outside": model.outside,
        "threshold": model.threshold,
        "facts": model.facts,
    }
    draft = folder / f".{WORDS}"
    draft.write_text(json.dumps(body), encoding="utf-8")
    draft.rename(folder / WORDS)


def load(folder: Path) -> IntentModel:
    """Raises InvalidPack."""
    try:
        body: dict[str, Any] = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        with np.load(folder / NUMBERS) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        wrong = f"no intents can be read from {folder} ({error}): run `tandem pack train`"
        raise InvalidPack(folder.name, [wrong]) from error
    if body["version"] != VERSION:
        raise InvalidPack(folder.name, [f"intents of version {body['version']}, not {VERSION}: train them again"])
    return IntentModel(
        vocabulary={term: (row, idf) for term, (row, idf) in body["vocabulary"].items()},
        labels=tuple(body["labels"]),
        weights=arrays["weights"].astype(np.float32),
        neighbours=arrays["neighbours"].astype(np.float32),
        neighbour_labels=arrays["neighbour_labels"],
        right=tuple(body["right"]),
        outside=tuple(body["outside"]),
        threshold=body["threshold"],
        facts=body["facts"],
    )


def _shares(scores: Floats) -> Floats:
    raised = np.exp(4.0 * (scores - scores.max()))
    shares: Floats = raised / raised.sum()
    return shares


def _damped(found: list[str]) -> dict[str, float]:
    counts: dict[str, int] = {}
    for term in found:
        counts[term] = counts.get(term, 0) + 1
    return {term: 1.0 + math.log(count) for term, count in counts.items()}
