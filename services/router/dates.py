"""Dates and times of day in a message, English and Chinese, relative ones against the day it was sent (UTC)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from services.router.spans import Found

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sept", "sep"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ZH_DAYS = {"一": 0, "二": 1, "三": 2, "四": 3, "五": 4, "六": 5, "日": 6, "天": 6}
_ZH_DIGITS = {"零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_RELATIVE = {
    "today": 0,
    "tonight": 0,
    "tomorrow": 1,
    "yesterday": -1,
    "day after tomorrow": 2,
    "今天": 0,
    "今晚": 0,
    "明天": 1,
    "明早": 1,
    "后天": 2,
    "昨天": -1,
    "前天": -2,
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))

_ISO = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_NUMERIC = re.compile(r"(?<![\d/.])(\d{1,2})[/.](\d{1,2})[/.](\d{4})(?![\d/])")
_MONTH_DAY = re.compile(rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?", re.IGNORECASE)
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})\b\.?(?:,?\s+(\d{{4}}))?", re.IGNORECASE)
_ZH_DATE = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]")
_RELATIVE_DAY = re.compile(r"\bday after tomorrow\b|\b(?:today|tonight|tomorrow|yesterday)\b", re.IGNORECASE)
_ZH_RELATIVE_DAY = re.compile("|".join(word for word in _RELATIVE if not word.isascii()))
_WEEKDAY = re.compile(rf"\b(?:(next|this|last)\s+)?({'|'.join(_DAYS)})\b", re.IGNORECASE)
_ZH_WEEKDAY = re.compile(r"(下|上|这|本)?个?(?:周|星期|礼拜)([一二三四五六日天])")
_IN_DAYS = re.compile(r"\b(?:in\s+(\d{1,3})\s+(day|week)s?|(\d{1,3})\s+(day|week)s?\s+ago)\b", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?<![\d:.])(\d{1,2})(?::(\d{2}))?\s*(am|pm|a\.m\.|p\.m\.)(?![a-z])|(?<![\d:.])(\d{1,2}):(\d{2})(?::\d{2})?(?![\d:])",
    re.IGNORECASE,
)
_NAMED_TIME = re.compile(r"\b(noon|midnight)\b", re.IGNORECASE)
_ZH_CLOCK = re.compile(
    r"(上午|早上|凌晨|中午|下午|傍晚|晚上)?(\d{1,2}|[一二两三四五六七八九十]{1,3})点(半|\d{1,2}分?)?"
)
_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"day\b|tonight|tomorrow|noon|midnight", re.IGNORECASE)

_LAST_DAY_MS = 4_102_444_800_000
"""The year 2100: a channel's clock may be wrong, and a date has its limits."""

_MANY = 50
"""Dates taken from one message."""


def find_dates(text: str, sent_at: int) -> Iterator[Found]:
    """`date` (ISO 8601) and `time` (HH:MM) values. `sent_at` in milliseconds."""
    kinds = {
        "digit": _DIGIT.search(text) is not None,
        "word": _WORD.search(text) is not None,
        "chinese": not text.isascii(),
    }
    if any(kinds.values()):
        today = datetime.fromtimestamp(min(max(sent_at, 0), _LAST_DAY_MS) / 1000, UTC).date()
        yield from islice(_read(text, today, kinds), _MANY)


def _read(text: str, today: date, kinds: dict[str, bool]) -> Iterator[Found]:
    for kind, pattern, read in _DATE_READERS:
        for match in pattern.finditer(text) if kinds[kind] else ():
            found = read(match, today)
            if found is not None:
                day, confidence = found
                yield Found("date", day.isoformat(), match.start(), match.end(), confidence=confidence)
    for kind, pattern, read_time in _TIME_READERS:
        for match in pattern.finditer(text) if kinds[kind] else ():
            clock = read_time(match)
            if clock is not None:
                yield Found("time", f"{clock[0]:02}:{clock[1]:02}", match.start(), match.end(), confidence=0.9)


def _day(year: int, month: int, day: int, confidence: float = 1.0) -> tuple[date, float] | None:
    try:
        return date(year, month, day), confidence
    except ValueError:
        return None


def _nearest(year: str | None, month: int, day: int, today: date) -> tuple[date, float] | None:
    """Without a year: the occurrence nearest to today."""
    if year:
        return _day(int(year), month, day)
    near = [found[0] for y in (today.year - 1, today.year, today.year + 1) if (found := _day(y, month, day))]
    return (min(near, key=lambda d: abs((d - today).days)), 0.9) if near else None


