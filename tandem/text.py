"""Words: the terms a text is searched and compared by, in English and Chinese. Stable: stored vectors depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[a-z0-9]+(?:[._'@-][a-z0-9]+)*|[{CJK}]+", re.IGNORECASE)
_CJK_RUN = re.compile(rf"[{CJK}]")
_PART = re.compile(r"[a-z]+|\d+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(\[`*])|(?<=[。！？])|\n+")
_REFUSES = re.compile(
    r"(?:\b(?:not|never|except(?: for)?|(?:anything|anyone|anywhere|everything|all) but|other than|besides|instead of|rather than"
    r"|hates?|dislikes?)|n['’]t)\b(?! (?:sure|only|just|mind|wait|know|remember|care))(?:(?! but )[^.,;:!?\n])*$",
    re.IGNORECASE,
)
_REFUSAL_REACH = 32
"""Characters before a value in which a refusal is meant for it."""

_LETTER = rf"[^\W\d_{CJK}]"
_BEFORE_LETTER, _AFTER_LETTER = rf"(?<!{_LETTER})", rf"(?!{_LETTER})"
_BEFORE_DIGIT, _AFTER_DIGIT = r"(?<!\d)(?<!\d[.,])", r"(?!\d|[.,]\d)"
_VOWEL = re.compile(r"[aeiouy]")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")

_STOP_WORDS = """a an the and or but if then than so of to in on at by for from with about into over under as is are was were be
    been being am do does did doing done have has had having i me my mine we us our you your yours he she it its they
    them their this that these those there here what which who whom whose when where why how can could should would
    will shall may might must not no nor only just also too very please i'm it's don't can't doesn't isn't i've
    的 了 吗 呢 吧 啊 呀 是 我 你 他 她 它 们 这 那 在 和 与 就 都 也 很"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def is_cjk(text: str) -> bool:
    """True if any character is Chinese, Japanese or Korean."""
    return _CJK_RUN.search(text) is not None


def mostly_cjk(text: str) -> bool:
    """True if a fifth of the text's characters, or more, are Chinese, Japanese or Korean."""
    return 5 * len(_CJK_RUN.findall(text)) >= max(1, len(text))


def refused(text: str, start: int) -> bool:
    """Whether the words right before say that what stands there is not wanted: "anything but", "not on the"."""
    return _REFUSES.search(text, max(0, start - _REFUSAL_REACH), start) is not None


def stands_in(value: str, text: str) -> bool:
    """Whether the text has the value, in any case and spacing, and not as a piece of a longer number or word.

    What a model says that a customer wrote is taken for theirs only then: "1" does not stand in "O-1001", nor "no" in "not".
    Chinese, Japanese and Korean, written without spaces, have no such pieces.
    """
    wanted, said = (" ".join(each.split()).casefold() for each in (value, text))
    if not wanted:
        return False
    before = _bound(wanted[0], _BEFORE_DIGIT, _BEFORE_LETTER)
    after = _bound(wanted[-1], _AFTER_DIGIT, _AFTER_LETTER)
    return re.search(before + re.escape(wanted) + after, said) is not None


def _bound(end: str, digit: str, letter: str) -> str:
    return digit if end.isdigit() else letter if end.isalpha() and not is_cjk(end) else ""


def words(text: str) -> list[str]:
    """Lower-case words and runs of CJK characters, in order, stop words included."""
    return [match.group().lower() for match in _TOKEN.finditer(text)]


def terms(text: str) -> list[str]:
    """What a text is searched by: stemmed words without stop words, parts of compounds, CJK character bigrams."""
    found: list[str] = []
    for word in words(text):
        if _CJK_RUN.match(word):
            found.extend(bigrams(word))
        elif word not in STOP_WORDS:
            found.append(stem(word))
            if not word.isalnum():
                found.extend(stem(part) for part in _PART.findall(word) if part not in STOP_WORDS)
    return found


def bigrams(run: str) -> Iterator[str]:
    """Character pairs of a run; a single character stands for itself."""
    if len(run) == 1:
        if run not in STOP_WORDS:
            yield run
        return
    for a, b in pairwise(run):
        yield a + b


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """A light English stemmer: plurals, -ing, -ed, -ly, and a doubled last consonant. Short words stay."""
    if len(word) < 4 or not word.isalpha():
        return word
    word = _singular(word)
    for suffix in ("ing", "ed", "ly"):
        base = word.removesuffix(suffix)
        if base != word and len(base) >= 3 and _VOWEL.search(base):
            return _undouble(base)
    return word.removesuffix("e") if len(word) > 4 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _undouble(base: str) -> str:
    if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz":
        return base[:-1]
    return base.removesuffix("e") if len(base) > 4 else base


def sentences(text: str) -> list[str]:
    """Sentences and lines, stripped, in order."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def word_count(text: str) -> int:
    """Words of a text; two CJK characters count as one."""
    return sum(max(1, len(word) // 2) if _CJK_RUN.match(word) else 1 for word in words(text))


def one_line(text: object, limit: int = 200) -> str:
    """Text of the other side, made fit to be shown and logged: data, on one line, capped."""
    return _UNPRINTABLE.sub(" ", str(text)).strip()[:limit]
