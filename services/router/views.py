"""A view: the examples of one script in one representation, with its calibration.

A message is compared with every example; a class (an intent, VAGUE, OFF_TOPIC) is as near as its nearest example. How sure
that makes us is learnt from the examples themselves, each held out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.router.calibration import Floats, Logistic, fit
from services.router.similarity import Features, TextIndex
from tandem.brains.background import VAGUE_INTENT

Matrix = NDArray[np.float32]

VAGUE = VAGUE_INTENT
OFF_TOPIC = "~off_topic"

DENSE_SHARE = 0.75
"""Of the dense similarity beside the lexical one."""

_COVERED = 0.5
"""An off-topic sentence this near to an intent's example is that pack's business, and no background for it."""

_SPREAD = 0.06
"""Difference of similarity that makes one candidate e times likelier than another."""

CONFIDENCE_PRIOR = Logistic((7.0, 6.0, 6.0, -5.0))
"""Over: the best intent's similarity, its lead over the next, its lead over the background."""

OUT_OF_SCOPE_PRIOR = Logistic((-12.0, 8.0, -6.0, 3.0))
"""Over: the similarity of the best intent, of OFF_TOPIC and of VAGUE."""


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence and its class."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Intents with calibrated probabilities, best first, and that of being out of scope."""

    candidates: tuple[tuple[str, float], ...]
    out_of_scope: float
    nearest: float  # similarity of the best intent


class View:
    """Classifies messages of one script. Immutable once made."""

    def __init__(
        self,
        examples: Sequence[Example],
        features: Features,
        vectors: Matrix | None = None,
        priors: tuple[Logistic, Logistic] = (CONFIDENCE_PRIOR, OUT_OF_SCOPE_PRIOR),
    ) -> None:
        order = sorted(range(len(examples)), key=lambda i: examples[i].label)
        kept = [examples[i] for i in order]
        chosen = None if vectors is None else vectors[order]
        matrix = _matrix(TextIndex([e.text for e in kept], features), kept, chosen)
        keep = _uncovered(kept, matrix)
        kept = [kept[i] for i in keep]
        self._vectors = None if chosen is None else chosen[keep]
        self._index = TextIndex([e.text for e in kept], features)
        self._labels = sorted({example.label for example in kept})
        self._starts = [next(i for i, e in enumerate(kept) if e.label == label) for label in self._labels]
        self._intents = [i for i, label in enumerate(self._labels) if not label.startswith("~")]
        self._background = [self._labels.index(x) if x in self._labels else None for x in (OFF_TOPIC, VAGUE)]
        self._confidence, self._out_of_scope = priors
        if self._intents:
            self._calibrate(kept, matrix[np.ix_(keep, keep)])

    @property
    def has_intents(self) -> bool:
        return bool(self._intents)

    @property
    def dense(self) -> bool:
        return self._vectors is not None

    def classify(self, text: str, vector: Matrix | None = None) -> Verdict:
        """The verdict on one message; `vector` is its unit vector if the view is dense."""
        if not self._intents:
            return Verdict((), 0.0, 0.0)
        similarities = self._index.similarities(text)
        if self._vectors is not None and vector is not None:
            similarities = _blend(self._vectors @ vector, similarities)
        return self._verdict(np.maximum.reduceat(similarities, self._starts))

    def _verdict(self, nearness: Matrix) -> Verdict:
        near = nearness.tolist()
        scores = sorted(((near[i], self._labels[i]) for i in self._intents), reverse=True)
        best, lead, ahead, off, vague = self._features(near)
        confidence = self._confidence(best, lead, ahead)
        out = self._out_of_scope(best, off, vague) * (1 - confidence)
        others = [math.exp((score - best) / _SPREAD) for score, _ in scores[1:]]
        share = (1 - confidence - out) / (sum(others) + math.exp(-ahead / _SPREAD) + 1.0)
        candidates = [(scores[0][1], confidence)]
        candidates += [(label, min(share * p, confidence)) for (_, label), p in zip(scores[1:], others, strict=True)]
        return Verdict(tuple(candidates), out, best)

    def _features(self, near: list[float]) -> tuple[float, float, float, float, float]:
        """Of the best intent: its similarity, its lead over the next and over the background; then the background's own."""
        intents = sorted((near[i] for i in self._intents), reverse=True)
        best, second = intents[0], intents[1] if len(intents) > 1 else 0.0
        off, vague = (near[i] if i is not None else 0.0 for i in self._background)
        return best, best - second, best - max(off, vague), off, vague

    def _calibrate(self, examples: list[Example], matrix: Matrix) -> None:
        """Hold each example out; classes with one example have nothing left to be found by."""
        sizes = {label: sum(e.label == label for e in examples) for label in self._labels}
        np.fill_diagonal(matrix, 0.0)
        confident: list[tuple[float, ...]] = []
        outside: list[tuple[float, ...]] = []
        right: list[float] = []
        off_topic: list[float] = []
        for example, row in zip(examples, matrix, strict=True):
            if sizes[example.label] < 2:
                continue
            near = np.maximum.reduceat(row, self._starts).tolist()
            best, lead, ahead, off, vague = self._features(near)
            top = max(self._intents, key=near.__getitem__)
            confident.append((best, lead, ahead))
            right.append(float(self._labels[top] == example.label))
            outside.append((best, off, vague))
            off_topic.append(float(example.label == OFF_TOPIC))
        self._confidence = _fitted(self._confidence, confident, right)
        self._out_of_scope = _fitted(self._out_of_scope, outside, off_topic)


def _fitted(prior: Logistic, features: list[tuple[float, ...]], truth: list[float]) -> Logistic:
    if not features:
        return prior
    x: Floats = np.asarray(features, dtype=np.float64)
    return fit(prior, x, np.asarray(truth, dtype=np.float64))


def _matrix(index: TextIndex, examples: list[Example], vectors: Matrix | None) -> Matrix:
    lexical = np.stack([index.similarities(e.text) for e in examples]) if examples else np.zeros((0, 0), np.float32)
    return lexical if vectors is None else _blend(vectors @ vectors.T, lexical)


def _blend(dense: Matrix, lexical: Matrix) -> Matrix:
    return (DENSE_SHARE * dense + (1 - DENSE_SHARE) * lexical).astype(np.float32)


def _uncovered(examples: list[Example], matrix: Matrix) -> list[int]:
    """All examples but the off-topic sentences that are a matter of this pack."""
    own = [i for i, e in enumerate(examples) if not e.label.startswith("~")]
    covered = {
        i for i, e in enumerate(examples) if e.label == OFF_TOPIC and own and float(matrix[i, own].max()) >= _COVERED
    }
    return [i for i in range(len(examples)) if i not in covered]
