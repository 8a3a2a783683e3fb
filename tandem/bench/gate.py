"""`tandem bench gate`: is a new run worse than the baseline by more than chance explains?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tandem.errors import InvalidSettings

Z = 1.96
COUNTS = ("points", "messages", "questions", "dialogues", "tasks")
OWN_COUNTS = {"oos_recall": "oos_messages", "write_precision": "writes", "write_recall": "writes_wanted"}
LESS_IS_BETTER = ("false_reject_rate", "false_oos_rate")
RATES = ("accuracy", "recall", "exact", "rate", "success", "precision", "equal")


@dataclass(frozen=True)
class Change:
    """Of one rate: from, to, and between which bounds the true change lies (95 %)."""

    name: str
    before: float
    after: float
    low: float
    high: float
    regression: bool


def read_run(file: Path) -> dict[str, Any]:
    """A run's figures, as its `--json` printed them. Raises InvalidSettings."""
    try:
        run = json.loads(file.read_bytes())
    except ValueError as error:
        raise InvalidSettings(f"{file} is not JSON ({error}); keep what a benchmark prints with --json") from None
    if not isinstance(run, dict):
        raise InvalidSettings(f"{file} is no run of a benchmark: it is no JSON object")
    return run


def compare(baseline: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every rate that the baseline has. Raises InvalidSettings when the runs cannot be compared."""
    for key in ("dataset", "mode", "domain", "split"):
        if baseline.get(key) != new.get(key):
            raise InvalidSettings(f"{key} differs ({baseline.get(key)!r}, {new.get(key)!r}): compare runs of one kind")
    names = [name for name, value in baseline.items() if _is_rate(name, value)]
    missing = [name for name in names if not isinstance(new.get(name), int | float)]
    if missing or not names:
        raise InvalidSettings(f"the new run lacks {', '.join(missing)}" if missing else "the baseline has no rates")
    return [_change(name, baseline, new) for name in names]


def _is_rate(name: str, value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and any(part in name for part in RATES)


def _change(name: str, baseline: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    before, after = float(baseline[name]), float(new[name])
    ours, theirs = (run.get("items", {}).get(name) for run in (baseline, new))
    if ours and theirs and len(ours) == len(theirs):
        apart = np.subtract(theirs, ours, dtype=np.float64)
        slack = Z * float(apart.std()) / math.sqrt(len(apart))
        low, high = after - before - slack, after - before + slack
    else:
        low, high = newcombe(before, _count(name, baseline), after, _count(name, new))
    worse = low > 0 if name in LESS_IS_BETTER else high < 0
    return Change(name, before, after, round(low, 4), round(high, 4), worse)


def newcombe(before: float, of: int, after: float, of_new: int) -> tuple[float, float]:
    """Bounds of the difference of two rates of separate samples, from Wilson's bounds of each."""
    (low, high), (low_new, high_new) = wilson(before, of), wilson(after, of_new)
    apart = after - before
    return (
        apart - math.hypot(after - low_new, high - before),
        apart + math.hypot(high_new - after, before - low),
    )


def wilson(rate: float, of: int) -> tuple[float, float]:
    """Wilson's bounds of a rate that was seen in so many trials."""
    scale = 1 + Z * Z / of
    middle = (rate + Z * Z / (2 * of)) / scale
    slack = Z * math.sqrt(rate * (1 - rate) / of + Z * Z / (4 * of * of)) / scale
    return max(0.0, middle - slack), min(1.0, middle + slack)


def _count(name: str, run: Mapping[str, Any]) -> int:
    own = OWN_COUNTS.get(name)
    found = [run[key] for key in ((own,) if own else COUNTS) if run.get(key)]
    if not found:
        raise InvalidSettings(f"a run does not say of how many items its {name} is ({', '.join(COUNTS)})")
    return int(found[0])
