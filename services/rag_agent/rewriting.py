"""A question that the knowledge seems not to answer, put in other words by a model and searched for again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field

from tandem.asking import Output, Question, Unfit, typed
from tandem.contracts.tasks import AnswerQuestion
from tandem.prompts import Data, Inputs, as_written, conversation, load

MAX_QUERY = 300
"""Characters of a question for the search."""


class RewriteInputs(Inputs):
    conversation: Data
    question: Data


class Rewritten(Output):
    query: str = Field(min_length=1, max_length=MAX_QUERY)


REWRITE = load(Path(__file__).parent, "rewrite", RewriteInputs)


def question(task: AnswerQuestion) -> Question[RewriteInputs, str]:
    """Ask a model for the question as documents would put it."""
    inputs = RewriteInputs(conversation=conversation(task.recent), question=task.question)
    return Question(REWRITE, inputs, Rewritten.shape(), partial(read, asked=task.question))


def read(text: str, asked: str) -> str:
    """The question for the search. Raises Unfit if it is the one that found nothing."""
    query = as_written(typed(Rewritten)(text).query).strip()
    if not query or query.casefold() == asked.strip().casefold():
        raise Unfit("query: these words found nothing; use others")
    return query
