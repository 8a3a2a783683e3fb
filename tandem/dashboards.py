"""Grafana dashboards, written here and generated: a panel is a question and its query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("deploy/observability/dashboards")
COLUMNS = 24
HEIGHT = 8
PACK = 'pack=~"$pack"'


@dataclass(frozen=True, slots=True)
class Panel:
    """A question in words, and the queries that answer it. `width` of 24 columns."""

    title: str
    queries: tuple[tuple[str, str], ...]  # (PromQL, legend)
    unit: str = "short"  # Grafana's name of it
    width: int = 12
    kind: str = "timeseries"  # or stat


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`variables`: name → query of its values."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[tuple[str, str], ...] = ()


def one(title: str, query: str, legend: str = "", **more: Any) -> Panel:
    return Panel(title, ((query, legend),), **more)


def quantiles(metric: str, by: str) -> tuple[tuple[str, str], ...]:
    """The median and the slowest in a hundred."""
    spread = f"sum by ({by}, le) (rate({metric}_bucket[5m]))"
    legend = " ".join(f"{{{{{name}}}}}" for name in by.split(", "))
    return tuple((f"histogram_quantile({q}, {spread})", f"{legend} p{round(q * 100)}") for q in (0.5, 0.99))


OPERATIONS = Dashboard(
    "tandem-operations",
    "Tandem / Operations",
    (
        one("Shards owned", "sum(tandem_shards_owned)", width=4, kind="stat"),
        one("Records waiting", "sum(tandem:lag:records)", width=5, kind="stat"),
        one("Messages a second", "sum(rate(tandem_messages_total[5m]))", width=5, kind="stat", unit="reqps"),
        one("Dead letters, last day", "sum(increase(tandem_dead_letters_total[1d]))", width=5, kind="stat"),
        one("Index rebuilt, last day", 'sum(increase(tandem_rebuilds_total{cause="index"}[1d]))', width=5, kind="stat"),
        one(
            "Messages handled, by service",
            "sum by (service) (rate(tandem_messages_total[5m]))",
            "{{service}}",
            unit="reqps",
        ),
        one("Records waiting, by service and topic", "tandem:lag:records", "{{service}} {{topic}}"),
        Panel(
            "How long a message takes its handler", quantiles("tandem_handler_seconds", "service"), unit="s", width=24
        ),
        one(
            "Not handled at the first try",
            "sum by (service, topic) (rate(tandem_retries_total[5m]))",
            "retried {{service}} {{topic}}",
            unit="reqps",
        ),
        one(
            "Dead letters, by reason",
            "sum by (topic, reason) (increase(tandem_dead_letters_total[1h]))",
            "{{topic}} {{reason}}",
        ),
        one("Decisions, by what caused them", "sum by (cause) (rate(tandem_decisions_total[5m]))", "{{cause}}"),
        Panel(
            "Changes of owner",
            (
                ("sum by (service) (increase(tandem_fenced_total[1h]))", "fenced {{service}}"),
                ("sum by (cause) (increase(tandem_rebuilds_total[1h]))", "replayed {{cause}}"),
            ),
        ),
        one(
            "Tool calls, by outcome",
            "sum by (tool, status) (rate(tandem_tool_calls_total[5m]))",
            "{{tool}} {{status}}",
            unit="reqps",
        ),
        Panel("How long a tool takes", quantiles("tandem_tool_seconds", "tool"), unit="s"),
    ),
)


def outcomes(select: str) -> tuple[Panel, ...]:
    """The impossible triangle, side by side: resolution, cost, time; and what stands behind it."""
    inside = "{" + select + "}"
    also = "," + select if select else ""
    done = f'{{outcome="done"{also}}}'
    seconds = f"sum by (le) (rate(tandem_ticket_seconds_bucket{done}[1h]))"
    return (
        one(
            "Resolved without a person, of a week's closed tickets",
            f"tandem:independent_resolution:ratio7d{inside}",
            "{{pack}}",
            unit="percentunit",
            width=8,
        ),
        one(
            "Cost of a resolved ticket, millionths",
            f"tandem:cost_per_resolved_ticket:micros1d{inside}",
            "{{pack}}",
            width=8,
        ),
        Panel(
            "Time from opening to resolution",
            tuple((f"histogram_quantile({q}, {seconds})", f"p{round(q * 100)}") for q in (0.5, 0.9)),
            unit="s",
            width=8,
        ),
        one(
            "Tickets, by outcome",
            f"sum by (outcome) (increase(tandem_tickets_total{inside}[1h]))",
            "{{outcome}}",
        ),
        one("Handed to a person", f"tandem:handover:ratio1h{inside}", "{{pack}}", unit="percentunit"),
        one("Reopened, of a day's resolved", f"tandem:reopened:ratio1d{inside}", "{{pack}}", unit="percentunit"),
        one(
            "Suggestions that experts sent as they were",
            f"tandem:suggestions_adopted:ratio7d{inside}",
            "{{pack}}",
            unit="percentunit",
        ),
    )


TICKETS = Dashboard(
    "tandem-tickets",
    "Tandem / Ticket outcomes",
    (
        *outcomes(""),
        one("Why tickets go to a person", "sum by (reason) (increase(tandem_handovers_total[1d]))", "{{reason}}"),
        one(
            "What each expert did",
            "sum by (expert, action) (increase(tandem_expert_actions_total[1d]))",
            "{{expert}} {{action}}",
        ),
        one(
            "Which rung of the ladder did the work",
            "sum by (service, rung) (rate(tandem_steps_total[5m]))",
            "{{service}} {{rung}}",
            width=24,
        ),
    ),
)

MODELS = Dashboard(
    "tandem-models",
    "Tandem / Models",
    (
        one(
            "Calls, by outcome", "sum by (model, outcome) (rate(tandem_model_calls_total[5m]))", "{{model}} {{outcome}}"
        ),
        Panel("How long a call takes", quantiles("tandem_model_seconds", "model"), unit="s"),
        one(
            "Tokens a second",
            "sum by (model, direction) (rate(tandem_model_tokens_total[5m]))",
            "{{model}} {{direction}}",
        ),
        Panel("How long until the first token", quantiles("tandem_model_first_token_seconds", "model"), unit="s"),
        one(
            "Tokens in found in a prefix cache",
            'sum by (model) (rate(tandem_model_tokens_total{direction="cached"}[5m]))'
            ' / (sum by (model) (rate(tandem_model_tokens_total{direction="in"}[5m])) > 0)',
            "{{model}}",
            unit="percentunit",
        ),
        Panel(
            "Calls at each replica, and those that wait",
            (
                ("sum by (model, replica) (tandem_model_in_flight)", "{{model}} {{replica}}"),
                ("sum by (model, class) (tandem_model_waiting)", "{{model}} {{class}} waits"),
            ),
        ),
        one(
            "Circuit breakers: 0 closed, 1 half-open, 2 open",
            "max by (model, replica) (tandem_model_breaker)",
            "{{model}} {{replica}}",
        ),
        one(
            "Attempts that failed, by how",
            "sum by (model, outcome) (rate(tandem_model_failures_total[5m]))",
            "{{model}} {{outcome}}",
        ),
        Panel(
            "Calls refused; calls answered without a model; first tokens asked twice for",
            (
                ("sum by (reason) (rate(tandem_model_refused_total[5m]))", "refused {{reason}}"),
                ("sum by (by) (rate(tandem_model_repeated_total[5m]))", "by {{by}}"),
                ("sum by (won) (rate(tandem_model_hedges_total[5m]))", "hedged, second first: {{won}}"),
            ),
        ),
        one(
            "Prompts put to a model, by what came of it",
            "sum by (prompt, outcome) (rate(tandem_prompts_total[5m]))",
            "{{prompt}} {{outcome}}",
        ),
        one("Cost a second, millionths", "sum by (model) (rate(tandem_model_cost_micros_total[5m]))", "{{model}}"),
        one(
            "Tokens of a ticket",
            'sum by (pack) (increase(tandem_ticket_tokens_total{outcome="done"}[1d]))'
            ' / (sum by (pack) (increase(tandem_tickets_total{outcome="done"}[1d])) > 0)',
            "{{pack}}",
        ),
        one(
            "Texts embedded, and found in the cache",
            "sum by (cache) (rate(tandem_embedded_texts_total[5m]))",
            "{{cache}}",
        ),
    ),
)

TENANT = Dashboard(
    "tandem-tenant",
    "Tandem / One tenant",
    outcomes(PACK),
    (("pack", "label_values(tandem_tickets_total, pack)"),),
)

DASHBOARDS = (OPERATIONS, TICKETS, MODELS, TENANT)


def write(root: Path) -> list[Path]:
    """Write all dashboards under `root`; returns the files."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for dashboard in DASHBOARDS:
        path = folder / f"{dashboard.uid.removeprefix('tandem-')}.json"
        path.write_text(json.dumps(render(dashboard), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Grafana's JSON."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["tandem"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(name, query) for name, query in dashboard.variables)]},
        "panels": [
            _panel(number, panel, place)
            for number, (panel, place) in enumerate(zip(dashboard.panels, placed(dashboard.panels), strict=True), 1)
        ],
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def placed(panels: Sequence[Panel]) -> list[dict[str, int]]:
    """Where each stands, in columns and rows: from left to right; what does not fit begins the next row."""
    places: list[dict[str, int]] = []
    x = y = 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y = 0, y + places[-1]["h"]
        places.append({"x": x, "y": y, "w": panel.width, "h": HEIGHT // 2 if panel.kind == "stat" else HEIGHT})
        x += panel.width
    return places


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": source, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }
