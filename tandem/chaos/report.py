"""A plan's report: JSON for programs, a picture of tickets over time with the faults marked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any, Final

from tandem.chaos.judge import Hit, Verdict
from tandem.chaos.load import Story
from tandem.contracts.values import Millis

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 70, 50
LANES: Final = 4
COLOURS: Final = {"came": "#4c78a8", "ended": "#54a24b", "under way": "#f58518"}
FAULT: Final = "#d62728"
MAX_LABELS: Final = 60
LABEL: Final = 100
"""Room for a fault's name, in pixels."""
SLOWEST: Final = 10

Line = Sequence[tuple[Millis, int]]


def summary(plan: str, verdict: Verdict) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "plan": plan,
        "tickets": verdict.tickets,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "stale_writes": verdict.stale_writes,
        "replies_after_takeover": verdict.replies_after_takeover,
        "dead_letters": verdict.dead_letters,
        "p99_delay_ms": verdict.p99_delay_ms,
        "recovery_s": verdict.recovery_s,
    }


def write_report(
    folder: Path, plan: str, verdict: Verdict, stories: Sequence[Story], hits: Sequence[Hit], more: dict[str, Any]
) -> None:
    """`<plan>.json` and `<plan>.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    faults = [asdict(hit) for hit in hits]
    body = summary(plan, verdict) | asdict(verdict) | more | {"slowest": _slowest(stories), "faults": faults}
    (folder / f"{plan}.json").write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / f"{plan}.svg").write_text(picture(plan, stories, hits), encoding="utf-8")


def _slowest(stories: Sequence[Story]) -> list[dict[str, Any]]:
    """Whoever waited longest for a reply, and from when."""
    waits = [
        {"customer": story.number, "script": story.script, "turn": turn, "since": w.since, "ms": w.until - w.since}
        for story in stories
        for turn, w in enumerate(story.waits)
        if w.until is not None
    ]
    return sorted(waits, key=lambda wait: -int(wait["ms"]))[:SLOWEST]


def picture(plan: str, stories: Sequence[Story], hits: Sequence[Hit]) -> str:
    """An SVG: how many tickets had come, had ended and were under way, and when which fault was done."""
    came = sorted(story.began for story in stories)
    ended = sorted(story.ended for story in stories if story.ended is not None)
    moments = [*came, *ended, *(hit.at for hit in hits)]
    start, end = min(moments, default=0), max(moments, default=1)
    end = max(end, start + 1)
    lines = {
        "came": [(at, count) for count, at in enumerate(came, 1)],
        "ended": [(at, count) for count, at in enumerate(ended, 1)],
        "under way": _under_way(came, ended),
    }
    frame = _Frame(start, end, max(1, len(stories)))
    parts = [_head(plan), *frame.axes(), *frame.faults(hits)]
    for place, (name, line) in enumerate(lines.items()):
        parts.append(frame.line(line, COLOURS[name]))
        x = LEFT + 110 * place
        parts.append(f'<rect x="{x}" y="28" width="14" height="4" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 20}" y="34">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _under_way(came: Iterable[Millis], ended: Iterable[Millis]) -> list[tuple[Millis, int]]:
    count, line = 0, []
    for at, step in sorted([*((at, 1) for at in came), *((at, -1) for at in ended)]):
        count += step
        line.append((at, count))
    return line


def _head(plan: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{LEFT}" y="18" font-size="15">{escape(plan)}: tickets over time</text>'
    )


class _Frame:
    """Where a moment and a count lie in the picture."""

    def __init__(self, start: Millis, end: Millis, most: int) -> None:
        self._start, self._end, self._most = start, end, most

    def x(self, at: Millis) -> float:
        return round(LEFT + (at - self._start) / (self._end - self._start) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, count: float) -> float:
        return round(HEIGHT - BOTTOM - count / self._most * (HEIGHT - TOP - BOTTOM - 12 * LANES), 1)

    def line(self, points: Line, colour: str) -> str:
        path = []
        for at, count in points:
            path += [f"H{self.x(at)}", f"V{self.y(count)}"]
        return f'<path d="M{LEFT} {self.y(0)} {" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'

    def axes(self) -> list[str]:
        bottom, seconds = HEIGHT - BOTTOM, (self._end - self._start) / 1000
        parts = [f'<path d="M{LEFT} {TOP} V{bottom} H{WIDTH - RIGHT}" fill="none" stroke="#444"/>']
        for step in range(6):
            at = self._start + (self._end - self._start) * step // 5
            parts.append(
                f'<text x="{self.x(at)}" y="{bottom + 16}" text-anchor="middle">{seconds * step / 5:.0f} s</text>'
            )
            count = self._most * step / 5
            parts.append(f'<text x="{LEFT - 6}" y="{self.y(count) + 4}" text-anchor="end">{count:.0f}</text>')
        return parts

    def faults(self, hits: Sequence[Hit]) -> list[str]:
        """A dashed line each; named while there is room for names, in lanes so that they do not cover one another."""
        parts = []
        for place, hit in enumerate(hits):
            x = self.x(hit.at)
            parts.append(
                f'<path d="M{x} {TOP} V{HEIGHT - BOTTOM}" stroke="{FAULT}" stroke-width="0.7" stroke-dasharray="3 3"/>'
            )
            if len(hits) <= MAX_LABELS:
                y = TOP - 20 + 12 * (place % LANES)
                side = "end" if x > WIDTH - LABEL else "start"
                label = f'<text x="{x + 2}" y="{y}" font-size="9" fill="{FAULT}" text-anchor="{side}">'
                parts.append(f"{label}{escape(hit.what)}</text>")
        return parts
