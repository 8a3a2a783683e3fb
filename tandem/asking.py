"""Asking a model with a prompt: typed output, one chance to put it right, and never an error for whoever asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from tandem import telemetry
from tandem.contracts.tasks import Task
from tandem.contracts.ticket import Cost
from tandem.contracts.values import derive_id
from tandem.errors import Exhausted, InvalidError, Misshapen, Unavailable
from tandem.prompts import InputsT, Prompt, block
from tandem.rpc.ports import ChatRequest, ChatResponse, Llm, Models, ToolTurn
from tandem.telemetry import Attribute, SpanName, names

log = logging.getLogger(__name__)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Chat: TypeAlias = Callable[[ChatRequest, float], Awaitable[ChatResponse]]
Hear: TypeAlias = Callable[[str], Awaitable[None]]
Outcome: TypeAlias = Literal["answered", "repaired", "unfit", "unavailable"]

ATTEMPTS = 2
"""The second one is told what was wrong with the first."""

MAX_WRONG = 4_000
"""Characters of a wrong answer that the model is shown again."""


class _Bare(GenerateJsonSchema):
    """Without titles and our own docstrings: some models are told the schema in words, and repeat them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().model_schema(schema)
        return {key: value for key, value in found.items() if key not in ("title", "description")}


class Output(BaseModel):
    """What a model answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def shape(cls) -> dict[str, Any]:
        """The JSON Schema that the model is held to."""
        return cls.model_json_schema(schema_generator=_Bare)


class Unfit(ValueError):
    """A model's answer that cannot be used. The message is what the model is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """On whose account a model is asked, and how long it may take in all."""

    tenant: str
    seconds: float
    ticket: str = ""
    grant: str = ""
    limit: Cost = field(default_factory=Cost)

    @classmethod
    def of(cls, task: Task, seconds: float) -> Account:
        """All that is asked for one attempt at a task is one grant, within what was reserved for it; of what nothing was
        reserved, nothing is spent."""
        reserved = task.reserved
        return cls(
            tenant=task.tenant,
            seconds=seconds,
            ticket=task.ticket,
            grant=derive_id("grant", task.id, task.attempt),
            limit=Cost(calls=max(1, reserved.calls), tokens=max(1, reserved.tokens), micros=max(1, reserved.micros)),
        )


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """What came of asking. No value: the rung below decides, and `why` says why. `outcome`: "repaired" by the second answer;
    "unfit" if there was an answer and none that can be used."""

    value: T | None
    outcome: Outcome
    cost: Cost = field(default_factory=Cost)
    prompt: str = ""  # of the prompt that was answered
    why: str = ""


@dataclass(frozen=True, slots=True)
class Question(Generic[InputsT, T]):
    """A prompt, what it is filled with, the shape of the answer, and how it is read. `read` raises Unfit, and so may `check`,
    which tries out what was read."""

    prompt: Prompt[InputsT]
    inputs: InputsT
    schema: dict[str, Any]
    read: Callable[[str], T]
    check: Callable[[T], Awaitable[None]] | None = None

    async def accept(self, text: str) -> T:
        """The answer, read and tried out. Raises Unfit."""
        value = self.read(text)
        if self.check is not None:
            await self.check(value)
        return value

    def request(self, account: Account, *, wrong: tuple[str, str] | None = None) -> ChatRequest:
        """The call. `wrong`: the answer that cannot be used, and why."""
        system, user = self.prompt.render(self.inputs)
        messages: tuple[tuple[str, str] | ToolTurn, ...] = (("user", user),)
        if wrong is not None:
            answer, why = wrong
            told = f"{block('problem', why)}\nThe answer cannot be used for this problem. Give the whole answer again."
            messages = (*messages, ("assistant", answer[:MAX_WRONG] or "{}"), ("user", told))
        return ChatRequest(
            tenant=account.tenant,
            system=system,
            messages=messages,
            schema=self.schema,
            max_tokens=self.prompt.max_tokens,
            grant=account.grant,
            limit=account.limit,
            ticket=account.ticket,
        )


async def ask(llm: Llm, question: Question[InputsT, T], account: Account) -> Said[T]:
    """The model's answer, read and checked; a wrong one is sent back once, while there is time and budget."""
    return await _asked(llm.chat, question, account)


async def ask_aloud(llm: Models, question: Question[InputsT, T], account: Account, hear: Hear) -> Said[T]:
    """As `ask`; and while the model writes, `hear` is given all that it has written so far, before any check."""
    return await _asked(partial(_heard, llm, hear), question, account)


async def _heard(llm: Models, hear: Hear, request: ChatRequest, deadline: float) -> ChatResponse:
    """A streamed answer. One that breaks off has no second replica behind it: it is asked for again, whole."""
    until = asyncio.get_running_loop().time() + deadline
    text = ""
    try:
        async with aclosing(llm.stream(request, deadline)) as deltas:
            async for delta in deltas:
                if delta.text:
                    text += delta.text
                    await hear(text)
                if delta.last is not None:
                    return delta.last
        raise Unavailable("the stream ended without an answer")
    except (Exhausted, Misshapen):
        raise
    except Unavailable:
        if not text:
            raise
    return await llm.chat(request, deadline=until - asyncio.get_running_loop().time())


async def _asked(chat: Chat, question: Question[InputsT, T], account: Account) -> Said[T]:
    prompt = question.prompt
    with telemetry.span(
        f"{SpanName.ASK} {prompt.name}", attributes={Attribute.PROMPT: prompt.name, Attribute.PROMPT_HASH: prompt.hash}
    ):
        said = await _ask(chat, question, account)
    telemetry.count(names.PROMPTS, prompt.name, said.outcome)
    if said.value is None:
        log.info(
            "a model's answer is not used", extra={"prompt": prompt.ref, "outcome": said.outcome, "why": said.why[:300]}
        )
    return said


def typed(model: type[M]) -> Callable[[str], M]:
    """Reads an answer as this type."""

    def read(text: str) -> M:
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            raise Unfit(_told(error)) from error

    return read


async def _ask(chat: Chat, question: Question[InputsT, T], account: Account) -> Said[T]:
    loop = asyncio.get_running_loop()
    until = loop.time() + account.seconds
    cost, why, ref = Cost(), "no time", ""
    wrong: tuple[str, str] | None = None
    for attempt in range(ATTEMPTS):
        left = until - loop.time()
        if left <= 0:
            break
        try:
            async with asyncio.timeout(left):
                response = await chat(question.request(account, wrong=wrong), left)
            cost, ref = cost + response.cost, question.prompt.ref
            value = await question.accept(response.text)
            return Said(value, "repaired" if attempt else "answered", cost, ref)
        except Unfit as error:
            why, wrong = str(error), (response.text, str(error))
        except Misshapen as error:
            calls, tokens, micros = error.paid
            cost, ref = cost + Cost(calls=calls, tokens=tokens, micros=micros), question.prompt.ref
            why, wrong = str(error), ("", str(error))
        except RecursionError:
            why = "nested too deeply"
            wrong = ("", why)
        except (Unavailable, InvalidError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
            break
    return Said(None, "unfit" if wrong else "unavailable", cost, ref, why)


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'answer'}: {item['msg']}" for item in first)[:400]
