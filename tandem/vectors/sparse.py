"""Sparse vectors in BM25's manner: the text's side here, how rare a word is in the engine (its IDF modifier)."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from tandem.contracts.values import stable_hash
from tandem.text import terms

K1 = 1.2
B = 0.75
MEAN_LENGTH = 100.0
"""Terms of an average window. A constant, so that a stored vector does not depend on what else is stored."""


@lru_cache(maxsize=65_536)
def term_index(term: str) -> int:
    """A stable 32-bit index of a term."""
    return stable_hash(term) & 0xFFFFFFFF


def document_vector(text: str) -> tuple[list[int], list[float]]:
    """Indices and saturated term frequencies."""
    counts = Counter(map(term_index, terms(text)))
    norm = K1 * (1 - B + B * sum(counts.values()) / MEAN_LENGTH)
    indices = sorted(counts)
    return indices, [counts[index] * (K1 + 1) / (counts[index] + norm) for index in indices]


def query_vector(text: str) -> tuple[list[int], list[float]]:
    """Indices of the query's terms, each once."""
    indices = sorted({term_index(term) for term in terms(text)})
    return indices, [1.0] * len(indices)
