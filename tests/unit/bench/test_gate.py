"""The gate: what chance explains passes, what it does not is a regression."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.bench.gate import compare, read_run, wilson
from tandem.errors import InvalidSettings


def run(**figures):
    return {"dataset": "d", "split": "dev", "messages": 1000, **figures}


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [(0.90, 0.90, False), (0.90, 0.89, False), (0.90, 0.80, True), (0.80, 0.90, False)],
)
def test_a_rate_that_fell_by_more_than_chance_is_a_regression(before, after, worse):
    (change,) = compare(run(accuracy=before), run(accuracy=after))
    assert change.regression is worse
    assert change.low < after - before < change.high


def test_more_false_rejections_are_a_regression():
    (change,) = compare(run(false_oos_rate=0.01), run(false_oos_rate=0.05))
    assert change.regression


def test_items_answered_by_both_runs_tell_smaller_changes_apart():
    before, after = [1] * 900 + [0] * 100, [1] * 890 + [0] * 110
    (change,) = compare(run(accuracy=0.90, items={"accuracy": before}), run(accuracy=0.89, items={"accuracy": after}))
    assert change.regression


def test_a_rate_of_fewer_things_than_there_are_items_says_of_how_many():
    (change,) = compare(run(write_recall=0.5, writes_wanted=10), run(write_recall=0.4, writes_wanted=10))
    assert not change.regression
    assert change.high - change.low > 0.5


@pytest.mark.parametrize("new", [run(), run(accuracy=0.9) | {"split": "test"}, run(accuracy=0.9, domain="retail")])
def test_runs_that_cannot_be_compared_are_refused(new):
    with pytest.raises(InvalidSettings):
        compare(run(accuracy=0.9), new)


def test_wilson():
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)


@pytest.mark.parametrize(("body", "says"), [(b"{bad", "is not JSON"), (b"\xff", "is not JSON"), (b"[]", "is no run")])
def test_a_file_that_is_no_run_is_said(tmp_path: Path, body: bytes, says: str) -> None:
    (tmp_path / "run.json").write_bytes(body)
    with pytest.raises(InvalidSettings, match=says):
        read_run(tmp_path / "run.json")
