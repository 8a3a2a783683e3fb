"""Rules, alerts, dashboards and the runbook speak of metrics that exist, and of one another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem import dashboards
from tandem.telemetry_names import METRICS, Metric

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/observability"


def rules_of(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDED = {rule["record"]: rule["expr"] for rule in rules_of("rules.yaml")}
ALERTS = {rule["alert"]: rule for rule in rules_of("alerts.yaml")}
PANELS = {
    f"{board.title}: {panel.title}: {legend}": query
    for board in dashboards.DASHBOARDS
    for panel in board.panels
    for query, legend in panel.queries
}
QUERIES = RECORDED | {name: rule["expr"] for name, rule in ALERTS.items()} | PANELS
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
SERIES = {metric.name + suffix: metric for metric in METRICS for suffix in SUFFIXES[metric.kind]}


@pytest.mark.parametrize("name", QUERIES)
def test_queries_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    query = QUERIES[name]
    for series in re.findall(r"\btandem_\w+", query):
        assert series in SERIES, f"no service writes {series}"
    for rule in re.findall(r"\btandem:[\w:]+", query):
        assert rule in RECORDED, f"no rule records {rule}"
    for series, labels in re.findall(r"\b(tandem_\w+)\{([^}]*)\}", query):
        for label in re.findall(r"(\w+)\s*[=!]", labels):
            assert label in SERIES[series].labels, f"{series} has no label {label}"


def test_every_metric_is_on_a_dashboard_or_in_a_rule() -> None:
    asked = " ".join(QUERIES.values())
    assert [m.name for m in METRICS if not any(f"{m.name}{s}" in asked for s in SUFFIXES[m.kind])] == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_an_entry_in_the_runbook(name: str) -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    entry = runbook.partition(f"## {name}\n")[2].partition("\n## ")[0]
    for part in ("**Means**", "**Do**", "```console"):
        assert part in entry, f"{name}: the runbook's entry lacks {part}"
    assert ALERTS[name]["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_an_alert_is_shown_to_fire_and_to_keep_silent() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert (fires, silent) == (set(ALERTS), set(ALERTS))


def test_the_dashboards_are_those_the_code_writes(tmp_path: Path) -> None:
    written = {path.name: path.read_text() for path in dashboards.write(tmp_path)}
    kept = {path.name: path.read_text() for path in (FOLDER / "dashboards").glob("*.json")}
    assert written == kept, "run `tandem dashboards`"


def test_panels_do_not_overlap() -> None:
    for board in dashboards.DASHBOARDS:
        cells: set[tuple[int, int]] = set()
        for panel in json.loads(json.dumps(dashboards.render(board)))["panels"]:
            place = panel["gridPos"]
            own = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & own, f"{board.title}: {panel['title']} lies over another"
            assert place["x"] + place["w"] <= dashboards.COLUMNS
            cells |= own


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_table_of_metrics_is_true(metric: Metric) -> None:
    row = f"| `{metric.name}` | {metric.kind} | {metric.meaning} | {', '.join(metric.labels) or '–'} |"
    assert row in (ROOT / "docs/observability.md").read_text().splitlines()
