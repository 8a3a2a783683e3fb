"""Training the reranker, from the hits of questions whose sections are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from services.rag_agent.handlers import Found
from services.rag_agent.reranker import Reranker, features
from tandem.bench.rag.data import Question
from tandem.brains.learning.boosting import boost
from tandem.contracts.values import stable_hash
from tandem.vectors.base import Hit

FOLDS = 5
ROUNDS, LEAVES, RATE = 120, 7, 0.06


@dataclass(frozen=True, slots=True)
class Searched:
    """A question and what the search found for it."""

    question: Question
    found: Found
    ms: float


def is_gold(question: Question, hit: Hit) -> bool:
    """The hit is one of the question's sections, or has one's very text."""
    gold = question.gold[question.language]
    return hit.passage.id in gold or any(id in gold for id in hit.passage.also)


def train(searched: Sequence[Searched], today: date) -> Reranker:
    return _trained([_rows(one) for one in searched if one.found.hits], today)


def fold_of(question: Question) -> int:
    """Both languages of a question are in one fold."""
    return stable_hash(question.id) % FOLDS


def cross_validated(searched: Sequence[Searched], today: date) -> list[Reranker]:
    """For each question, a reranker that was trained without its fold."""
    rows = [(fold_of(one.question), _rows(one)) for one in searched if one.found.hits]
    folds = sorted({fold_of(one.question) for one in searched})
    trained = {fold: _trained([one for other, one in rows if other != fold], today) for fold in folds}
    return [trained[fold_of(one.question)] for one in searched]


Rows = tuple[NDArray[np.float32], list[bool]]
"""A question's features, hit by hit, and which hits are right."""


def _rows(one: Searched) -> Rows:
    hits = one.found.hits
    return features(one.found.question, hits, one.found.by_meaning), [is_gold(one.question, hit) for hit in hits]


def _trained(rows: Sequence[Rows], today: date) -> Reranker:
    right = np.concatenate([right for _, right in rows])
    trees = boost(np.concatenate([one for one, _ in rows]), right, ROUNDS, LEAVES, RATE)
    return Reranker(trees, {"questions": len(rows), "hits": len(right), "date": today.isoformat()})
