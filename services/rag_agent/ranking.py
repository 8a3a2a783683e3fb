"""Which passages support an answer, and how well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tandem.text import STOP_WORDS, stem, terms, words
from tandem.vectors.base import Hit, Passage

MEANING, WORDS, TOPIC = 0.55, 0.2, 0.25
"""Shares in support: similarity by meaning, the question's words in the passage, the question's words in its headings.

Measured over the example pack with the small encoder: words alone take "open a bank account" for a question about billing,
meaning alone takes "restore an old photograph" for one about snapshots; headings tell both apart from real questions.
"""

FLOOR = 0.2
"""A cosine up to this says nothing: unrelated English sentences have as much."""

WORDS_ALONE, TOPIC_ALONE = 0.7, 0.3
"""The shares without embeddings."""

TO_THE_POINT = 0.15
"""Of two sections with like support, that one comes first whose own heading says nothing else than what was asked."""

_ASKING = "make take get got use need want happen tell know find give go set turn help way long available possible"
ASKING = frozenset(stem(word) for word in words(_ASKING))
"""Words by which anything may be asked: as terms of a question they say nothing about its subject."""

_ASKING_ZH = re.compile(
    "请问|怎么样|怎么|怎样|如何|什么|多久|多少|哪些|哪里|哪个|可以|能不能|是否|需要|想要|为什么|[吗呢吧啊的了我你您]"
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage and its support for an answer, from 0 to 1."""

    passage: Passage
    window: str
    support: float


def rank(question: str, hits: Sequence[Hit], by_meaning: bool) -> list[Ranked]:
    """The hits by their support, best first. `by_meaning`: their similarity says something."""
    asked = telling_terms(question)
    return sorted(
        supported(question, hits, by_meaning),
        key=lambda one: -(one.support + TO_THE_POINT * _to_the_point(asked, one.passage)),
    )


def supported(question: str, hits: Sequence[Hit], by_meaning: bool) -> list[Ranked]:
    """The hits with their support, in their order."""
    asked = telling_terms(question)
    return [Ranked(hit.passage, hit.window, support(asked, hit, by_meaning)) for hit in hits]


def telling_terms(text: str) -> frozenset[str]:
    """The terms of a text that say what it is about."""
    text = _ASKING_ZH.sub(" ", text)
    stops = {stem(word) for word in words(text) if word in STOP_WORDS}
    found = frozenset(term for term in terms(text) if term not in STOP_WORDS and term not in stops)
    return found - ASKING or found


def support(asked: frozenset[str], hit: Hit, by_meaning: bool) -> float:
    """How well a passage supports an answer; without embeddings the words alone decide."""
    headings = " ".join((hit.passage.title, *hit.passage.heading))
    topic = _share(asked, headings)
    covered = _share(asked, f"{headings} {hit.window}")
    if not by_meaning:
        return WORDS_ALONE * covered + TOPIC_ALONE * topic
    meaning = max(0.0, (hit.similarity - FLOOR) / (1 - FLOOR))
    return MEANING * meaning + WORDS * covered + TOPIC * topic


def _to_the_point(asked: frozenset[str], passage: Passage) -> float:
    heading = telling_terms(passage.heading[-1] if passage.heading else passage.title)
    return len(asked & heading) / len(heading) if heading else 0.0


def _share(asked: frozenset[str], text: str) -> float:
    return len(asked & set(terms(text))) / len(asked) if asked else 0.0
