"""Values of a tool's parameters that stand in a text, found by the parameter's type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tandem.brains.values import Parameter

_HOUR = re.compile(r"^(\d{1,2}) (am|pm)$", re.IGNORECASE)
_ORDINAL = re.compile(r"^(\d{1,2})(?:st|nd|rd|th)$", re.IGNORECASE)
_DAYS = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
_SHORT_DAYS = {"tuesday": ("tues",), "wednesday": ("weds",), "thursday": ("thur", "thurs")}
NUMBERS = re.compile(r"(?<![\w.])\d+(?![\w])")
REMEMBERED = 4_096
"""Texts whose mentions are kept: the messages of a conversation are read at each of its decisions."""

_WEAK = frozenset(
    [
        "the",
        "one",
        "and",
        "hotel",
        "apartments",
        "inn",
        "club",
        "dr",
        "venue",
        "of",
        "on",
        "city",
        "new",
        "code",
        "in",
        "to",
    ]
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A value of a parameter in a text."""

    parameter: str
    value: str
    start: int
    end: int
    exact: bool  # the whole value stands there, not a part or another form of it


@lru_cache(maxsize=512)
def forms(category: str) -> tuple[str, ...]:
    """Ways people write a category. The first is the category itself."""
    low = category.lower()
    hour, ordinal = _HOUR.match(low), _ORDINAL.match(low)
    if hour:
        number, half = hour.groups()
        found = [
            f"{number}{minutes}{gap}{mark}"
            for minutes in ("", ":00")
            for gap in (" ", "")
            for mark in (half, f"{half[0]}.m", f"{half[0]}m.")
        ]
        if low == "12 pm":
            found.append("noon")
        if low == "12 am":
            found.append("midnight")
        return tuple(dict.fromkeys((low, *found)))
    if ordinal:
        return (low, f"{ordinal.group(1)} ", ordinal.group(1))
    if low in _DAYS:
        return (low, low[:3], f"{low}s", *_SHORT_DAYS.get(low, ()))
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", category).lower()
    return tuple(dict.fromkeys((low, spaced, low.replace(".", ""), low.replace("'", ""))))


class Mentions:
    """Finds values of the parameters that have categories."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._patterns = {p.name: _pattern(p) for p in parameters if p.categories and p.type != "request"}
        self.named = lru_cache(maxsize=REMEMBERED)(self._named)
        self.whole = lru_cache(maxsize=REMEMBERED)(self._whole)

    def _named(self, text: str) -> tuple[frozenset[str], frozenset[str]]:
        """Parameters with a value in the text; and those of them with a value that stands there as a whole."""
        found = self.find(text)
        return frozenset(one.parameter for one in found), frozenset(one.parameter for one in found if one.exact)

    def _whole(self, text: str) -> tuple[tuple[str, str], ...]:
        """Parameters with their values that stand in the text as a whole."""
        return tuple((one.parameter, one.value) for one in self.find(text) if one.exact)

    def find(self, text: str) -> list[Mention]:
        return [mention for name in self._patterns for mention in self.of(name, text)]

    def of(self, parameter: str, text: str) -> list[Mention]:
        pattern, values = self._patterns.get(parameter, (None, {}))
        if pattern is None:
            return []
        return [
            Mention(
                parameter,
                values[match.group().lower().strip()][0],
                *match.span(),
                values[match.group().lower().strip()][1],
            )
            for match in pattern.finditer(text.lower().replace("’", "'"))
        ]


def _pattern(parameter: Parameter) -> tuple[re.Pattern[str], dict[str, tuple[str, bool]]]:
    """An expression for all forms of all categories, and which category each is."""
    values: dict[str, tuple[str, bool]] = {}
    parts: dict[str, list[str]] = {}
    for category in parameter.categories:
        for part in forms(category)[0].split():
            parts.setdefault(part, []).append(category)
    for part, owners in parts.items():
        if len(owners) == 1 and len(part) > 2 and part not in _WEAK and not part[0].isdigit():
            values[part.strip(".")] = (owners[0], False)
    for category in parameter.categories:
        for form in forms(category):
            values[form.strip()] = (category, True)
    if {category.lower() for category in parameter.categories} == {"yes", "no"}:
        values = {form: value for form, value in values.items() if value[1]}
    ordered = sorted(values, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)"), values
