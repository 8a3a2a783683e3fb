"""From what people write to what a schema asks for. A value is reshaped, never made up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from functools import lru_cache, partial
from typing import Any

from jsonschema_rs import Draft202012Validator

from tandem.contracts.values import Json, canonical_json

Words = Mapping[str, Sequence[str]]
"""Value → the words customers use for it."""

YES = frozenset({"true", "yes", "y", "on", "1", "是", "好", "对", "需要"})
NO = frozenset({"false", "no", "n", "off", "0", "否", "不", "不是", "不需要"})

_NUMBER = re.compile(
    r"^[$€£¥￥#]?\s*([-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?)(?:\s*[%$€£元块个天人岁]{1,2}|\s+[A-Za-z]{1,10})?$"
)
_CLOCK = re.compile(r"^(\d{1,2})(?:[:.：](\d{2}))?(?:[:.：](\d{2}))?\s*(a\.?m\.?|p\.?m\.?)?$", re.IGNORECASE)
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%B %d, %Y", "%B %d %Y", "%d %B %Y", "%b %d, %Y", "%b %d %Y",
          "%d %b %Y", "%Y年%m月%d日")  # fmt: skip


def coerce(value: Json, schema: Mapping[str, Any], words: Words | None = None) -> Json:
    """The value in the schema's shape, None if it has none there."""
    if value is None:
        return None
    for part in schema.get("anyOf") or schema.get("oneOf") or ():
        found = coerce(value, part, words) if isinstance(part, Mapping) else None
        if found is not None:
            return found
    if "anyOf" in schema or "oneOf" in schema:
        return None
    shaped = _shaped(value, schema, words or {})
    return shaped if shaped is not None and is_valid(shaped, schema) else None


def is_valid(value: Json, schema: Mapping[str, Any]) -> bool:
    try:
        return bool(_validator(canonical_json(schema)).is_valid(value))
    except ValueError:  # half a surrogate pair, a schema that is none
        return False


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


_FORMATS: dict[str, Callable[..., bool]] = {
    "time": partial(_reads, time.fromisoformat),  # the customer's wall clock: RFC 3339 would ask for an offset
    "date-time": partial(_reads, datetime.fromisoformat),
}


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema), validate_formats=True, formats=_FORMATS, offline=True)


def _shaped(value: Json, schema: Mapping[str, Any], words: Words) -> Json:
    options = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if options:
        return _option(value, options, words)
    named = _named(value, words)
    kinds = schema.get("type", "string" if isinstance(value, str) else None)
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        found = _typed(named, kind, schema, words)
        if found is not None:
            return found
    return None


def _typed(value: Json, kind: str | None, schema: Mapping[str, Any], words: Words) -> Json:
    match kind:
        case "boolean":
            return _boolean(value)
        case "integer":
            number = _number(value)
            return int(number) if number is not None and float(number).is_integer() else None
        case "number":
            return _number(value)
        case "string":
            return _text(value, schema)
        case "array":
            items = schema.get("items") or {}
            found = [coerce(item, items, words) for item in (value if isinstance(value, list) else [value])]
            return None if None in found else found
        case "null":
            return None
    return value


def _option(value: Json, options: Sequence[Json], words: Words) -> Json:
    if value in options and not isinstance(value, bool):
        return value
    wanted = _plain(_named(value, words))
    same = [option for option in options if _plain(option) == wanted]
    return same[0] if len(same) == 1 else None


def _named(value: Json, words: Words) -> Json:
    if not isinstance(value, str):
        return value
    said = _plain(value)
    meant = {name for name, spoken in words.items() if said in map(_plain, (name, *spoken))}
    return meant.pop() if len(meant) == 1 else value


def _plain(value: Json) -> str:
    text = str(value).lower() if not isinstance(value, bool) else ("true" if value else "false")
    return re.sub(r"[\s_\-]+", " ", text).strip(" .!。！")


def _boolean(value: Json) -> bool | None:
    if isinstance(value, bool):
        return value
    said = _plain(value)
    return True if said in YES else False if said in NO else None


def _number(value: Json) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return value
    match = _NUMBER.match(value.strip())
    if match is None:
        return None
    number = float(match.group(1).replace(",", ""))
    return int(number) if number.is_integer() else number


def _text(value: Json, schema: Mapping[str, Any]) -> str | None:
    if isinstance(value, bool | list | dict):
        return None
    text = str(value).strip()
    match schema.get("format"):
        case "date":
            return _date(text)
        case "time":
            return _time(text)
        case "email":
            return text.lower() if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) else None
    return text or None


def _date(text: str) -> str | None:
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        pass
    for form in _DATES:
        try:
            return datetime.strptime(re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text), form).date().isoformat()
        except ValueError:
            continue
    return None


def _time(text: str) -> str | None:
    match = _CLOCK.match(text)
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    half = (match.group(4) or "").lower().replace(".", "")
    if half and not 1 <= hour <= 12:
        return None
    hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
    return f"{hour:02}:{minute:02}:{second:02}" if hour < 24 and minute < 60 and second < 60 else None
