"""Gradient-boosted trees, evaluated with numpy: LightGBM is needed for training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Floats

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees in one array; a leaf is its own child, so that all rows may take equally many steps."""

    roots: Ints
    feature: Ints
    threshold: NDArray[np.float64]
    default_left: NDArray[np.bool_]  # where a missing value goes
    left: Ints
    right: Ints
    value: NDArray[np.float64]  # of leaves
    depth: int

    def predict(self, rows: Floats) -> NDArray[np.float64]:
        """The trees' sum, one number a row."""
        values = rows.astype(np.float64)
        at = np.broadcast_to(self.roots, (len(values), len(self.roots))).copy()
        lines = np.arange(len(values))[:, None]
        for _ in range(self.depth):
            here = values[lines, self.feature[at]]
            goes_left = np.where(np.isnan(here), self.default_left[at], here <= self.threshold[at])
            at = np.where(goes_left, self.left[at], self.right[at])
        total: NDArray[np.float64] = self.value[at].sum(axis=1)
        return total

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """For saving."""
        return {f"{prefix}.{one.name}": np.asarray(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def of_arrays(cls, saved: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        found: dict[str, Any] = {one.name: saved[f"{prefix}.{one.name}"] for one in fields(cls)}
        return cls(**{**found, "depth": int(found["depth"])})

    @classmethod
    def mean(cls, several: Sequence[Self]) -> Self:
        """Of several sums, as one."""
        begins = np.cumsum([0, *(len(one.feature) for one in several[:-1])]).astype(np.int32)
        moved = [(one.roots + at, one.left + at, one.right + at) for one, at in zip(several, begins, strict=True)]
        roots, left, right = (np.concatenate(column) for column in zip(*moved, strict=True))
        return cls(
            roots,
            np.concatenate([one.feature for one in several]),
            np.concatenate([one.threshold for one in several]),
            np.concatenate([one.default_left for one in several]),
            left,
            right,
            np.concatenate([one.value for one in several]) / len(several),
            max(one.depth for one in several),
        )

    @classmethod
    def of_lightgbm(cls, model: Mapping[str, Any]) -> Self:
        """From the dump of a booster whose features are all numeric."""
        nodes: list[tuple[int, float, bool, int, int, float]] = []
        roots: list[int] = []
        depths = [1]
        for tree in model["tree_info"]:
            roots.append(len(nodes))
            _flatten(tree["tree_structure"], nodes, depths, 0)
        columns = list(zip(*nodes, strict=True))
        return cls(
            np.array(roots, np.int32),
            np.array(columns[0], np.int32),
            np.array(columns[1], np.float64),
            np.array(columns[2], np.bool_),
            np.array(columns[3], np.int32),
            np.array(columns[4], np.int32),
            np.array(columns[5], np.float64),
            max(depths),
        )


def _flatten(
    node: Mapping[str, Any], nodes: list[tuple[int, float, bool, int, int, float]], depths: list[int], depth: int
) -> int:
    """Append a node and all under it; returns its place."""
    place = len(nodes)
    if "leaf_value" in node:
        nodes.append((0, 0.0, True, place, place, float(node["leaf_value"])))
        depths.append(depth)
        return place
    nodes.append((0, 0.0, True, place, place, 0.0))
    left = _flatten(node["left_child"], nodes, depths, depth + 1)
    right = _flatten(node["right_child"], nodes, depths, depth + 1)
    missing_left = bool(node["default_left"]) if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
    nodes[place] = (int(node["split_feature"]), float(node["threshold"]), missing_left, left, right, 0.0)
    return place
