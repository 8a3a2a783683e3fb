"""Where a parameter's value stands in what the customer wrote. Only forms that cannot be mistaken are found here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tandem.packs.model import Slot
from tandem.text import is_cjk

_FORMS: dict[str, str] = {
    "email": r"[A-Za-z0-9][\w.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
    "ip": r"(?:\d{1,3}\.){3}\d{1,3}",
    "url": r"https?://[^\s<>\"'，。）)]+",
    "phone": r"\+?\d[\d -]{6,17}\d",
    "date": r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{4}年\d{1,2}月\d{1,2}日",
    "uuid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
_FORMATS = {"email": "email", "ipv4": "ip", "uri": "url", "date": "date", "uuid": "uuid"}
_NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?"
_LINK = r"\s*(?:number|no\.?|#)?\s*(?:is|was|=|:|：|是|为)?\s*"


def mentions(text: str, name: str, schema: Mapping[str, Any], slot: Slot | None) -> list[str]:
    """Every mention of a parameter's value in a text, in order, as written."""
    if slot is not None and slot.only_cued:
        return []  # the router has taken what is surely its own
    patterns = _of_slot(slot) if slot else []
    patterns = patterns or _of_schema(schema)
    if not patterns and _numeric(schema, slot):
        labels = (name.replace("_", " "), *(slot.label.values() if slot else ()))
        patterns = [_cued(label, _NUMBER) for label in labels]
    found = [(match.start(), _value(match)) for pattern in patterns for match in _finder(pattern).finditer(text)]
    return [value for _, value in sorted(found)]


def _of_slot(slot: Slot) -> list[str]:
    if slot.pattern:
        return [_bounded(re.sub(r"^\(\?[aiLmsux]+\)", "", slot.pattern))]
    if slot.choices:
        return [_word(word) for value, words in slot.choices.items() for word in (value.replace("_", " "), *words)]
    return [_bounded(_FORMS[slot.type])] if slot.type in _FORMS else []


def _of_schema(schema: Mapping[str, Any]) -> list[str]:
    for part in _alternatives(schema):
        if part.get("enum"):
            return [_word(str(option).replace("_", " ")) for option in part["enum"] if not isinstance(option, bool)]
        if part.get("format") in _FORMATS:
            return [_bounded(_FORMS[_FORMATS[part["format"]]])]
        if isinstance(part.get("pattern"), str):
            return [_bounded(part["pattern"].removeprefix("^").removesuffix("$"))]
    return []


def _alternatives(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for part in schema.get("anyOf") or schema.get("oneOf") or ():
        if isinstance(part, Mapping):
            yield part


def _numeric(schema: Mapping[str, Any], slot: Slot | None) -> bool:
    if slot is not None:
        return slot.type in ("integer", "number")
    return any(part.get("type") in ("integer", "number") for part in _alternatives(schema))


def _cued(label: str, value: str) -> str:
    return rf"(?<![A-Za-z]){re.escape(label)}{_LINK}(?P<value>{value})(?![\w.-]*[A-Za-z])"


def _word(word: str) -> str:
    return re.escape(word) if is_cjk(word) else rf"(?<!\w){re.escape(word)}(?!\w)"


def _bounded(pattern: str) -> str:
    return rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])"


def _value(match: re.Match[str]) -> str:
    return match.group("value" if "value" in match.re.groupindex else 0).strip()


@lru_cache(maxsize=4096)
def _finder(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error:  # a schema's ECMA-262 pattern that Python does not read
        return re.compile(r"(?!)")
