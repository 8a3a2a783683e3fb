"""A run as one page: the figures, and every task with what was done; no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from tandem.bench.tau.judge import Outcome
from tandem.contracts.values import canonical_json

_STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}.note{opacity:.75;max-width:46rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
code{font-size:.8rem;overflow-wrap:anywhere}
"""
_RATES = ("tasks", "database_equal", "write_precision", "write_recall", "writes", "tool_errors", "unsafe_calls")


def page(figures: dict[str, Any], outcomes: Sequence[Outcome]) -> str:
    """The page."""
    model = figures["model"] or figures.get("model_reason", "")
    rows = [[name, *(row[key] for key in _RATES)] for name, row in {**figures["by_domain"], "all": figures}.items()]
    parts = [
        f"<h1>τ³, {escape(figures['domain'])}, {escape(figures['split'])}</h1>",
        f"<p class=note>Agent: {escape(figures['agent'])}. Model: {escape(str(model))}. "
        f"{figures['without_writes']:.1%} of the tasks want no write: so much does an agent have that does nothing.</p>",
        _table(["domain", *(name.replace("_", " ") for name in _RATES)], rows),
        "<h2>Author's own actions that are refused</h2>",
        _table(["refused"], [[text] for text in figures["gold"]["refused"]]),
        "<h2>Tasks</h2>",
        _table(
            ["task", "database", "writes: right, wanted, made", "ended", "turns", "writes made"], map(_row, outcomes)
        ),
    ]
    title = "<title>τ³</title><meta charset=utf-8>"
    return f"<!doctype html><html lang=en>{title}<style>{_STYLE}</style>{''.join(parts)}</html>\n"


def _row(outcome: Outcome) -> list[Any]:
    made = [call for call in outcome.run.office.calls if call.writes]
    told = " ".join(f"{call.name} {canonical_json(call.arguments)} {call.error}" for call in made)
    counts = f"{outcome.right}, {outcome.wanted}, {outcome.writes}"
    name = f"{outcome.task.domain} {outcome.task.id}"
    return [name, "equal" if outcome.equal else "unequal", counts, outcome.run.ended, outcome.run.turns, told]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    titles = "".join(f"<th>{escape(title)}" for title in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(_shown(cell))}" for cell in row) for row in rows)
    return f"<table><tr>{titles}{body}</table>"


def _shown(cell: Any) -> str:
    return "–" if cell is None else f"{cell:.1%}" if isinstance(cell, float) else str(cell)
