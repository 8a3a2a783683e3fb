"""What agents did next in moments alike: counted, not fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tandem.brains.compiled import is_negative
from tandem.brains.state import NO, THANKS, YES, State, plain, words
from tandem.brains.tokens import named_acts

Counts = Mapping[str, int]
"""Step → how often it came next."""

WAYS = 5
"""Ways in which moments may be alike, from coarse to fine."""

LEAST = 2
"""Moments alike below which they say nothing of the next."""

LONGEST_VALUE = 24


def alike(state: State) -> list[str]:
    """One key for each way: moments with the same key are alike."""
    before, last = named_acts(state), state.last
    first, second, third = ["", "", "", *before][-3:]
    outcome = str(is_negative(_returned(state))) if last == "return" else ""
    since, tone, length = str(min(len(state.since), 3)), "", ""
    if last == "customer":
        tone = "".join(str(int(one)) for one in _tone(state.latest))
        length = str(min(len(words(state.latest)) // 4, 4))
    done = ",".join(sorted({act.name for act in state.acts}))
    values = ",".join(_values(state.fresh))
    ways = (
        (third, last, outcome, since),
        (second, third, last, outcome, tone),
        (third, last, outcome, done),
        (first, second, third, last, outcome, tone, length),
        (third, last, outcome, values, str(len(state.fresh))),
    )
    return [f"{number}|{'|'.join(way)}" for number, way in enumerate(ways)]


def _returned(state: State) -> str:
    return " ".join(plain(value) for name, value in state.fresh.items() if name not in ("APIName", "id"))


def _tone(text: str) -> tuple[bool, ...]:
    return (
        YES.match(text) is not None,
        NO.search(text) is not None,
        THANKS.search(text) is not None,
        "?" in text,
    )


def _values(item: Mapping[str, object]) -> list[str]:
    """Short words of a return, such as a status."""
    found = {name: plain(value).lower() for name, value in item.items() if isinstance(value, str)}
    return sorted(
        f"{name}={text}"
        for name, text in found.items()
        if len(text) <= LONGEST_VALUE and name not in ("id", "APIName") and not text.replace(".", "").isdigit()
    )[:3]


@dataclass(frozen=True)
class Habits:
    """Key → step → how often it came next."""

    counts: Mapping[str, Counts]

    def of(self, keys: list[str], but: Habits | None = None) -> list[Counts]:
        """What came next in moments alike, one for each key; without the moments counted in `but`."""
        found = [self.counts.get(key, {}) for key in keys]
        if but is not None:
            found = [_without(own, but.counts.get(key, {})) for key, own in zip(keys, found, strict=True)]
        return [own if sum(own.values()) >= LEAST else {} for own in found]


def _without(counts: Counts, less: Counts) -> Counts:
    left = {step: n - less.get(step, 0) for step, n in counts.items()} if less else counts
    return {step: n for step, n in left.items() if n > 0}
