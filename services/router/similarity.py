"""How like the examples a message is, by its words and pieces of words. No model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tandem.text import is_cjk, stem, terms, words

Features = Callable[[str], dict[str, float]]


def word_features(text: str) -> dict[str, float]:
    """Stemmed words and CJK character bigrams."""
    return _damped(Counter(terms(text)))


def piece_features(text: str) -> dict[str, float]:
    """Words, pairs of words, and pieces of words: what survives a spelling mistake. For CJK characters and bigrams."""
    counts = Counter(terms(text))
    stems = [stem(word) for word in words(text)]
    counts.update(f"{a} {b}" for a, b in pairwise(stems))
    weighted = _damped(counts)
    for word in stems:
        if is_cjk(word):
            for char in word:
                weighted[char] = weighted.get(char, 0.0) + 0.5
            continue
        padded = f"<{word}>"
        for size in (3, 4):
            for at in range(len(padded) - size + 1):
                piece = padded[at : at + size]
                weighted[piece] = weighted.get(piece, 0.0) + 0.3
    return weighted


def _damped(counts: Counter[str]) -> dict[str, float]:
    return {term: 1.0 + math.log(count) for term, count in counts.items()}


class TextIndex:
    """TF-IDF cosine of a text to each of a few hundred others."""

    def __init__(self, texts: Sequence[str], features: Features) -> None:
        self._features = features
        self._size = len(texts)
        bags = [features(text) for text in texts]
        seen = Counter(term for bag in bags for term in bag)
        self._idf = {term: math.log((1 + self._size) / (1 + count)) + 1.0 for term, count in seen.items()}
        self._unseen = math.log(1 + self._size) + 1.0
        self._postings: dict[str, list[tuple[int, float]]] = {}
        for number, bag in enumerate(bags):
            for term, weight in self._unit(bag).items():
                self._postings.setdefault(term, []).append((number, weight))

    def similarities(self, text: str) -> NDArray[np.float32]:
        """Cosines, shape (number of texts,)."""
        scores = [0.0] * self._size
        for term, weight in self._unit(self._features(text)).items():
            for number, other in self._postings.get(term, ()):
                scores[number] += weight * other
        return np.asarray(scores, dtype=np.float32)

    def _unit(self, bag: dict[str, float]) -> dict[str, float]:
        weighted = {term: weight * self._idf.get(term, self._unseen) for term, weight in bag.items()}
        norm = math.sqrt(sum(weight * weight for weight in weighted.values()))
        return {term: weight / norm for term, weight in weighted.items()} if norm else {}
