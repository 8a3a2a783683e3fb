"""A linear model over tokens and sentence vectors: scores every label and every procedure that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tandem.brains.compiled import Floats
from tandem.brains.state import State
from tandem.brains.tokens import tokens
from tandem.brains.values import Vectors

VECTOR_WEIGHT = 0.5


@dataclass(frozen=True)
class Linear:
    """`weights`: one row a token, then of the two vectors, then the bias; one column a class."""

    vocabulary: Mapping[str, int]
    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    weights: Floats

    def scores(self, state: State, latest: Vectors, mean: Vectors) -> tuple[dict[str, float], dict[str, float]]:
        """Of labels, and of procedures; near 1 for what is right, near 0 for the rest."""
        found = [(self.vocabulary[name], weight) for name, weight in tokens(state).items() if name in self.vocabulary]
        at = np.array([place for place, _ in found], np.int64)
        by = np.array([weight for _, weight in found], np.float32)
        first = len(self.vocabulary)
        vectors = np.concatenate([latest, mean]) * VECTOR_WEIGHT
        out = by @ self.weights[at] + vectors @ self.weights[first:-1] + self.weights[-1]
        values = [float(value) for value in out]
        return (
            dict(zip(self.labels, values, strict=False)),
            dict(zip(self.tasks, values[len(self.labels) :], strict=True)),
        )
