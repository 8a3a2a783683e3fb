"""The run: pages ingested, questions asked of what rag_agent runs, figures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.llm_gateway.settings import LlmGatewaySettings
from services.rag_agent import reranker as artefact
from services.rag_agent.handlers import AnswerPolicy, candidates, compose, ranked, writer
from services.rag_agent.reranker import Reranker
from tandem.bench.rag import apis
from tandem.bench.rag.data import Language, Question, make_pack, read_jobs, read_operations, read_questions
from tandem.bench.rag.embeddings import CachedEncoder
from tandem.bench.rag.figures import Answered, answers, page_recall, retrieval
from tandem.bench.rag.learn import Searched, cross_validated, train
from tandem.contracts.tasks import Answer, AnswerQuestion
from tandem.packs.counterparts import counterparts
from tandem.packs.ingest import ingest, knowledge
from tandem.packs.model import Pack
from tandem.vectors.base import Vectors
from tandem.vectors.edge import edge_vectors

RECIPE = "1"
"""Changes with the code that trains the reranker."""

POLICY = AnswerPolicy(hits=40, model_s=0)
"""As the service's, but all that was found is kept, for the deeper figures."""

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Library:
    """The ingested packs, by language; the language is the tenant."""

    packs: dict[Language, Pack]
    vectors: Vectors
    llm: CachedEncoder
    sections: int
    folder: Path


async def measure(
    data: Path, split: str, models: Path | None, limit: int | None, say: Say, progress: Progress
) -> dict[str, Any]:
    """All figures."""
    questions = read_questions(data, split, limit)
    model_cache = LlmGatewaySettings().model_cache
    home = model_cache / "rag"
    llm = CachedEncoder(home / "embeddings.sqlite", model_cache)
    vectors = edge_vectors(home / "vectors")
    try:
        library = await _library(data, home, vectors, llm, say, progress)
        searched = await _searched(library, questions, progress)
        rerankers = await _rerankers(data, split, models, library, searched, say, progress)
        rows = [await _answered(library, one, with_) for one, with_ in zip(searched, rerankers, strict=True)]
        return {**_figures(library, rows), **await _apis(data, split, library)}
    finally:
        await vectors.close()
        llm.close()


async def _library(
    data: Path, home: Path, vectors: Vectors, llm: CachedEncoder, say: Say, progress: Progress
) -> Library:
    packs: dict[Language, Pack] = {"en": make_pack(data, "en", home), "zh": make_pack(data, "zh", home)}
    sections = 0
    for language, pack in packs.items():
        report = await ingest(pack, language, vectors, llm, progress)
        sections += report.passages
        say(f"{pack.name}: {report.documents} pages, {report.passages} sections, {report.written} windows written")
    return Library(packs, vectors, llm, sections, home / "vectors" / "tandem-knowledge")


async def _searched(library: Library, questions: Sequence[Question], progress: Progress) -> list[Searched]:
    found: list[Searched] = []
    for question in questions:
        began = time.perf_counter()
        hits = await candidates(_task(question), library.llm, library.vectors, POLICY)
        found.append(Searched(question, hits, 1_000 * (time.perf_counter() - began)))
        progress(len(found), len(questions))
    return found


async def _rerankers(
    data: Path,
    split: str,
    models: Path | None,
    library: Library,
    searched: list[Searched],
    say: Say,
    progress: Progress,
) -> list[Reranker | None]:
    """One for each question: never one that was trained on it."""
    today = datetime.now(UTC).date()
    if models is not None:
        given = artefact.load(models, "given")
        if given is None:
            say(f"{models} has no reranker: the search's own order is measured")
        return [given] * len(searched)
    if split == "dev":
        say("rerankers are trained on the dev questions, cross-validated")
        return list(cross_validated(searched, today))
    hash = hashlib.blake2b(RECIPE.encode() + (data / "faq_dev.jsonl").read_bytes(), digest_size=8).hexdigest()
    folder = library.folder.parent.parent / f"reranker-{hash}"
    if artefact.load(folder, hash) is None:
        say(f"the reranker is trained on the dev questions and kept in {folder}")
        artefact.save(folder, train(await _searched(library, read_questions(data, "dev"), progress), today))
        return [artefact.load(folder, f"{hash}, made now")] * len(searched)
    return [artefact.load(folder, hash)] * len(searched)


async def _answered(library: Library, searched: Searched, reranker: Reranker | None) -> Answered:
    pack = library.packs[searched.question.language]
    began = time.perf_counter()
    order = ranked(searched.found, reranker, POLICY)
    task = _task(searched.question)
    result = await compose(task, pack, order, writer(task, pack, library.llm, POLICY))
    took = searched.ms + 1_000 * (time.perf_counter() - began)
    answer = result.value if isinstance(result.value, Answer) else Answer()
    return Answered(searched.question, [one.passage for one in order], answer, took)


def _task(question: Question) -> AnswerQuestion:
    return AnswerQuestion(
        id=question.id,
        tenant=question.language,
        conversation=question.id,
        ticket=question.id,
        pack=f"alibaba_{question.language}",
        step="answer",
        attempt=1,
        turn=1,
        deadline=2**50,
        language=question.language,
        question=question.text,
    )


def _figures(library: Library, rows: list[Answered]) -> dict[str, Any]:
    also = {one.id: one.also for row in rows for one in row.passages}
    english = [row for row in rows if row.question.language == "en" and row.question.gold["en"]]
    chinese = [row for row in rows if row.question.language == "zh" and row.question.gold["zh"]]
    size = sum(file.stat().st_size for file in library.folder.rglob("*") if file.is_file())
    return {
        **retrieval(english, also),
        **answers(english),
        "ms_per_query": round(sum(row.ms for row in english) / max(1, len(english)), 2),
        "mb_per_1000_sections": round(size / 1e6 / library.sections * 1_000, 2),
        "zh": {**retrieval(chinese, also), **answers(chinese)},
        "zh_to_en": _translated(
            library, [row for row in rows if row.question.language == "zh" and row.question.gold["en"]]
        ),
    }


def _translated(library: Library, rows: list[Answered]) -> dict[str, float | int]:
    """English pages of the Chinese ones that were found."""
    there = counterparts(knowledge(library.packs["zh"]), knowledge(library.packs["en"]))
    found = [list(dict.fromkeys(there[one.doc] for one in row.passages if one.doc in there)) for row in rows]
    return page_recall(found, [row.question.pages("en") for row in rows])


async def _apis(data: Path, split: str, library: Library) -> dict[str, float]:
    await apis.index(read_operations(data), "en", library.vectors, library.llm)
    jobs = read_jobs(data, split)
    found = [await apis.find(job, "en", library.vectors, library.llm) for job, _ in jobs]
    hits = {
        depth: sum(not gold.isdisjoint(f[:depth]) for f, (_, gold) in zip(found, jobs, strict=True)) for depth in (1, 5)
    }
    return {f"api_hit_at_{depth}": round(100 * count / max(1, len(jobs)), 2) for depth, count in hits.items()}
