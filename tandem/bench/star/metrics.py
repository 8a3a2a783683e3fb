"""The field's measures of texts and of classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import exp, log

Tokens = list[str]


def tokenised(text: str) -> Tokens:
    return re.findall(r"\w+|[^\w\s]", text.lower())


def bleu4(pairs: Sequence[tuple[str, str]]) -> float:
    """Of a corpus of (said, wanted), without smoothing."""
    matched, total = [0] * 4, [0] * 4
    said_length = wanted_length = 0
    for said_text, wanted_text in pairs:
        said, wanted = tokenised(said_text), tokenised(wanted_text)
        said_length += len(said)
        wanted_length += len(wanted)
        for size in range(4):
            own = Counter(_grams(said, size + 1))
            matched[size] += sum((own & Counter(_grams(wanted, size + 1))).values())
            total[size] += own.total()
    if not all(matched):
        return 0.0
    precision = sum(log(m / t) for m, t in zip(matched, total, strict=True)) / 4
    return exp(min(0.0, 1 - wanted_length / said_length) + precision)


def rouge_l(pairs: Sequence[tuple[str, str]]) -> float:
    """The mean F1 of the longest common subsequences."""
    return sum(_rouge(tokenised(said), tokenised(wanted)) for said, wanted in pairs) / max(1, len(pairs))


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """Over the classes that occur, of (said, wanted)."""
    classes = sorted({wanted for _, wanted in pairs})
    scores = []
    for one in classes:
        hit = sum(said == wanted == one for said, wanted in pairs)
        made = sum(said == one for said, _ in pairs)
        there = sum(wanted == one for _, wanted in pairs)
        scores.append(2 * hit / (made + there))
    return sum(scores) / max(1, len(scores))


def _grams(tokens: Tokens, size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]


def _rouge(said: Tokens, wanted: Tokens) -> float:
    row = [0] * (len(wanted) + 1)
    for token in said:
        before = list(row)
        for at, (left, other) in enumerate(pairwise(before), 1):
            row[at] = left + 1 if token == wanted[at - 1] else max(other, row[at - 1])
    return 2 * row[-1] / max(1, len(said) + len(wanted))