def _numeric(match: re.Match[str], today: date) -> tuple[date, float] | None:
    first, second, year = (int(group) for group in match.groups())
    if first > 12:
        return _day(year, second, first)
    return _day(year, first, second, 1.0 if second > 12 or first == second else 0.6)


def _relative(match: re.Match[str], today: date) -> tuple[date, float] | None:
    return today + timedelta(days=_RELATIVE[match.group().lower()]), 1.0


def _weekday(match: re.Match[str], today: date) -> tuple[date, float] | None:
    which = (match.group(1) or "").lower()
    return _week_day(_DAYS.index(match.group(2).lower()), which, today)


def _zh_weekday(match: re.Match[str], today: date) -> tuple[date, float] | None:
    which = {"下": "next", "上": "last"}.get(match.group(1) or "", "")
    wanted = _ZH_DAYS[match.group(2)]
    if which:  # Chinese counts weeks: next week's Monday
        monday = today - timedelta(days=today.weekday())
        return monday + timedelta(days=wanted + (7 if which == "next" else -7)), 0.9
    return _week_day(wanted, "", today)


def _week_day(wanted: int, which: str, today: date) -> tuple[date, float]:
    ahead = (wanted - today.weekday()) % 7
    if which == "last":
        return today - timedelta(days=(today.weekday() - wanted) % 7 or 7), 0.9
    if which == "next":
        return today + timedelta(days=ahead or 7), 0.8
    return today + timedelta(days=ahead), 0.8


def _in_days(match: re.Match[str], today: date) -> tuple[date, float] | None:
    ahead, unit, ago, ago_unit = match.groups()
    days = int(ahead or ago) * (7 if (unit or ago_unit).lower() == "week" else 1)
    return today + timedelta(days=days if ahead else -days), 1.0


def _clock(match: re.Match[str]) -> tuple[int, int] | None:
    hour, minute, half, hour24, minute24 = match.groups()
    if hour24 is not None:
        return _valid(int(hour24), int(minute24))
    if not 1 <= int(hour) <= 12:
        return None
    return _valid(int(hour) % 12 + (12 if half.lower().startswith("p") else 0), int(minute or 0))


def _named(match: re.Match[str]) -> tuple[int, int] | None:
    return (12, 0) if match.group(1).lower() == "noon" else (0, 0)


def _zh_clock(match: re.Match[str]) -> tuple[int, int] | None:
    part, hours, rest = match.groups()
    hour = int(hours) if hours.isdigit() else _zh_number(hours)
    minute = 30 if rest == "半" else int(rest.rstrip("分")) if rest else 0
    if part in ("下午", "傍晚", "晚上") and hour < 12:
        hour += 12
    return _valid(hour, minute)


def _zh_number(text: str) -> int:
    """一 … 九十九."""
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return _ZH_DIGITS.get(text, 99)
    return 10 * (_ZH_DIGITS.get(tens, 1) if tens else 1) + (_ZH_DIGITS.get(ones, 0) if ones else 0)


def _valid(hour: int, minute: int) -> tuple[int, int] | None:
    return (hour, minute) if hour < 24 and minute < 60 else None


DateReader = Callable[[re.Match[str], date], tuple[date, float] | None]
TimeReader = Callable[[re.Match[str]], tuple[int, int] | None]

_DATE_READERS: tuple[tuple[str, re.Pattern[str], DateReader], ...] = (
    ("digit", _ISO, lambda m, today: _day(int(m[1]), int(m[2]), int(m[3]))),
    ("digit", _NUMERIC, _numeric),
    ("digit", _MONTH_DAY, lambda m, today: _nearest(m[3], _MONTHS[m[1].lower()], int(m[2]), today)),
    ("digit", _DAY_MONTH, lambda m, today: _nearest(m[3], _MONTHS[m[2].lower()], int(m[1]), today)),
    ("chinese", _ZH_DATE, lambda m, today: _nearest(m[1], int(m[2]), int(m[3]), today)),
    ("word", _RELATIVE_DAY, _relative),
    ("chinese", _ZH_RELATIVE_DAY, _relative),
    ("word", _WEEKDAY, _weekday),
    ("chinese", _ZH_WEEKDAY, _zh_weekday),
    ("digit", _IN_DAYS, _in_days),
)
"""What a text must have for the pattern to be tried, the pattern, and what its matches mean."""

_TIME_READERS: tuple[tuple[str, re.Pattern[str], TimeReader], ...] = (
    ("digit", _CLOCK, _clock),
    ("word", _NAMED_TIME, _named),
    ("chinese", _ZH_CLOCK, _zh_clock),
)
