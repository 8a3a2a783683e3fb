"""The linear model in closed form: one matrix of products serves the model of all dialogues, those that leave out a part of the
dialogues, and those that leave out a group of procedures, since what is left out is subtracted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import ROLES, Compiled, Floats
from tandem.brains.habits import Habits
from tandem.brains.learning.moments import Moments
from tandem.brains.linear import VECTOR_WEIGHT, Linear
from tandem.brains.rank_features import Seen, last_place
from tandem.brains.tokens import tokens

TOKENS = 4_000
RIDGE = 2.0
PARTS = 4
GROUPS = 6
HALF = 0.5


@dataclass(frozen=True)
class Rows:
    """One row a moment. Its tokens are a sparse matrix of scipy: few of them are not zero."""

    tokens: Any
    vectors: Floats  # of sentences, and the bias

    def some(self, which: NDArray[Any]) -> Rows:
        return Rows(self.tokens[which], self.vectors[which])

    def times(self, weights: Floats) -> Floats:
        first = self.tokens.shape[1]
        found: Floats = self.tokens @ weights[:first] + self.vectors @ weights[first:]
        return found


@dataclass(frozen=True)
class Sums:
    """Of rows and of what is wanted of them: all that the closed form needs."""

    squares: Floats
    products: Floats

    def less(self, part: Sums) -> Sums:
        return Sums(self.squares - part.squares, self.products - part.products)


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
    unseen: Scored  # moments of left-out procedures, and others, by models without these procedures
    left: Sequence[Scored] = ()  # moments of each group that was left out beside

    def look(self, moments: Moments, scored: Scored, number: int) -> Seen:
        """A scored moment, as models see it that do not know its dialogue."""
        at = int(scored.rows[number])
        usual = self.habits.of(moments.alike[at], scored.hidden[scored.parts[number]])
        return moments.seen(at, scored.scores[number], self.linear.labels, usual)


def fit(moments: Moments, procedures: Sequence[Compiled], leave: Sequence[Sequence[str]] = ()) -> FirstStage:
    """`leave`: groups of procedures that are left out beside the usual ones, to measure how the rankers do on them."""
    vocabulary = _vocabulary(moments)
    rows = _rows(moments, vocabulary)
    labels = tuple(sorted(set(moments.labels)))
    wanted = _wanted(moments, labels, procedures)
    whole = _sums(rows, wanted)
    linear = Linear(vocabulary, labels, tuple(moments.tasks), _solve(whole))
    scores = np.empty_like(wanted)
    parts = moments.dialogues % PARTS
    for part in range(PARTS):
        out = parts == part
        scores[out] = rows.some(out).times(_solve(whole.less(_sums(rows.some(out), wanted[out]))))
    hidden = [_habits(moments, np.flatnonzero(parts == part)) for part in range(PARTS)]
    seen = Scored(np.arange(len(moments.states)), scores, parts, hidden)
    usual = groups(moments.tasks)
    others = (moments.dialogues // PARTS) % len(usual)
    unseen = [_unseen(moments, (rows, wanted, whole), group, others == at) for at, group in enumerate(usual)]
    nothing = np.zeros(len(others), np.bool_)
    left = [_unseen(moments, (rows, wanted, whole), group, nothing) for group in leave]
    return FirstStage(linear, _habits(moments, range(len(others))), seen, _joined(unseen), left)


def _habits(moments: Moments, rows: Iterable[int]) -> Habits:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for at in rows:
        for key in moments.alike[at]:
            counts[key][moments.labels[at]] += 1
    return Habits(counts)


def _unseen(
    moments: Moments, given: tuple[Rows, Floats, Sums], group: Sequence[str], others: NDArray[np.bool_]
) -> Scored:
    """Moments of the group, and others, by a model that saw no dialogue of either."""
    rows, wanted, whole = given
    touched = moments.touches(group)
    out = touched | others
    left = whole.less(_sums(rows.some(out), wanted[out]))
    at = np.flatnonzero(moments.within(group) | (others & ~touched))
    scores = rows.some(at).times(_solve(left))
    scores[:, left.products[-1] < HALF] = np.nan
    scores[:, -ROLES:] = np.nan_to_num(scores[:, -ROLES:])
    return Scored(at, scores, np.zeros(len(at), np.int64), [_habits(moments, np.flatnonzero(out))])


def _joined(found: Sequence[Scored]) -> Scored:
    parts = np.repeat(np.arange(len(found)), [len(one.rows) for one in found])
    rows, scores = np.concatenate([one.rows for one in found]), np.concatenate([one.scores for one in found])
    return Scored(rows, scores, parts, [one.hidden[0] for one in found])


def groups(tasks: Sequence[str]) -> list[list[str]]:
    """The procedures in as many groups as are left out in turn."""
    return [list(tasks[number::GROUPS]) for number in range(min(GROUPS, len(tasks)))]


def _sums(rows: Rows, wanted: Floats) -> Sums:
    tokens, vectors = rows.tokens, rows.vectors
    crossed = tokens.T @ vectors
    squares = np.block([[(tokens.T @ tokens).toarray(), crossed], [crossed.T, vectors.T @ vectors]])
    return Sums(squares, np.concatenate([tokens.T @ wanted, vectors.T @ wanted]))


def _solve(sums: Sums) -> Floats:
    from scipy.linalg import solve

    ridge = sums.squares + RIDGE * np.eye(len(sums.squares), dtype=np.float32)
    solved: Floats = solve(ridge, sums.products, assume_a="pos", overwrite_a=True, check_finite=False)
    return solved


def _vocabulary(moments: Moments) -> dict[str, int]:
    counted = Counter(name for state in moments.states for name in tokens(state))
    return {name: at for at, (name, _) in enumerate(counted.most_common(TOKENS))}


def _rows(moments: Moments, vocabulary: dict[str, int]) -> Rows:
    from scipy.sparse import csr_array

    ends, places, weights = [0], list[int](), list[float]()
    for state in moments.states:
        found = {vocabulary[name]: weight for name, weight in tokens(state).items() if name in vocabulary}
        places += found.keys()
        weights += found.values()
        ends.append(len(places))
    shape = len(moments.states), len(vocabulary)
    sparse = csr_array((np.array(weights, np.float32), np.array(places), np.array(ends)), shape)
    bias = np.ones((shape[0], 1), np.float32)
    return Rows(sparse, np.hstack([moments.latest * VECTOR_WEIGHT, moments.mean * VECTOR_WEIGHT, bias]))


def _wanted(moments: Moments, labels: Sequence[str], procedures: Sequence[Compiled]) -> Floats:
    roles = len(labels) + len(moments.tasks)
    wanted = np.zeros((len(moments.states), roles + ROLES), np.float32)
    place = {label: at for at, label in enumerate(labels)}
    task = {name: len(labels) + at for at, name in enumerate(moments.tasks)}
    by_name = {one.name: one for one in procedures}
    for at, (label, active) in enumerate(zip(moments.labels, moments.active, strict=True)):
        wanted[at, place[label]] = 1
        wanted[at, task[active]] = 1
        one = by_name[active]
        step = one.index.get(label)
        if step is not None:
            wanted[at, roles + one.roles(last_place(moments.states[at], one))[step]] = 1
    return wanted
