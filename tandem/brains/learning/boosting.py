"""LightGBM, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Floats
from tandem.brains.trees import Trees
from tandem.errors import InvalidSettings

TOP = 3
"""Of a group, places in which the order counts."""

SEEDS = (7, 8, 9)


def boost(
    rows: Floats,
    right: NDArray[np.bool_],
    rounds: int,
    leaves: int,
    rate: float = 0.08,
    groups: Sequence[int] | None = None,
    forests: int = 1,
) -> Trees:
    """Trees whose sum is the log odds of `right`; or, with the sizes of `groups` of rows that follow one another, trees that put
    the right rows of each group before its others. Of several `forests` the mean. Raises InvalidSettings where LightGBM is not
    installed."""
    ranked = {"objective": "lambdarank", "lambdarank_truncation_level": TOP}
    wanted = _wanted(leaves, rate) | ({"objective": "binary"} if groups is None else ranked)
    return Trees.mean([_trained(wanted | {"seed": seed}, rows, right, rounds, groups) for seed in SEEDS[:forests]])


def boost_rare(rows: Floats, right: NDArray[np.bool_], rounds: int, leaves: int, rate: float) -> Trees:
    """As `boost`, where few rows are right: the mean of several forests whose trees split at random places, since one that
    looked for the best places would learn single rows."""
    wanted = _wanted(leaves, rate) | {"objective": "binary", "extra_trees": True}
    return Trees.mean([_trained(wanted | {"seed": seed}, rows, right, rounds, None) for seed in SEEDS])


def _wanted(leaves: int, rate: float) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "num_leaves": leaves,
        "min_data_in_leaf": 60,
        "max_bin": 63,
        "feature_fraction": 0.6,
        "lambda_l2": 1.0,
        "verbose": -1,
        "num_threads": 1,  # with more, threads that wait for each other take a crowded machine's time for nothing
        "deterministic": True,
    }


def _trained(
    wanted: dict[str, Any], rows: Floats, right: NDArray[np.bool_], rounds: int, groups: Sequence[int] | None
) -> Trees:
    try:
        import lightgbm
    except ImportError as error:
        raise InvalidSettings(
            "training needs LightGBM: install tandem with its `train` extra, or run `uv sync`"
        ) from error
    data = lightgbm.Dataset(rows, right.astype(np.int8), group=groups, free_raw_data=True)
    return Trees.of_lightgbm(lightgbm.train(wanted, data, rounds).dump_model())
