"""A situation as weighted tokens: what the linear models count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import sqrt
from typing import Any

from tandem.brains.compiled import is_negative, name_words
from tandem.brains.state import NO, THANKS, YES, State, plain, words

LONGEST_VALUE = 24
WEIGHTS = {"w": 1.2, "h": 0.8, "f": 0.6, "a": 2.0, "b": 1.0, "r": 1.2, "x": 1.0, "g": 1.0, "n": 1.0}


def tokens(state: State) -> dict[str, float]:
    """Each group of tokens has a norm of its own, so that long messages do not drown what was done."""
    found: dict[str, float] = {}
    fresh = "w" if state.last == "customer" else "o"
    latest = words(state.latest)
    _add(found, "w", [f"{fresh}:{one}" for one in grams(latest)])
    _add(found, "h", [f"h:{one}" for text in state.said for one in words(text)])
    _add(found, "f", [f"f:{one}" for one in words(state.free)])
    acts = named_acts(state)
    recent = ["", "", "", *acts][-3:]
    marks = [f"a1:{recent[-1]}", f"a2:{recent[-2]}", f"a3:{recent[-3]}", f"a12:{recent[-2]}>{recent[-1]}"]
    _add(found, "a", [*marks, f"e:{state.last}", f"ae:{recent[-1]}|{state.last}|{min(len(state.since), 3)}"])
    _add(found, "b", [f"b:{name}" for name in set(acts)])
    values = list(_values(state.returned))
    when = "r" if state.last == "return" else "q"
    crossed = [f"x:{recent[-1]}|{value}" for value in values if "=" in value] if state.last == "return" else []
    _add(found, "r", [*(f"{when}:{value}" for value in values), *crossed])
    _add(found, "x", [f"c:{recent[-1]}|{one}" for one in latest[:6]] if state.last == "customer" else [])
    _add(found, "g", _general(state))
    _add(found, "n", [f"n:{one}|{state.last}" for one in name_words(recent[-1].partition("/")[0])])
    return found


def _general(state: State) -> list[str]:
    """What can be said of a moment under any procedure."""
    last, calls = state.last, min(2, sum(turn.who == "call" for turn in state.situation.turns))
    marks = [
        f"g:{last}|{calls}",
        f"g:{last}|since {min(len(state.since), 3)}",
        f"g:{last}|said {min(len(state.said), 4)}",
    ]
    if last == "return":
        values = " ".join(plain(value) for name, value in state.fresh.items() if name not in ("APIName", "id"))
        marks += [f"g:negative {is_negative(values)}|{calls}", f"g:values {min(len(state.fresh), 8)}"]
    if last == "customer":
        latest = state.latest
        tone = (YES.match(latest), NO.search(latest), THANKS.search(latest), "?" in latest or None)
        marks += [f"g:tone {''.join(str(int(one is not None)) for one in tone)}|{calls}"]
    return marks


def grams(parts: list[str]) -> list[str]:
    """Words and pairs of words."""
    return [*parts, *(f"{a} {b}" for a, b in pairwise(["^", *parts, "$"]))]


def named_acts(state: State) -> list[str]:
    """What the agent did; calls with their request type."""
    return [_named(state, act.at, act.name) for act in state.acts]


def _named(state: State, at: int, name: str) -> str:
    turn = state.situation.turns[at]
    kind = turn.params.get("RequestType", "")
    return f"{name}/{plain(kind).lower()}" if kind else name


def _values(item: Mapping[str, Any]) -> Iterable[str]:
    for name, value in item.items():
        text = plain(value).lower()
        if name in ("id", "APIName"):
            continue
        yield name
        if len(text) <= LONGEST_VALUE and not text.replace(".", "").isdigit():
            yield f"{name}={text}"
        if " " in text:
            yield from words(text)[:12]


def _add(found: dict[str, float], group: str, names: Iterable[str]) -> None:
    unique = set(names)
    for name in unique:
        found[name] = WEIGHTS[group] / sqrt(len(unique))
