"""Chat through any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import jsonschema_rs
from pydantic import BaseModel, Field, SecretStr, ValidationError

from tandem import telemetry
from tandem.contracts.ticket import Cost
from tandem.errors import InvalidError, Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse
from tandem.telemetry import Attribute, SpanName, names

MAX_CONNECTIONS = 128


class Endpoint(BaseModel, frozen=True):
    """A model behind an OpenAI-compatible API, and what its tokens cost in millionths of a currency unit per thousand."""

    base_url: str
    model: str
    api_key: SecretStr = SecretStr("")
    micros_in: int = 0
    micros_out: int = 0


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str = ""
    usage: _Usage | None = None


class Chat:
    """One endpoint. Retry-After is honoured once, inside the deadline; every other trouble is Unavailable."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, request: ChatRequest, deadline: float) -> ChatResponse:
        model = self._endpoint.model
        began = time.monotonic()
        outcome = "failed"
        try:
            with telemetry.span(f"{SpanName.CHAT} {model}", attributes={Attribute.MODEL: model}):
                async with asyncio.timeout(deadline):
                    response = await self._ask(request, deadline)
            outcome = "ok"
        except TimeoutError as error:
            outcome = "timeout"
            raise Unavailable(f"model {model}: no answer within {deadline:.1f} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"model {model}: {type(error).__name__}") from error
        finally:
            telemetry.count(names.MODEL_CALLS, model, outcome)
            telemetry.observe(names.MODEL_SECONDS, time.monotonic() - began, model)
        return response

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, request: ChatRequest, deadline: float) -> ChatResponse:
        status, wait, body = await self._post(request)
        if status in (429, 503) and wait is not None and wait < deadline:
            await asyncio.sleep(wait)
            status, _, body = await self._post(request)
        if status in (400, 422):
            raise InvalidError(
                f"model {self._endpoint.model} refuses the request: {body[:200].decode('utf-8', 'replace')}"
            )
        if status != 200:
            raise Unavailable(f"model {self._endpoint.model}: HTTP {status}")
        return self._read(body, request)

    async def _post(self, request: ChatRequest) -> tuple[int, float | None, bytes]:
        """Status, seconds to wait if the server says so, body."""
        session = self._open()
        headers = {"Idempotency-Key": request.grant} if request.grant else {}
        url = f"{self._endpoint.base_url.rstrip('/')}/chat/completions"
        async with session.post(url, json=self._body(request), headers=headers) as response:
            return response.status, _seconds(response.headers.get("Retry-After")), await response.read()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            key = self._endpoint.api_key.get_secret_value()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
                headers={"Authorization": f"Bearer {key}"} if key else {},
            )
        return self._session

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        system = [{"role": "system", "content": request.system}] if request.system else []
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [*system, *({"role": role, "content": text} for role, text in request.messages)],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if request.schema is not None:
            shape = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        return body

    def _read(self, body: bytes, request: ChatRequest) -> ChatResponse:
        try:
            completion = _Completion.model_validate_json(body)
        except ValidationError as error:
            raise Unavailable(f"model {self._endpoint.model}: the answer is no chat completion") from error
        text = completion.choices[0].message.content or ""
        if request.schema is not None:
            _check_shape(text, request.schema)
        usage = completion.usage or _Usage()
        telemetry.count(names.MODEL_TOKENS, self._endpoint.model, "in", by=usage.prompt_tokens)
        telemetry.count(names.MODEL_TOKENS, self._endpoint.model, "out", by=usage.completion_tokens)
        return ChatResponse(text=text, model=completion.model or self._endpoint.model, cost=self._cost(usage))

    def _cost(self, usage: _Usage) -> Cost:
        micros = usage.prompt_tokens * self._endpoint.micros_in + usage.completion_tokens * self._endpoint.micros_out
        return Cost(calls=1, tokens=usage.prompt_tokens + usage.completion_tokens, micros=-(-micros // 1000))


def _check_shape(text: str, schema: dict[str, Any]) -> None:
    try:
        jsonschema_rs.Draft202012Validator(schema, offline=True).validate(json.loads(text))
    except ValueError as error:
        raise Unavailable("the model's answer has not the shape it was asked for") from error


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its date form is not honoured."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
