"""LightGBM, in one place."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Floats
from tandem.brains.trees import Trees
from tandem.errors import InvalidSettings


def boost(rows: Floats, right: NDArray[np.bool_], rounds: int, leaves: int, rate: float = 0.08) -> Trees:
    """Trees whose sum is the log odds of `right`. Raises InvalidSettings where LightGBM is not installed."""
    try:
        import lightgbm
    except ImportError as error:
        raise InvalidSettings(
            "training needs LightGBM: install tandem with its `train` extra, or run `uv sync`"
        ) from error
    wanted = {
        "objective": "binary",
        "learning_rate": rate,
        "num_leaves": leaves,
        "min_data_in_leaf": 60,
        "max_bin": 127,
        "feature_fraction": 0.6,
        "lambda_l2": 1.0,
        "verbose": -1,
        "num_threads": min(2, os.cpu_count() or 1),
        "deterministic": True,
        "seed": 7,
    }
    booster = lightgbm.train(wanted, lightgbm.Dataset(rows, right.astype(np.int8), free_raw_data=True), rounds)
    return Trees.of_lightgbm(booster.dump_model())
