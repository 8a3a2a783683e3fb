"""Asking a model: one chance to put it right, in bounded time, and never an error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import Field

from tandem.asking import Account, Output, Question, Said, ask, typed
from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted, InvalidError, Misshapen, Unavailable
from tandem.prompts import Data, Inputs, Prompt
from tandem.rpc.ports import ChatRequest, ChatResponse


class Asked(Inputs):
    message: Data


class Sorted(Output):
    bin: int = Field(ge=1, le=3)


PROMPT = Prompt("desk.sort", "---\nversion: 1\nmax_tokens: 10\n---\n# system\nSort.\n# user\n{{message}}\n", Asked)
SORT = Question(PROMPT, Asked(message="hello"), Sorted.shape(), typed(Sorted))
RIGHT, WRONG = '{"bin": 2}', '{"bin": 9, "</problem>": 1}'


class Scripted:
    """Says the next thing of its script; an error is raised, None hangs."""

    def __init__(self, *script: str | Exception | None) -> None:
        self.script = list(script)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        says = self.script.pop(0)
        if says is None:
            try:
                async with asyncio.timeout(deadline):
                    await asyncio.Event().wait()
            except TimeoutError as error:
                raise Unavailable("too late") from error
        if isinstance(says, Exception):
            raise says
        return ChatResponse(text=str(says), model="m", cost=Cost(calls=1, tokens=5))

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        raise Unavailable("no encoder")


async def sort(llm: Scripted, seconds: float = 5.0) -> Said[Sorted]:
    return await ask(llm, SORT, Account(tenant="acme", ticket="k", grant="g", limit=Cost(calls=2), seconds=seconds))


class Step(Output):
    """Ours, and nothing to a model."""

    title: str
    description: str = Field("", description="what it does")


class Steps(Output):
    steps: tuple[Step, ...]


def test_a_shape_says_nothing_that_the_model_need_not_know() -> None:
    properties = {
        "title": {"type": "string"},
        "description": {"type": "string", "default": "", "description": "what it does"},
    }
    step = {"type": "object", "additionalProperties": False, "properties": properties, "required": ["title"]}
    assert Steps.shape() == {
        "$defs": {"Step": step},
        "type": "object",
        "additionalProperties": False,
        "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}}},
        "required": ["steps"],
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "value", "calls", "paid"),
    [
        ((RIGHT,), 2, 1, 1),
        ((WRONG, RIGHT), 2, 2, 2),
        (("certainly! here it is", RIGHT), 2, 2, 2),
        ((Misshapen("shape: not JSON", (1, 5, 0)), RIGHT), 2, 2, 2),
        ((WRONG, WRONG, RIGHT), None, 2, 2),  # one chance, not two
        ((Misshapen("shape", (1, 5, 0)), Misshapen("shape", (1, 5, 0))), None, 2, 2),
        ((Unavailable("away"), RIGHT), None, 1, 0),
        ((WRONG, Exhausted("grant_spent", "no room")), None, 2, 1),
        ((InvalidError("the schema is none"), RIGHT), None, 1, 0),
    ],
)
async def test_an_answer_is_checked_and_repaired_once(
    script: tuple[str | Exception, ...], value: int | None, calls: int, paid: int
) -> None:
    llm = Scripted(*script)
    said = await sort(llm)
    assert (said.value.bin if said.value else None) == value
    assert (len(llm.asked), said.cost) == (calls, Cost(calls=paid, tokens=5 * paid))
    assert bool(said.why) is (value is None)
    assert said.prompt == (PROMPT.ref if paid else "")


@pytest.mark.asyncio
async def test_the_model_is_told_what_was_wrong_as_data() -> None:
    llm = Scripted(WRONG, RIGHT)
    await sort(llm)
    first, again = llm.asked
    assert again.messages[:1] == first.messages
    (_, answer), (_, told) = again.messages[1:]  # type: ignore[misc]
    assert answer == WRONG
    assert "less than or equal to 3" in told
    assert told.count("</problem>") == 1
    assert (again.grant, again.limit, again.ticket) == ("g", Cost(calls=2), "k")


@pytest.mark.asyncio
async def test_a_slow_model_is_given_up_within_the_time_for_both_attempts() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = await sort(Scripted(WRONG, None), seconds=0.05)
    assert said.value is None
    assert loop.time() - began < 2.0
    assert (await sort(Scripted(RIGHT), seconds=0.0)).value is None
