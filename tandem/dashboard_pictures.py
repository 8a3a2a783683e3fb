"""Dashboards drawn as SVG from what a Prometheus holds: to look at them where there is no Grafana."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final, TypeAlias

from tandem.dashboards import COLUMNS, Dashboard, Panel, placed
from tandem.errors import Unavailable

WIDTH: Final = 1200
ROW: Final = 28
GAP: Final = 8
TITLE: Final = 40
MAX_LEGENDS: Final = 6
STEPS: Final = 120
COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#eeca3b")
UNITS: Final = {"percentunit": ("%", 100.0), "s": (" s", 1.0), "reqps": ("/s", 1.0), "short": ("", 1.0)}

Points: TypeAlias = Sequence[tuple[float, float]]
Series: TypeAlias = tuple[str, Points]
Fetch: TypeAlias = Callable[[str], Sequence[tuple[dict[str, str], Points]]]
"""PromQL → labels and points of each series over the picture's time."""


def prometheus(url: str, start: float, end: float) -> Fetch:
    """Range queries of a Prometheus. Raises Unavailable."""
    step = max(1.0, (end - start) / STEPS)

    def fetch(query: str) -> list[tuple[dict[str, str], Points]]:
        asked = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": step})
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/api/v1/query_range?{asked}", timeout=10) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ValueError, KeyError) as error:
            raise Unavailable(f"{url} does not answer as Prometheus: {error}") from error
        return [(one["metric"], [(float(at), float(value)) for at, value in one["values"]]) for one in found]

    return fetch


def draw(dashboard: Dashboard, fetch: Fetch, start: float, end: float) -> str:
    """The dashboard over that time (Unix seconds), every tenant chosen."""
    places = placed(dashboard.panels)
    height = TITLE + max(place["y"] + place["h"] for place in places) * ROW + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="11"><rect width="{WIDTH}" height="{height}" fill="#f4f5f7"/>'
        f'<text x="{GAP}" y="26" font-size="18">{escape(dashboard.title)}</text>'
    ]
    for panel, place in zip(dashboard.panels, places, strict=True):
        parts += _Box(panel, place).draw([one for query in panel.queries for one in _series(query, fetch)], start, end)
    return "\n".join([*parts, "</svg>\n"])


def _series(query: tuple[str, str], fetch: Fetch) -> list[Series]:
    promql, legend = query
    found: list[Series] = []
    for labels, points in fetch(promql.replace("$pack", ".*")):
        name = legend
        for label, value in labels.items():
            name = name.replace(f"{{{{{label}}}}}", value)
        real = [(at, value) for at, value in points if math.isfinite(value)]
        if real:
            found.append((name, real))
    return found


class _Box:
    """One panel's place in the picture."""

    def __init__(self, panel: Panel, place: dict[str, int]) -> None:
        column = (WIDTH - GAP) / COLUMNS
        self._panel = panel
        self._x, self._y = GAP + place["x"] * column, TITLE + place["y"] * ROW
        self._w, self._h = place["w"] * column - GAP, place["h"] * ROW - GAP
        self._unit, self._factor = UNITS[panel.unit]

    def draw(self, series: Sequence[Series], start: float, end: float) -> list[str]:
        x, y = round(self._x, 1), round(self._y, 1)
        parts = [
            f'<rect x="{x}" y="{y}" width="{self._w:.1f}" height="{self._h:.1f}" rx="3" fill="white" stroke="#d8dbe0"/>',
            f'<text x="{x + 8}" y="{y + 17}" font-weight="bold">{escape(self._panel.title)}</text>',
        ]
        if not series:
            return [*parts, f'<text x="{x + 8}" y="{y + 38}" fill="#888">nothing in this time</text>']
        if self._panel.kind == "stat":
            value = self._text(sum(points[-1][1] for _, points in series))
            return [*parts, f'<text x="{x + 8}" y="{y + self._h - 22:.1f}" font-size="34">{value}</text>']
        return [*parts, *self._lines(series, start, end)]

    def _lines(self, series: Sequence[Series], start: float, end: float) -> list[str]:
        shown = sorted(series, key=lambda one: -one[1][-1][1])
        most = max((value for _, points in shown for _, value in points), default=0) or 1.0
        left, top = self._x + 46, self._y + 28
        width, height = self._w - 46 - 170, self._h - 28 - 22
        parts = [
            f'<path d="M{left:.1f} {top:.1f}v{height:.1f}h{width:.1f}" fill="none" stroke="#bbb"/>',
            f'<text x="{left - 4:.1f}" y="{top + 9:.1f}" text-anchor="end">{self._text(most)}</text>',
            f'<text x="{left - 4:.1f}" y="{top + height:.1f}" text-anchor="end">0</text>',
            f'<text x="{left + width:.1f}" y="{top + height + 14:.1f}" text-anchor="end">{end - start:.0f} s</text>',
        ]
        for number, (name, points) in enumerate(shown):
            colour = COLOURS[number % len(COLOURS)]
            path = " ".join(
                f"{left + (at - start) / (end - start) * width:.1f},{top + height - value / most * height:.1f}"
                for at, value in points
            )
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            if number < MAX_LEGENDS:
                at = f'x="{left + width + 10:.1f}" y="{top + 9 + 14 * number:.1f}"'
                parts.append(f'<text {at} fill="{colour}">{escape((name or self._panel.title)[:30])}</text>')
        if len(shown) > MAX_LEGENDS:
            at = f'x="{left + width + 10:.1f}" y="{top + 9 + 14 * MAX_LEGENDS:.1f}"'
            parts.append(f'<text {at} fill="#888">and {len(shown) - MAX_LEGENDS} more</text>')
        return parts

    def _text(self, value: float) -> str:
        number = value * self._factor
        return f"{number:,.0f}{self._unit}" if number >= 100 or number == int(number) else f"{number:.3g}{self._unit}"
