"""A run of decisions as one page: tables, confusion, calibration and plots; no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from tandem.bench.page import page, wide
from tandem.bench.star.decisions import Judged, Run, share
from tandem.brains.compiled import KINDS
from tandem.brains.rejection import OUT_OF_SCOPE

BINS = 10
MOST = 25
_NAMES = {
    "next_action_accuracy": "next action",
    "action_type_accuracy": "action type",
    "action_macro_f1": "action macro F1",
    "api_accuracy": "API",
    "parameter_accuracy": "parameter",
    "call_exact": "whole call",
    "parameter_accuracy_cold": "parameter, cold",
    "call_exact_cold": "whole call, cold",
    "call_exact_own_keys": "whole call, own keys",
    "reject_recall": "reject recall",
    "false_reject_rate": "false rejects",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
}


def render(figures: dict[str, Any], done: Run, facts: dict[str, Any]) -> str:
    """The page."""
    judged = done.judged
    trained = f"{facts.get('moments')} training moments, {facts.get('date')}, data {str(facts.get('data'))[:12]}"
    parts = [
        f"<p class=note>{figures['points']} decision points. Models: {escape(trained) if facts else 'none'}. "
        f"p50 {figures['p50_ms']} ms, p95 {figures['p95_ms']} ms a decision.</p>",
        "<h2>Figures</h2>",
        _figures({"all": figures, "service only": figures["service_only"]}),
        "<div class=pair>",
        f"<div><h2>Action types: recorded (rows), decided (columns)</h2>{wide(_confusion(judged))}</div>",
        f"<div><h2>Calibration</h2>{_calibration(judged)}</div></div>",
        f"<div class=pair><div><h2>Next action by procedure</h2>{_bars(figures['by_task'])}</div>",
        f"<div><h2>Milliseconds a decision</h2>{_latency(judged)}</div></div>",
        f"<h2>By procedure</h2>{_figures(figures['by_task'])}",
        f"<h2>Steps most often taken for others</h2>{wide(_mistaken(judged))}",
        f"<h2>Parameters most often wrong</h2>{wide(_wrong(judged))}",
        f"<h2>Apart</h2>{_apart(judged)}",
    ]
    return page(f"STAR, decisions, {figures['split']}", "\n".join(parts))


def _figures(rows: dict[str, dict[str, Any]]) -> str:
    head = "".join(f"<th>{name}" for name in ("points", *_NAMES.values()))
    lines = [
        f"<tr><td>{escape(name)}<td>{row['points']}" + "".join(f"<td>{_percent(row[key])}" for key in _NAMES)
        for name, row in rows.items()
    ]
    return wide(f"<table><tr><th>{head}{''.join(lines)}</table>")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _confusion(judged: Sequence[Judged]) -> str:
    counts = Counter((one.point.kind, one.decision.action) for one in judged)
    rows = []
    for kind in KINDS:
        total = sum(counts[kind, other] for other in KINDS)
        cells = [
            f'<td style="background:rgb(59 111 182/{counts[kind, other] / max(1, total):.2f})">{counts[kind, other]}'
            for other in KINDS
        ]
        rows.append(f"<tr><td>{kind}{''.join(cells)}")
    head = "".join(f"<th>{kind}" for kind in KINDS)
    return f"<table><tr><th>{head}{''.join(rows)}</table>"


def _calibration(judged: Sequence[Judged]) -> str:
    """Confidence against how often the decision was right, in bins; a bin's dot is as large as it is full."""
    bins: list[list[Judged]] = [[] for _ in range(BINS)]
    for one in judged:
        bins[min(BINS - 1, int(one.decision.confidence * BINS))].append(one)
    dots = []
    error = 0.0
    for found in bins:
        if found:
            x = sum(one.decision.confidence for one in found) / len(found)
            y = sum(one.ok for one in found) / len(found)
            error += abs(x - y) * len(found) / len(judged)
            radius = 2 + 10 * (len(found) / len(judged)) ** 0.5
            dots.append(
                f'<circle cx="{40 + 240 * x:.1f}" cy="{260 - 240 * y:.1f}" r="{radius:.1f}" fill="var(--bar)" '
                f'fill-opacity=".7"><title>{len(found)} points, said {x:.2f}, right {y:.2f}</title></circle>'
            )
    grid = "".join(
        f'<line x1="40" x2="280" y1="{260 - 240 * v / 4}" y2="{260 - 240 * v / 4}" stroke="var(--line)"/>'
        f'<text x="32" y="{264 - 60 * v}" text-anchor="end">{25 * v}</text>'
        f'<text x="{40 + 60 * v}" y="276" text-anchor="middle">{25 * v}</text>'
        for v in range(5)
    )
    line = '<line x1="40" y1="260" x2="280" y2="20" stroke="currentColor" stroke-dasharray="4 4"/>'
    label = '<text x="160" y="292" text-anchor="middle">confidence, % (up: right, %)</text>'
    note = f"<p class=note>Expected calibration error {100 * error:.1f} points.</p>"
    return f'<svg width="300" height="300" viewBox="0 0 300 300">{grid}{line}{"".join(dots)}{label}</svg>{note}'


def _bars(by_task: dict[str, dict[str, Any]]) -> str:
    rows = sorted(by_task.items(), key=lambda item: -(item[1]["next_action_accuracy"] or 0))
    rates = [(name, row["next_action_accuracy"] or 0.0) for name, row in rows]
    lines = [
        f'<text x="160" y="{14 + 18 * at}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="168" y="{4 + 18 * at}" width="{220 * rate:.1f}" height="12" fill="var(--bar)"/>'
        f'<text x="{174 + 220 * rate:.1f}" y="{14 + 18 * at}">{_percent(rate)}</text>'
        for at, (name, rate) in enumerate(rates)
    ]
    height = 18 * len(rows) + 8
    return f'<svg width="430" height="{height}" viewBox="0 0 430 {height}">{"".join(lines)}</svg>'


def _latency(judged: Sequence[Judged]) -> str:
    width = 2
    counts = Counter(min(20, int(one.ms // width)) for one in judged)
    top = max(counts.values(), default=1)
    bars = "".join(
        f'<rect x="{30 + 14 * at}" y="{180 - 160 * counts[at] / top:.1f}" width="12" height="{160 * counts[at] / top:.1f}" '
        f'fill="var(--bar)"><title>{counts[at]}</title></rect>'
        for at in range(21)
    )
    marks = "".join(
        f'<text x="{30 + 14 * at}" y="196">{at * width}{"+" if at == 20 else ""}</text>' for at in range(0, 21, 5)
    )
    return f'<svg width="350" height="204" viewBox="0 0 350 204">{bars}{marks}</svg>'


def _mistaken(judged: Sequence[Judged]) -> str:
    counts = Counter((one.point.step, one.decision.step) for one in judged if not one.ok)
    rows = [f"<tr><td>{escape(wanted)}<td>{escape(said)}<td>{n}" for (wanted, said), n in counts.most_common(MOST)]
    return f"<table class=text><tr><th>recorded<th>decided<th>times{''.join(rows)}</table>"


def _wrong(judged: Sequence[Judged]) -> str:
    wrong: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for one in judged:
        if one.warm:
            wrong.update(f"{one.point.step} {name}" for name, _, _ in one.warm.wrong)
            total.update(f"{one.point.step} {name}" for name in one.point.params)
    rows = [f"<tr><td>{escape(name)}<td>{n}<td>{total[name]}" for name, n in wrong.most_common(MOST)]
    return f"<table><tr><th>parameter<th>wrong<th>of{''.join(rows)}</table>"


def _apart(judged: Sequence[Judged]) -> str:
    """What the figures leave out: values with operators, and refusals for lack of proof of identity."""
    operators = sum(one.warm.operators for one in judged if one.warm)
    refusals = [one for one in judged if one.point.kind == "reject" and one.point.step != OUT_OF_SCOPE]
    refused = share(one.ok for one in refusals)
    return (
        f"<p>{operators} recorded values are operators (one of, at least …) and are not scored. "
        f"{len(refusals)} refusals are for lack of proof of identity; {_percent(refused)} % of them were decided so.</p>"
    )
