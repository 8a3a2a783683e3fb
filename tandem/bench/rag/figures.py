"""What is counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tandem.bench.rag.data import Question
from tandem.bench.star.metrics import bleu4, rouge_l
from tandem.contracts.tasks import Answer
from tandem.vectors.base import Passage

DEPTHS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, the passages in their order, the answer and what it took."""

    question: Question
    passages: Sequence[Passage]
    answer: Answer
    ms: float


def retrieval(rows: Sequence[Answered], also: Mapping[str, tuple[str, ...]]) -> dict[str, float | int]:
    """Recall: a question counts if one of its sections (pages) is among the first so many. Pages count once each, in the
    order of their best section. `also`: ids that are folded into a passage."""
    ranks = [_rank(row) for row in rows]
    pages = [_page_rank(row) for row in rows]
    found: dict[str, float | int] = {"questions": len(rows)}
    found |= {f"section_recall_at_{depth}": _within(ranks, depth) for depth in DEPTHS}
    found |= {f"page_recall_at_{depth}": _within(pages, depth) for depth in DEPTHS}
    return {
        **found,
        "mrr": _mean(1 / rank if rank else 0.0 for rank in ranks),
        "citation_precision": _cited(rows, also),
    }


def answers(rows: Sequence[Answered]) -> dict[str, float]:
    """Of what was said against the official answer; an abstention said nothing."""
    pairs = [(row.answer.text, row.question.answer) for row in rows]
    return {
        "bleu4": round(100 * bleu4(pairs), 2),
        "rouge_l": round(100 * rouge_l(pairs), 2),
        "answered": _mean(row.answer.supported for row in rows),
    }


def page_recall(ranked: Sequence[Sequence[str]], gold: Sequence[frozenset[str]]) -> dict[str, float | int]:
    """Of pages alone, each ranking without repetition."""
    ranks = [
        next((place for place, page in enumerate(pages, 1) if page in wanted), 0)
        for pages, wanted in zip(ranked, gold, strict=True)
    ]
    return {"questions": len(ranks), **{f"page_recall_at_{depth}": _within(ranks, depth) for depth in DEPTHS}}


def _rank(row: Answered) -> int:
    gold = row.question.gold[row.question.language]
    return next(
        (place for place, one in enumerate(row.passages, 1) if one.id in gold or not gold.isdisjoint(one.also)), 0
    )


def _page_rank(row: Answered) -> int:
    wanted = row.question.pages(row.question.language)
    pages: dict[str, set[str]] = {}
    for one in row.passages:
        pages.setdefault(one.doc, {one.doc}).update(id.rpartition("#")[0] for id in one.also)
    return next((place for place, docs in enumerate(pages.values(), 1) if not wanted.isdisjoint(docs)), 0)


def _cited(rows: Sequence[Answered], also: Mapping[str, tuple[str, ...]]) -> float:
    cited = [(row.question.gold[row.question.language], one.passage) for row in rows for one in row.answer.citations]
    return _mean(bool(gold & {id, *also.get(id, ())}) for gold, id in cited)


def _within(ranks: Sequence[int], depth: int) -> float:
    return _mean(0 < rank <= depth for rank in ranks)


def _mean(values: Iterable[float]) -> float:
    known = [float(value) for value in values]
    return round(100 * sum(known) / max(1, len(known)), 2)
