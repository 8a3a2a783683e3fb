"""A run as one page: the figures, and every task with what was done; no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from tandem.bench.page import page, wide
from tandem.bench.tau.judge import Outcome
from tandem.contracts.values import canonical_json

WORDS = 40
"""A longer text is wrapped in its cell."""

_RATES = ("tasks", "database_equal", "write_precision", "write_recall", "writes", "tool_errors", "unsafe_calls")


def render(figures: dict[str, Any], outcomes: Sequence[Outcome]) -> str:
    """The page."""
    model = figures["model"] or figures.get("model_reason", "")
    rows = [[name, *(row[key] for key in _RATES)] for name, row in {**figures["by_domain"], "all": figures}.items()]
    parts = [
        f"<p class=note>Agent: {escape(figures['agent'])}. Model: {escape(str(model))}. "
        f"{figures['without_writes']:.1%} of the tasks want no write: so much does an agent have that does nothing.</p>",
        _table(["domain", *(name.replace("_", " ") for name in _RATES)], rows),
        "<h2>Author's own actions that are refused</h2>",
        "".join(f"<p>{escape(text)}</p>" for text in figures["gold"]["refused"]) or "<p>None.</p>",
        "<h2>Tasks</h2>",
        _table(
            ["task", "database", "writes: right, wanted, made", "ended", "turns", "writes made"], map(_row, outcomes)
        ),
    ]
    return page(f"τ³, {figures['domain']}, {figures['split']}", "".join(parts))


def _row(outcome: Outcome) -> list[Any]:
    made = [call for call in outcome.run.office.calls if call.writes]
    told = "\n".join(f"{call.name} {canonical_json(call.arguments)} {call.error}" for call in made)
    counts = f"{outcome.right}, {outcome.wanted}, {outcome.writes}"
    name = f"{outcome.task.domain} {outcome.task.id}"
    return [name, "equal" if outcome.equal else "unequal", counts, outcome.run.ended, outcome.run.turns, told]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    titles = "".join(f"<th>{escape(title)}" for title in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}" for row in rows)
    return wide(f"<table class=text><tr>{titles}{body}</table>")


def _cell(cell: Any) -> str:
    return f"<td{' class=words' if isinstance(cell, str) and len(cell) > WORDS else ''}>{escape(_shown(cell))}"


def _shown(cell: Any) -> str:
    return "–" if cell is None else f"{cell:.1%}" if isinstance(cell, float) else str(cell)
