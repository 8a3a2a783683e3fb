"""What must not travel in clear: payment cards, identity numbers, passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.router.spans import Found

CARD = "card_number"
IDENTITY = "id_number"
PASSWORD = "password"

_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_CN_ID = re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}(?:19|20)\d{9}[0-9Xx](?![0-9A-Za-z])")
_CN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_SSN = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_IDENTITY_CUE = re.compile(
    r"(?:passport|identity card|id card|national id|driver'?s licen[cs]e|social security|ssn|身份证|护照)"
    r"(?:\s{0,3}(?:number|no\.?|#|号码|号))?\s{0,3}(?:is|was|:|=|：|是|为)?\s{0,3}([A-Za-z]{0,3}\d[A-Za-z0-9-]{5,19})",
    re.IGNORECASE,
)
_PASSWORD_CUE = re.compile(
    r"(?:\b(?:password|passwd|pwd|passphrase|passcode|api[ _-]?key|access[ _-]?key|secret(?:[ _-]?key)?|pin(?: code)?)\b"
    r"(?:\s{1,3}(?:to|for)\s{1,3}\w{1,40})?\s{0,3}(?:is|was|:|=|：|to be)\s{0,3}"
    r"|(?:密码|口令|密钥)\s{0,3}(?:是|为|:|=|：)\s{0,3})"
    r"(?:[\"“‘「`](?P<quoted>[^\"”’」`\n]{1,128})[\"”’」`]|'(?P<single>[^'\n]{1,128})'|(?P<bare>[^\s,，。;；]{3,128}))",
    re.IGNORECASE,
)
_SAID_OF_PASSWORDS = """a about actually all already also always an apparently being blocked broken changed compromised correct
definitely different disabled empty expired expiring failing fine forgotten gone good in incorrect invalid just
locked lost missing my needed never no not now old on out probably refused rejected required reset right saved
set somehow still stolen stored strong stuck supposed that the too unknown valid weak what working wrong 错误 错的
什么 不对 多少"""
_NOT_A_PASSWORD = frozenset(_SAID_OF_PASSWORDS.split())
"""What people say of a password rather than the password itself."""

_CUES = (
    "pass",
    "pwd",
    "key",
    "secret",
    "pin",
    "密",
    "口令",
    "ssn",
    "licen",
    "social",
    "identity",
    "card",
    "national",
    "身份",
    "护照",
)


def find_sensitive(text: str) -> Iterator[Found]:
    """Sensitive values, by form and checksum or by the words before them."""
    lower = text.lower()
    if any(cue in lower for cue in _CUES):
        yield from _cued(text)
    if sum(map(str.isdigit, text)) < 9:
        return
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if luhn(digits):
            yield Found(CARD, digits, match.start(), match.end(), sensitive=True)
    for match in _CN_ID.finditer(text):
        if _cn_checksum(match.group()):
            yield Found(IDENTITY, match.group().upper(), match.start(), match.end(), sensitive=True)
    for match in _SSN.finditer(text):
        yield Found(IDENTITY, match.group(), match.start(), match.end(), sensitive=True, confidence=0.9)


def luhn(digits: str) -> bool:
    """The checksum of payment cards."""
    if len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _cued(text: str) -> Iterator[Found]:
    for match in _PASSWORD_CUE.finditer(text):
        group = match.lastgroup or "bare"
        value = match.group(group).rstrip(".?") if group == "bare" else match.group(group)
        if group != "bare" or (len(value) >= 3 and value.lower().rstrip("!") not in _NOT_A_PASSWORD):
            start = match.start(group)
            yield Found(PASSWORD, value, start, start + len(value), sensitive=True, confidence=0.9)
    for match in _IDENTITY_CUE.finditer(text):
        yield Found(IDENTITY, match.group(1), match.start(1), match.end(1), sensitive=True, confidence=0.9)


def _cn_checksum(number: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _CN_WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == number[17].upper()
