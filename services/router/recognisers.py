"""General values, whatever the pack: addresses, numbers, amounts, phones; English and Chinese."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from services.router.spans import Found

EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?![\w-])", re.ASCII)
URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'，。；）)\]]+", re.IGNORECASE)
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE | re.ASCII)
_PHONE_FORM = re.compile(
    r"(?<![\w-])(?:\+\d{1,3}[ -]?(?:\(?\d{1,4}\)?[ -]?){2,5}\d|\(\d{3}\) ?\d{3}-\d{4}"
    r"|\d{3}[-. ]\d{3}[-. ]\d{4}|1[3-9]\d{9})(?![\w-])",
    re.ASCII,
)
_PHONE_CUE = re.compile(
    r"(?:\b(?:phone|mobile|cell|tel|telephone|call me (?:at|on)|reach me (?:at|on))\b[^\d+\n]{0,20}|(?:电话|手机)[^\d+\n]{0,8})"
    r"(\+?\d[\d -]{5,17}\d)",
    re.IGNORECASE,
)
_NUMBER = r"\d{1,3}(?:,\d{3}){1,4}(?:\.\d{1,9})?|\d{1,15}(?:\.\d{1,9})?"
AMOUNT = re.compile(
    rf"(?:[$€£¥￥]|\b(?:usd|eur|gbp|cny|rmb)\s?)\s?({_NUMBER})"
    rf"|({_NUMBER})\s?(?:dollars?|euros?|pounds?|yuan|bucks|usd|eur|gbp|cny|rmb|元|块钱?|美元|欧元|[$€£])(?![a-z])",
    re.IGNORECASE,
)
INTEGER = re.compile(r"(?<![\w.,/:@#%-])(\d{1,3}(?:,\d{3}){1,5}|\d{1,18})(?![\w@%]|[.,:/-]\d)", re.ASCII)
DECIMAL = re.compile(r"(?<![\w.,/:@#-])(\d{1,15}\.\d{1,15})(?![\w@]|\.\d)", re.ASCII)
_PHONE_DIGITS = 7

_MANY = 20
"""Values of one kind taken from one message."""


def find_addresses(text: str) -> Iterator[Found]:
    """`url`, `email` and `ip`, in this order: a URL's host is not an address of its own."""
    if "://" in text or "www." in text.lower():
        for match in URL.finditer(text):
            address = match.group().rstrip(".,!?:;")
            yield Found("url", address, match.start(), match.start() + len(address))
    if "@" in text:
        for match in EMAIL.finditer(text):
            yield Found("email", match.group().lower().rstrip("."), match.start(), match.end())
    for pattern, mark in ((IPV4, "."), (IPV6, ":")):
        if text.count(mark) >= 2:
            yield from _addresses(pattern, text)


def _addresses(pattern: re.Pattern[str], text: str) -> Iterator[Found]:
    for match in pattern.finditer(text):
        try:
            yield Found("ip", str(ipaddress.ip_address(match.group())), match.start(), match.end())
        except ValueError:
            continue


def find_phones(text: str) -> Iterator[Found]:
    """`phone`: by its form, or digits after a word for it."""
    if sum(map(str.isdigit, text)) < _PHONE_DIGITS:
        return
    for match in _PHONE_FORM.finditer(text):
        yield Found("phone", _dial(match.group()), match.start(), match.end(), confidence=0.9)
    for match in _PHONE_CUE.finditer(text):
        yield Found("phone", _dial(match.group(1)), match.start(1), match.end(1), confidence=0.9)


def find_wholes(text: str) -> list[Found]:
    """E-mail addresses and phones by their form: a number in one is a part of it and nothing else."""
    found: list[Found] = []
    if "@" in text:
        found += [Found("email", match.group(), match.start(), match.end()) for match in EMAIL.finditer(text)]
    if sum(map(str.isdigit, text)) >= _PHONE_DIGITS:
        found += [Found("phone", match.group(), match.start(), match.end()) for match in _PHONE_FORM.finditer(text)]
    return found


def find_numbers(text: str) -> Iterator[Found]:
    """`amount`, `number` (with a decimal point) and `integer`."""
    if not any(map(str.isdigit, text)):
        return
    for match in AMOUNT.finditer(text):
        yield Found("amount", _number(match.group(1) or match.group(2)), match.start(), match.end(), confidence=0.95)
    for match in DECIMAL.finditer(text):
        yield Found("number", _number(match.group(1)), match.start(), match.end(), confidence=0.9)
    for match in INTEGER.finditer(text):
        yield Found("integer", int(match.group(1).replace(",", "")), match.start(), match.end(), confidence=0.9)


def find_general(text: str, taken: list[Found]) -> list[Found]:
    """Addresses, phones and numbers that stand where nothing is yet, each place once."""
    found: list[Found] = []
    for find in (find_addresses, find_phones, find_numbers):
        for value in find(text):
            if len(found) < _MANY and value.free_of(taken) and value.free_of(found):
                found.append(value)
    return found


def _dial(text: str) -> str:
    return ("+" if text.lstrip().startswith("+") else "") + re.sub(r"\D", "", text)


def _number(text: str) -> int | float:
    value = float(text.replace(",", ""))
    return int(value) if value.is_integer() else value
