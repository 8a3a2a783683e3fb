"""Training of the rejector, from moments scored by models of other dialogues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Compiled, Floats
from tandem.brains.learning.boosting import boost_rare
from tandem.brains.learning.first_stage import PARTS, FirstStage
from tandem.brains.learning.moments import Moments
from tandem.brains.rejection import OUT_OF_SCOPE, Lexicon, Rejector, grams, nearness, signs, wording
from tandem.brains.state import words
from tandem.brains.trees import Trees

FALSE_REJECTS = 0.007
"""Share of all moments at which a rejection may be wrong, judged by rejectors of other dialogues. The one that is kept knows
all of them and is a little stricter: 0.6 % is what is aimed at."""

FEW = 10
"""Recorded rejections below which none is made."""

COMPARED = 4_000
"""Messages that were not rejected and are kept to compare with."""

LEAST = 5
ROUNDS, LEAVES, RATE = 400, 7, 0.04

SPREAD = 1e-3
"""Added to each dimension's variance."""


def fit(
    moments: Moments, first: FirstStage, procedures: Sequence[Compiled]
) -> tuple[Rejector | None, dict[str, float]]:
    """The rejector and its recall on moments held out; None if too few rejections are recorded."""
    rejected = np.array([label == OUT_OF_SCOPE for label in moments.labels])
    spoken = np.array([state.last == "customer" for state in moments.states])
    bad = np.flatnonzero(rejected & spoken)
    if len(bad) < FEW or rejected.all():
        return None, {}
    good = np.random.default_rng(0).permutation(np.flatnonzero(~rejected & spoken))[:COMPARED]
    at = np.flatnonzero(spoken)
    rows = _rows(moments, first, procedures, at, (bad, good))
    right, parts = rejected[at], (moments.dialogues % PARTS)[at]
    held = np.zeros(len(at))
    for part in range(PARTS):
        out = parts == part
        if out.any() and right[~out].any():
            held[out] = _boost(rows[~out], right[~out]).predict(rows[out])
    odds, recall = _threshold(held, right, int((~rejected).sum()))
    kept = _direction(moments.latest[at], right), moments.latest[bad], moments.latest[good]
    rejector = Rejector(_counted(moments, at), *kept, _boost(rows, right), float(1 / (1 + np.exp(-odds))))
    return rejector, {"reject_recall": round(recall, 4), "rejections": float(right.sum())}


def _boost(rows: Floats, right: NDArray[np.bool_]) -> Trees:
    return boost_rare(rows, right, ROUNDS, LEAVES, RATE)


def _threshold(held: NDArray[np.float64], right: NDArray[np.bool_], others: int) -> tuple[float, float]:
    """The log odds above which so few of all other moments are, and the share of rejections above it."""
    wrong = np.sort(held[~right])[::-1]
    odds = float(wrong[min(len(wrong) - 1, int(FALSE_REJECTS * others))])
    return odds, float((held[right] > odds).mean())


def _rows(
    moments: Moments,
    first: FirstStage,
    procedures: Sequence[Compiled],
    at: NDArray[np.int64],
    compared: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Floats:
    """What is counted and compared for a moment comes from other dialogues."""
    parts = (moments.dialogues % PARTS)[at]
    rejected = np.isin(at, compared[0])
    counted = [_counted(moments, at[parts != part]) for part in range(PARTS)]
    along = [_direction(moments.latest[at[parts != part]], rejected[parts != part]) for part in range(PARTS)]
    known = [(moments.dialogues[others], moments.latest[others]) for others in compared]
    rows = []
    for place, part in zip(at, parts, strict=True):
        seen = first.look(moments, first.seen, int(place))
        near = [(vectors @ seen.latest)[dialogues != moments.dialogues[place]] for dialogues, vectors in known]
        own = [*signs(seen, procedures), *wording(seen.state, counted[part])]
        rows.append([*own, float(along[part] @ seen.latest), *nearness(*near)])
    return np.array(rows, np.float32)


def _direction(vectors: Floats, rejected: NDArray[np.bool_]) -> Floats:
    """That tells rejected messages from others best, if both spread alike."""
    apart = vectors[rejected].mean(axis=0) - vectors[~rejected].mean(axis=0)
    spread = np.cov(vectors, rowvar=False) + SPREAD * np.eye(vectors.shape[1])
    found = np.linalg.solve(spread, apart)
    unit: Floats = (found / np.linalg.norm(found)).astype(np.float32)
    return unit


def _counted(moments: Moments, at: NDArray[np.int64]) -> Lexicon:
    bad, good, plain = Counter[str](), Counter[str](), Counter[str]()
    of_bad = of_good = 0
    for place in at:
        text = moments.states[place].latest
        if moments.labels[place] == OUT_OF_SCOPE:
            bad.update(grams(text))
            of_bad += 1
        else:
            good.update(grams(text))
            plain.update(set(words(text)))
            of_good += 1
    known = {*bad, *(gram for gram, count in good.items() if count >= LEAST)}
    telling = {
        gram: log((bad[gram] + 0.3) / (of_bad + 1)) - log((good[gram] + 1.5) / (of_good + 5)) for gram in sorted(known)
    }
    return Lexicon(telling, {word: log((of_good + 1) / (count + 1)) for word, count in plain.items() if count > 1})
