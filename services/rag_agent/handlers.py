"""rag_agent's one task: answer from the knowledge, or say that it does not answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.rag_agent import composition, rewriting
from services.rag_agent.drafts import Drafts
from services.rag_agent.ranking import Ranked, rank, supported
from services.rag_agent.reranker import Reranker, reranker_of
from tandem.agent import Handler, Result
from tandem.asking import Account, Said, ask, ask_aloud
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
    rewrite_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """A question, what the search found for it, and whether its meaning was searched for."""

    question: str
    hits: list[Hit]
    by_meaning: bool


Write: TypeAlias = Callable[[Sequence[Ranked]], Awaitable[Said[Answer]]]
"""Has a model write the answer from these passages."""


async def answer_question(
    task: AnswerQuestion, packs: Packs, llm: Llm, vectors: Vectors, policy: AnswerPolicy, drafts: Drafts | None = None
) -> Result:
    """The cheapest answer that the knowledge supports; below the pack's threshold, none."""
    pack = packs.get(task.pack, task.pack_hash)
    ranked = await retrieve(task, pack, llm, vectors, policy)
    write = writer(task, pack, llm, policy, drafts)
    if write is None or _support(ranked) >= pack.thresholds.answer:
        return await compose(task, pack, ranked, write)
    asked = await ask(llm, rewriting.question(task), Account.of(task, policy.rewrite_s))
    abstained = Answer(confidence=round(_support(ranked), 3))
    if asked.value is None:
        return Result(abstained, cost=asked.cost, rung="small", prompt=asked.prompt)
    again = await retrieve(task.model_copy(update={"question": asked.value, "recent": ()}), pack, llm, vectors, policy)
    if _support(again) < pack.thresholds.answer:
        return Result(abstained, cost=asked.cost, rung="large", prompt=asked.prompt)
    # What other words find may be about something else: only a model that is given the customer's own question may answer
    # from it; extraction may not.
    said = await write(again)
    return Result(
        said.value or abstained, cost=asked.cost + said.cost, rung="large", prompt=said.prompt or asked.prompt
    )


def writer(
    task: AnswerQuestion, pack: Pack, llm: Llm, policy: AnswerPolicy, drafts: Drafts | None = None
) -> Write | None:
    """None: no model is asked. With `drafts` the customer may see the answer while it is written."""
    if policy.model_s <= 0:
        return None
    account = Account.of(task, policy.model_s)

    async def write(ranked: Sequence[Ranked]) -> Said[Answer]:
        given = ranked[:GIVEN_TO_MODEL]
        asked = composition.question(task, pack, given)
        if drafts is None or not drafts.wanted(task):
            return await ask(llm, asked, account)
        return await ask_aloud(drafts.llm, asked, account, drafts.draft(task, pack, given).hear)

    return write


def _support(ranked: Sequence[Ranked]) -> float:
    return max((one.support for one in ranked[:2]), default=0.0)


async def compose(task: AnswerQuestion, pack: Pack, ranked: list[Ranked], write: Write | None) -> Result:
    """The answer from these passages."""
    support = _support(ranked)
    if support < pack.thresholds.answer:
        return Result(Answer(confidence=round(support, 3)), rung="small")
    extracted = composition.extract(task.question, ranked)
    if write is None:
        return Result(extracted, rung="small")
    said = await write(ranked)
    if said.value is None:
        return Result(extracted, cost=said.cost, rung="small", prompt=said.prompt)
    return Result(said.value, cost=said.cost, rung="large", prompt=said.prompt)


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


HANDLERS: dict[type[Task], Handler] = {AnswerQuestion: answer_question}
