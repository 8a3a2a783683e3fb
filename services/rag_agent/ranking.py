"""Which passages support an answer, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tandem.text import STOP_WORDS, stem, terms, words
from tandem.vectors.base import Hit, Passage

MEANING, WORDS = 0.6, 0.4
"""Shares of similarity by meaning and of the question's words that the passage has."""

FLOOR = 0.15
"""A cosine up to this says nothing: unrelated English sentences have as much."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage and its support for an answer, from 0 to 1."""

    passage: Passage
    window: str
    support: float


def rank(question: str, hits: Sequence[Hit]) -> list[Ranked]:
    """The hits by their support, best first."""
    asked = telling_terms(question)
    ranked = [Ranked(hit.passage, hit.window, support(asked, hit)) for hit in hits]
    return sorted(ranked, key=lambda one: -one.support)


def telling_terms(text: str) -> frozenset[str]:
    """The terms of a text that say what it is about."""
    stops = {stem(word) for word in words(text) if word in STOP_WORDS}
    return frozenset(term for term in terms(text) if term not in STOP_WORDS and term not in stops)


def support(asked: frozenset[str], hit: Hit) -> float:
    """How well a passage supports an answer; without embeddings the words alone decide."""
    there = set(terms(" ".join((hit.passage.title, *hit.passage.heading, hit.window))))
    covered = len(asked & there) / len(asked) if asked else 0.0
    if hit.similarity <= 0:
        return covered
    meaning = max(0.0, (hit.similarity - FLOOR) / (1 - FLOOR))
    return MEANING * meaning + WORDS * covered
