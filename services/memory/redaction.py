"""Codes, passwords and keys that the router did not know to mask are taken out of what is remembered, before anybody reads it.

What a model is not shown, it can neither repeat nor call a fact. Rather too much than too little: nothing depends on memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tandem.packs.links import MASK

_CUE = re.compile(
    r"\b(?:codes?|pin|otp|2fa|tan|pass(?:word|code|phrase)?s?|pwd|tokens?|secrets?|keys?|cvv|cvc|credentials?|one-time)\b"
    r"|密码|口令|密钥|验证码|校验码|令牌",
    re.IGNORECASE,
)
_SAID = re.compile(rf"((?:{_CUE.pattern})\s*(?:is|was|are|to be|:|=|：|是|为)\s*)[^\s,，。;；]+", re.IGNORECASE)
_NUMBER_ALONE = re.compile(r"\W*\d(?:[ -]?\d){2,11}\W*")
_BESIDE_A_CUE = re.compile(r"(?<![\w@.])(?=[^\s@]*\d)[\w!#$%&*+/=?^-]{3,}(?![\w@])")
_LONG = re.compile(r"(?<!\w)\d(?:[ -]?\d){11,}(?!\w)|(?<!\S)(?=\S*\d)(?=\S*[A-Za-z])[\w+/=.-]{24,}(?!\S)")
_BLOCK = re.compile(r"-----BEGIN [^-]*-----.*?(?:-----END [^-]*-----|\Z)", re.DOTALL)


def redacted(texts: Iterable[str]) -> list[str]:
    """The texts, in the order they were said: a question for a code makes the next number one."""
    found, asked = [], False
    for text in texts:
        cued = _CUE.search(text) is not None
        hidden = _LONG.sub(MASK, _BLOCK.sub(MASK, text))
        if cued or asked:
            hidden = _BESIDE_A_CUE.sub(MASK, _SAID.sub(rf"\1{MASK}", hidden))
        found.append(MASK if _NUMBER_ALONE.fullmatch(hidden) else hidden)
        asked = cued
    return found
