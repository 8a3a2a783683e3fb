"""Values as they are compared: without quotes, operators, case; times and dates in one form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

_OPERATOR = re.compile(r"^api\.(\w+)\((.*)\)$", re.DOTALL)
_TIME = re.compile(r"\b(\d{1,2})(?::(\d{2}))?\s*([ap])\.?m\b\.?")
_DATE = re.compile(r"\b(\d{1,2})[/.-](\d{1,2})[/.-](\d{2,4})\b")
_TRUTH = {"true": "yes", "false": "no"}
NOTHING = frozenset(("", "null", "none", "[]"))


def operator_of(value: Any) -> str:
    """`is_one_of` and the like; "" of a plain value."""
    found = _OPERATOR.match(str(value).strip())
    name = found.group(1) if found else ""
    return "" if name == "is_equal_to" else name


def spelling(value: Any) -> str:
    """A value as it was written, without operator, brackets of a single value, and quotes."""
    text = str(value).strip()
    found = _OPERATOR.match(text)
    text = (found.group(2) if found else text).strip()
    if text.startswith("[") and text.endswith("]") and text.count('","') == 0 and text.count("', '") == 0:
        text = text[1:-1]
    return text.strip("\"' \t")


def normal(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = spelling(value).lower().replace("’", "'")
    text = _TIME.sub(_time, text)
    text = _DATE.sub(lambda match: f"{int(match[1]):02d}/{int(match[2]):02d}/{match[3]}", text)
    text = re.sub(r"\s+", " ", text).strip(" .,!?;:\"'")
    return _TRUTH.get(text, text)


def _time(match: re.Match[str]) -> str:
    minutes = f":{match[2]}" if match[2] and match[2] != "00" else ""
    return f"{int(match[1])}{minutes} {match[3]}m"


def is_nothing(value: Any) -> bool:
    return normal(value) in NOTHING


def token_f1(said: str, gold: str) -> float:
    """How many words two texts share."""
    a, b = _bag(said), _bag(gold)
    shared = sum((a & b).values())
    return 2 * shared / max(1, a.total() + b.total())


def _bag(text: str) -> Counter[str]:
    words: Iterable[str] = re.findall(r"\w+", text.lower())
    return Counter(words)
