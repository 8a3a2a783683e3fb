"""rag_agent's one task: answer from the knowledge, or say that it does not answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.rag_agent import composition
from services.rag_agent.ranking import Ranked, rank, supported
from services.rag_agent.reranker import Reranker, reranker_of
from tandem.agent import Handler, Result
from tandem.contracts.tasks import Answer, AnswerQuestion, Task
from tandem.errors import Unavailable
from tandem.packs.model import Pack
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm
from tandem.text import is_cjk, word_count
from tandem.vectors.base import KNOWLEDGE, Hit, Vectors

log = logging.getLogger(__name__)

EMBED_S = 2.0
GIVEN_TO_MODEL = 5
SHORT = 4
"""Words up to which a question is read together with what the customer wrote before."""


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """How much is looked at, and how long a model may take."""

    hits: int = 8
    candidates: int = 40
    model_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Found:
    """A question, what the search found for it, and whether its meaning was searched for."""

    question: str
    hits: list[Hit]
    by_meaning: bool


async def answer_question(
    task: AnswerQuestion, packs: Packs, llm: Llm, vectors: Vectors, policy: AnswerPolicy
) -> Result:
    """The cheapest answer that the knowledge supports; below the pack's threshold, none."""
    pack = packs.get(task.pack, task.pack_hash)
    ranked = await retrieve(task, pack, llm, vectors, policy)
    return await compose(task, pack, ranked, llm, policy)


async def compose(task: AnswerQuestion, pack: Pack, ranked: list[Ranked], llm: Llm, policy: AnswerPolicy) -> Result:
    """The answer from these passages."""
    support = max((one.support for one in ranked[:2]), default=0.0)
    if support < pack.thresholds.answer:
        return Result(Answer(confidence=round(support, 3)), rung="small")
    written = await _written(task, pack, ranked[:GIVEN_TO_MODEL], llm, policy)
    return written or Result(composition.extract(task.question, ranked), rung="small")


async def retrieve(task: AnswerQuestion, pack: Pack, llm: Llm, vectors: Vectors, policy: AnswerPolicy) -> list[Ranked]:
    """The passages, best first: in the order that the pack has learnt, if it has."""
    found, reranker = await candidates(task, llm, vectors, policy), reranker_of(pack)
    return ranked(found, reranker, policy)


async def candidates(task: AnswerQuestion, llm: Llm, vectors: Vectors, policy: AnswerPolicy) -> Found:
    """What the search finds, in its own order."""
    question = _in_context(task)
    meaning = await _meaning(question, llm)
    hits = await vectors.search(task.tenant, KNOWLEDGE, meaning, question, policy.candidates)
    return Found(question, hits, by_meaning=meaning is not None)


def ranked(found: Found, reranker: Reranker | None, policy: AnswerPolicy) -> list[Ranked]:
    """The best of what was found."""
    if reranker is None:
        return rank(found.question, found.hits[: policy.hits], found.by_meaning)
    hits = reranker.order(found.question, found.hits, found.by_meaning)[: policy.hits]
    return supported(found.question, hits, found.by_meaning)


def _in_context(task: AnswerQuestion) -> str:
    """The question; a very short one with what the customer wrote before it."""
    if word_count(task.question) > SHORT:
        return task.question
    before = [line.text for line in task.recent if line.who == "customer" and line.text != task.question]
    return "\n".join([*before[-1:], task.question])


async def _meaning(question: str, llm: Llm) -> NDArray[np.float32] | None:
    """None: search by words alone. The small encoder reads English; of Chinese it sees little but unknown signs."""
    if is_cjk(question):
        return None
    try:
        vector: NDArray[np.float32] = (await llm.embed([question], EMBED_S))[0]
    except Unavailable:
        log.info("no embeddings, passages are found by words alone")
        return None
    return vector


async def _written(
    task: AnswerQuestion, pack: Pack, ranked: list[Ranked], llm: Llm, policy: AnswerPolicy
) -> Result | None:
    """A model's answer; None without a model, or if a citation does not hold."""
    if policy.model_s <= 0:
        return None
    try:
        response = await llm.chat(composition.request(task, pack, ranked), deadline=policy.model_s)
    except Unavailable:
        return None
    accepted = composition.accept(response.text, task.question, ranked)
    if accepted is None:
        log.warning("a model's answer was refused", extra={"ticket": task.ticket})
        return None
    return Result(accepted, cost=response.cost, rung="large")


HANDLERS: dict[type[Task], Handler] = {AnswerQuestion: answer_question}
