"""Trains an intent model: a squared-hinge separator an intent, then, on messages held out, what its doubts are worth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from tandem.brains.intents import VECTOR_WEIGHT, Floats, IntentModel, logistic, row_of, signs_of, terms
from tandem.brains.values import Vectors

Say = Callable[[str], None]
Row = tuple[NDArray[np.int64], Floats]

ROUNDS = 12
BATCH = 64
RATE = 0.1
TERMS = 60_000
HELD_OUT = 5
FALSE_REJECTIONS = 0.01
"""Of the messages held out, in scope; the goal is 2 %, and on others it is nearly twice as many as on these."""

UNKNOWN = (0.0,) * 5 + (-30.0,)


@dataclass(frozen=True)
class Messages:
    """What to learn from; `outside`: vectors and texts of messages that no intent means."""

    texts: Sequence[str]
    labels: Sequence[str]
    vectors: Vectors
    outside: Sequence[str] = ()
    outside_vectors: Vectors | None = None


def train(messages: Messages, today: date, say: Say, seed: int = 7) -> IntentModel:
    """A fifth of the messages is held out to calibrate; then all are learnt from."""
    order = np.random.default_rng(seed).permutation(len(messages.texts))
    held, rest = order[: len(order) // HELD_OUT], order[len(order) // HELD_OUT :]
    say("training, a fifth held out")
    part = _fit(messages, rest, seed)
    right, outside, threshold, figures = _calibrate(part, messages, held)
    say(f"held out: {figures}; training on all")
    facts = {"date": today.isoformat(), "messages": len(order), "held_out": figures}
    return replace(_fit(messages, order, seed), right=right, outside=outside, threshold=threshold, facts=facts)


def _fit(messages: Messages, chosen: NDArray[np.int64], seed: int) -> IntentModel:
    texts = [messages.texts[at] for at in chosen]
    labels = tuple(sorted(set(messages.labels)))
    place = {label: at for at, label in enumerate(labels)}
    wanted = np.array([place[messages.labels[at]] for at in chosen])
    vocabulary = _vocabulary(texts)
    vectors = messages.vectors[chosen]
    rows = [row_of(text, vocabulary) for text in texts]
    weights = _descend(rows, vectors * VECTOR_WEIGHT, wanted, len(vocabulary), len(labels), seed)
    return IntentModel(vocabulary, labels, weights, vectors, wanted.astype(np.int16), UNKNOWN, UNKNOWN, 1.0)


def _vocabulary(texts: Sequence[str]) -> dict[str, tuple[int, float]]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({term for group in terms(text) for term in group})
    least = 2 if len(texts) > 1_000 else 1
    kept = [(term, count) for term, count in counts.most_common(TERMS) if count >= least]
    return {term: (at, math.log((1 + len(texts)) / (1 + count)) + 1.0) for at, (term, count) in enumerate(kept)}


def _descend(
    rows: Sequence[Row], vectors: Vectors, wanted: NDArray[np.int64], terms_known: int, classes: int, seed: int
) -> Floats:
    """AdaGrad touches only the rows of a batch's own terms, so a step costs what the batch has, not the vocabulary."""
    random = np.random.default_rng(seed)
    weights = np.zeros((terms_known + vectors.shape[1] + 1, classes), np.float32)
    seen = np.full_like(weights, 1e-3)
    tail = np.arange(terms_known, len(weights))
    for turn in range(ROUNDS):
        rate = RATE * (1 - turn / ROUNDS)
        order = random.permutation(len(rows))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            columns, dense = _dense([rows[at] for at in batch])
            touched = np.concatenate([columns, tail])
            x = np.column_stack((dense, vectors[batch], np.ones(len(batch), np.float32)))
            here = weights[touched]
            sign = np.full((len(batch), classes), -1.0, np.float32)
            sign[np.arange(len(batch)), wanted[batch]] = 1.0
            slope = x.T @ (-sign * np.maximum(0.0, 1.0 - sign * (x @ here))) / len(batch)
            sums = seen[touched] + slope * slope
            seen[touched] = sums
            weights[touched] = here - rate * slope / np.sqrt(sums)
    return weights


def _dense(rows: Sequence[Row]) -> tuple[NDArray[np.int64], Floats]:
    """The columns that occur in these rows, and the rows over them alone."""
    columns, places = np.unique(np.concatenate([at for at, _ in rows]), return_inverse=True)
    dense = np.zeros((len(rows), len(columns)), np.float32)
    number = np.repeat(np.arange(len(rows)), [len(at) for at, _ in rows])
    dense[number, places] = np.concatenate([values for _, values in rows])
    return columns, dense


def _calibrate(
    model: IntentModel, messages: Messages, held: NDArray[np.int64]
) -> tuple[tuple[float, ...], tuple[float, ...], float, Mapping[str, float]]:
    inside = [_look(model, messages.texts[at], messages.vectors[at]) for at in held]
    right = np.array([model.labels[best] == messages.labels[at] for (best, _), at in zip(inside, held, strict=True)])
    known = np.array([signs for _, signs in inside])
    sure = _logistic(known, right.astype(float))
    figures = {"accuracy": round(float(right.mean()), 4)}
    if messages.outside_vectors is None or not messages.outside:
        return sure, UNKNOWN, 1.0, figures
    pairs = zip(messages.outside, messages.outside_vectors, strict=True)
    foreign = np.array([_look(model, text, vector)[1] for text, vector in pairs])
    truth = np.concatenate([np.zeros(len(known)), np.ones(len(foreign))])
    out = _logistic(np.concatenate([known, foreign]), truth)
    own = [logistic(out, tuple(signs)) for signs in known]
    threshold = float(np.quantile(own, 1 - FALSE_REJECTIONS))
    caught = float(np.mean([logistic(out, tuple(signs)) > threshold for signs in foreign]))
    return sure, out, threshold, {**figures, "outside_recall": round(caught, 4)}


def _look(model: IntentModel, text: str, vector: Vectors) -> tuple[int, tuple[float, ...]]:
    scores = model.scores(text, vector)
    best = int(scores.argmax())
    return best, signs_of(scores, *model.nearness(vector, best))


def _logistic(signs: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float, ...]:
    """By Newton's steps, with a little ridge."""
    middle, spread = signs.mean(axis=0), signs.std(axis=0) + 1e-6
    x = np.column_stack(((signs - middle) / spread, np.ones(len(signs))))
    weights = np.zeros(x.shape[1])
    for _ in range(20):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        curve = (x * (p * (1 - p))[:, None]).T @ x + np.eye(len(weights))
        weights -= np.linalg.solve(curve, x.T @ (p - truth) + weights)
    slopes = weights[:-1] / spread
    return (*(float(slope) for slope in slopes), float(weights[-1] - slopes @ middle))
