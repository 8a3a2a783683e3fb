"""From similarities to probabilities: a logistic map, fitted on the examples themselves, each held out in turn.

A pack brings a hundred examples or so, too few to fit freely: the weights start from a prior and move only as far as the
examples insist (L2 towards the prior). With no examples the prior speaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS = 12
_FLAT = 30.0
_PULL = 0.15
"""Strength of the prior, in examples per unit of squared weight."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """P = sigmoid(weights · (features, 1))."""

    weights: tuple[float, ...]

    def __call__(self, *features: float) -> float:
        *slopes, bias = self.weights
        x = bias + sum(w * x for w, x in zip(slopes, features, strict=True))
        return 1.0 / (1.0 + math.exp(-min(max(x, -_FLAT), _FLAT)))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -_FLAT, _FLAT))))


def fit(prior: Logistic, features: Floats, truth: Floats) -> Logistic:
    """The logistic map nearest the prior that explains the examples. `features` (n, k), `truth` (n,) of 0 and 1."""
    start = np.asarray(prior.weights, dtype=np.float64)
    if len(features) == 0 or truth.min() == truth.max():
        return prior
    x = np.column_stack((features, np.ones(len(features))))
    weights = start.copy()
    for _ in range(_STEPS):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - truth) + _PULL * (weights - start)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + _PULL * np.eye(len(start))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-6:
            break
    return Logistic(tuple(float(weight) for weight in weights))
