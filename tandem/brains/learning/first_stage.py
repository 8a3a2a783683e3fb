"""The linear model in closed form: one matrix of products serves the model of all dialogues, those that leave out a part of the
dialogues, and those that leave out a group of procedures, since what is left out is subtracted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Floats
from tandem.brains.habits import Habits
from tandem.brains.learning.moments import Moments
from tandem.brains.linear import VECTOR_WEIGHT, Linear
from tandem.brains.policy import DIMENSIONS
from tandem.brains.rank_features import Seen
from tandem.brains.tokens import tokens

TOKENS = 4_000
RIDGE = 2.0
PARTS = 4
GROUPS = 6


@dataclass(frozen=True)
class Scored:
    """Scores by models that had not seen the dialogue. NaN: a class that the model never saw."""

    rows: NDArray[np.int64]  # of the moments
    scores: Floats
    parts: NDArray[np.int64]  # which of `hidden` was hidden from the model
    hidden: Sequence[Habits]

    def some(self, kept: NDArray[np.bool_]) -> Scored:
        return Scored(self.rows[kept], self.scores[kept], self.parts[kept], self.hidden)


@dataclass(frozen=True)
class FirstStage:
    linear: Linear
    habits: Habits
    seen: Scored  # all moments, by models of the other dialogues
    unseen: Scored  # moments of left-out procedures, and as many others, by models without these procedures

    def look(self, moments: Moments, scored: Scored, number: int) -> Seen:
        """A scored moment, as models see it that do not know its dialogue."""
        at = int(scored.rows[number])
        usual = self.habits.of(moments.alike[at], scored.hidden[scored.parts[number]])
        return moments.seen(at, scored.scores[number], self.linear.labels, usual)


def fit(moments: Moments) -> FirstStage:
    vocabulary = _vocabulary(moments)
    rows = _rows(moments, vocabulary)
    labels = tuple(sorted(set(moments.labels)))
    wanted = _wanted(moments, labels)
    squares, products = rows.T @ rows, rows.T @ wanted
    linear = Linear(vocabulary, labels, tuple(moments.tasks), _solve(squares, products))
    scores = np.empty_like(wanted)
    parts = moments.dialogues % PARTS
    for part in range(PARTS):
        out = parts == part
        scores[out] = rows[out] @ _without(rows, wanted, squares, products, out)[0]
    hidden = [_habits(moments, np.flatnonzero(parts == part)) for part in range(PARTS)]
    seen = Scored(np.arange(len(rows)), scores, parts, hidden)
    unseen = _unseen(moments, rows, wanted, squares, products)
    return FirstStage(linear, _habits(moments, range(len(rows))), seen, unseen)


def _habits(moments: Moments, rows: Iterable[int]) -> Habits:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for at in rows:
        for key in moments.alike[at]:
            counts[key][moments.labels[at]] += 1
    return Habits(counts)


def _unseen(moments: Moments, rows: Floats, wanted: Floats, squares: Floats, products: Floats) -> Scored:
    places: list[NDArray[np.int64]] = []
    scores: list[Floats] = []
    hidden: list[Habits] = []
    for number, group in enumerate(groups(moments.tasks)):
        touched = moments.touches(group)
        others = ~touched & ((moments.dialogues // PARTS) % GROUPS == number)
        weights, counts = _without(rows, wanted, squares, products, touched | others)
        at = np.flatnonzero((touched & np.isin(moments.active, group)) | others)
        found = rows[at] @ weights
        found[:, counts < 0.5] = np.nan
        places.append(at)
        scores.append(found)
        hidden.append(_habits(moments, np.flatnonzero(touched | others)))
    parts = np.repeat(np.arange(len(places)), [len(at) for at in places])
    return Scored(np.concatenate(places), np.concatenate(scores), parts, hidden)


def groups(tasks: Sequence[str]) -> list[list[str]]:
    """The procedures in as many groups as are left out in turn."""
    return [list(tasks[number::GROUPS]) for number in range(min(GROUPS, len(tasks)))]


def _without(
    rows: Floats, wanted: Floats, squares: Floats, products: Floats, out: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Weights of the model without some rows, and how often it saw each class."""
    left = products - rows[out].T @ wanted[out]
    return _solve(squares - rows[out].T @ rows[out], left), left[-1]


def _solve(squares: Floats, products: Floats) -> Floats:
    ridge = squares + RIDGE * np.eye(len(squares), dtype=np.float32)
    solved: Floats = np.linalg.solve(ridge, products).astype(np.float32)
    return solved


def _vocabulary(moments: Moments) -> dict[str, int]:
    counted = Counter(name for state in moments.states for name in tokens(state))
    return {name: at for at, (name, _) in enumerate(counted.most_common(TOKENS))}


def _rows(moments: Moments, vocabulary: dict[str, int]) -> Floats:
    first = len(vocabulary)
    rows = np.zeros((len(moments.states), first + 2 * DIMENSIONS + 1), np.float32)
    for at, state in enumerate(moments.states):
        for name, weight in tokens(state).items():
            place = vocabulary.get(name)
            if place is not None:
                rows[at, place] = weight
    rows[:, first : first + DIMENSIONS] = moments.latest * VECTOR_WEIGHT
    rows[:, first + DIMENSIONS : -1] = moments.mean * VECTOR_WEIGHT
    rows[:, -1] = 1
    return rows


def _wanted(moments: Moments, labels: Sequence[str]) -> Floats:
    wanted = np.zeros((len(moments.states), len(labels) + len(moments.tasks)), np.float32)
    place = {label: at for at, label in enumerate(labels)}
    task = {name: len(labels) + at for at, name in enumerate(moments.tasks)}
    for at, (label, active) in enumerate(zip(moments.labels, moments.active, strict=True)):
        wanted[at, place[label]] = 1
        wanted[at, task[active]] = 1
    return wanted
