"""A linear model over tokens and sentence vectors: scores every label and every procedure that it was trained on, and every
role that a step may have, whatever the procedure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.brains.compiled import ROLES, Floats
from tandem.brains.state import State
from tandem.brains.tokens import tokens
from tandem.brains.values import Vectors

VECTOR_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Scores:
    labels: Mapping[str, float]
    tasks: Mapping[str, float]
    roles: Floats


@dataclass(frozen=True)
class Linear:
    """`weights`: one row a token, then of the two vectors, then the bias; one column a label, then a procedure,
    then a role."""

    vocabulary: Mapping[str, int]
    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    weights: Floats

    def scores(self, state: State, latest: Vectors, mean: Vectors) -> Scores:
        """Near 1 for what is right, near 0 for the rest."""
        found = [(self.vocabulary[name], weight) for name, weight in tokens(state).items() if name in self.vocabulary]
        at = np.array([place for place, _ in found], np.int64)
        by = np.array([weight for _, weight in found], np.float32)
        first = len(self.vocabulary)
        vectors = np.concatenate([latest, mean]) * VECTOR_WEIGHT
        out: Floats = by @ self.weights[at] + vectors @ self.weights[first:-1] + self.weights[-1]
        return named(out, self.labels, self.tasks)


def named(out: Floats, labels: Sequence[str], tasks: Sequence[str]) -> Scores:
    """A row of scores, taken apart. NaN, of a class that the model never saw, is left out."""
    values = [float(value) for value in out[:-ROLES]]
    return Scores(
        {name: value for name, value in zip(labels, values, strict=False) if value == value},
        {name: value for name, value in zip(tasks, values[len(labels) :], strict=True) if value == value},
        out[-ROLES:],
    )
