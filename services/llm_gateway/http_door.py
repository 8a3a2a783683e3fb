"""The other door: OpenAI's protocol over HTTP, for tools that speak it. Bodies pass as they are where they may."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np
from aiohttp import web

from services.llm_gateway.calls import Call
from services.llm_gateway.handlers import MODEL, Gateway
from services.llm_gateway.sse import without_usage
from tandem import telemetry
from tandem.contracts.ticket import FREE
from tandem.errors import Exhausted, InvalidError, InvalidSettings, RetryableError
from tandem.rpc.server import MAX_DEADLINE_S, Listen

MAX_BODY_BYTES = 16 * 1024 * 1024
DEADLINE_S = 60.0
RETRY_AFTER_S = 1
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SSE_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}

logger = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpDoor:
    """Serves until stopped. A caller that goes away ends its call at the replica.

    On aiohttp's server alone: its application and router would take a tenth of what a call costs.
    """

    def __init__(self, gateway: Gateway, listen: Listen) -> None:
        if not listen.token:
            raise InvalidSettings("TANDEM_SERVICE_TOKEN is empty: set the same random text for all services")
        self._gateway = gateway
        self._listen = listen
        self._expected = f"Bearer {listen.token}".encode()
        self._handlers: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/embeddings"): self._embeddings,
            ("POST", "/v1/rerank"): self._rerank,
            ("GET", "/v1/models"): self._models,
        }
        self._runner: web.ServerRunner | None = None
        self._stopped = asyncio.Event()
        self.port = listen.port

    async def start(self) -> None:
        request = partial(web.BaseRequest, loop=asyncio.get_running_loop(), client_max_size=MAX_BODY_BYTES)
        server = web.Server(self._answer, request_factory=request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=25.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._listen.host, self._listen.port).start()
        self.port = self._runner.addresses[0][1]
        logger.info("HTTP door listens", extra={"port": self.port})

    async def run(self) -> None:
        await self._stopped.wait()

    async def stop(self, grace_s: float) -> None:
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._runner.cleanup(), grace_s)
            self._runner = None
        self._stopped.set()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """With the token checked, and errors in OpenAI's form."""
        path = request.raw_path.partition("?")[0]
        if path == "/health":
            return web.Response(text="ok")
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            return _error(401, "invalid_api_key", "the service token is missing or wrong")
        handler = self._handlers.get((request.method, path))
        if handler is None:
            return _error(404, "not_found", f"there is no {request.method} {path}")
        try:
            with telemetry.continued(request.headers.get("traceparent")):
                return await handler(request)
        except (InvalidError, RetryableError, TimeoutError) as error:
            return _told(error)

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await _object(request)
        call, left = _call(request, body)
        if call.stream:
            return await self._stream(request, call, wants_usage=_wants_usage(body))
        async with asyncio.timeout(left):
            completion = await self._gateway.models.complete(call)
        return web.Response(body=completion.body(), content_type="application/json")

    async def _stream(self, request: web.BaseRequest, call: Call, *, wants_usage: bool) -> web.StreamResponse:
        """Headers go out with the first events, so that a call that cannot be served still has a status of its own."""
        response: web.StreamResponse | None = None
        pieces = self._gateway.models.stream(call)
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    events = piece.events if wants_usage else without_usage(piece.events)
                    if not events:
                        continue
                    if response is None:
                        response = web.StreamResponse(headers=SSE_HEADERS)
                        await response.prepare(request)
                    await response.write(events)
        except (InvalidError, RetryableError) as error:
            if response is None:
                raise
            await response.write(b"data: " + json.dumps(_error_body(error)).encode() + b"\n\n")
        if response is None:
            return _error(503, "unavailable", "the model's stream was empty")
        await response.write_eof()
        return response

    async def _embeddings(self, request: web.BaseRequest) -> web.Response:
        body = await _object(request)
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InvalidError("input: give a text or a list of texts")
        model = _text(body, "model")
        left = _deadline(request)
        async with asyncio.timeout(left):
            vectors = await self._gateway.embed(texts, left, "" if model == MODEL else model)
        rows = [
            {"object": "embedding", "index": index, "embedding": np.round(vector.astype(float), 7).tolist()}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return web.json_response({"object": "list", "model": model or MODEL, "data": rows, "usage": usage})

    async def _rerank(self, request: web.BaseRequest) -> web.Response:
        body = await _object(request)
        documents = body.get("documents")
        if not isinstance(documents, list) or not all(isinstance(text, str) for text in documents):
            raise InvalidError("documents: give a list of texts")
        left = _deadline(request)
        model = _text(body, "model")
        async with asyncio.timeout(left):
            scores = await self._gateway.rerank(_text(body, "query"), documents, left, "" if model == MODEL else model)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        results = [{"index": index, "relevance_score": scores[index]} for index in order]
        return web.json_response({"model": model or MODEL, "results": results})

    async def _models(self, _: web.BaseRequest) -> web.Response:
        pools = self._gateway.pools()
        found = [
            MODEL,
            *(each for name, pool in pools.items() for each in (name, *(f"{name}:{a}" for a in pool.adapters))),
        ]
        rows = [{"id": name, "object": "model", "owned_by": "tandem"} for name in found]
        return web.json_response({"object": "list", "data": rows})


async def _object(request: web.BaseRequest) -> dict[str, Any]:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # the answer has not begun
    try:
        found = json.loads(await request.read())
    except ValueError as error:
        raise InvalidError("the body is not JSON") from error
    if not isinstance(found, dict):
        raise InvalidError("the body is not a JSON object")
    return found


def _call(request: web.BaseRequest, body: dict[str, Any]) -> tuple[Call, float]:
    """The call, and the seconds it may take."""
    headers = request.headers
    left = _deadline(request)
    pool, _, adapter = _text(body, "model").partition(":")
    kind = headers.get("x-tandem-class", "interactive")
    if kind not in ("interactive", "background"):
        raise InvalidError("x-tandem-class: interactive or background")
    limit = [_number(headers.get(f"x-tandem-grant-{name}")) for name in ("calls", "tokens", "micros")]
    call = Call(
        body=body,
        deadline=time.monotonic() + left,
        tenant=headers.get("x-tandem-tenant", "default"),
        ticket=headers.get("x-tandem-ticket", ""),
        pool=pool,
        adapter=adapter,
        interactive=kind == "interactive",
        grant=headers.get("x-tandem-grant", ""),
        limit=FREE.changed(calls=limit[0], tokens=limit[1], micros=limit[2]) if any(limit) else FREE,
        stream=body.get("stream") is True,
    )
    return call, left


def _deadline(request: web.BaseRequest) -> float:
    given = request.headers.get("x-tandem-deadline")
    try:
        left = float(given) if given else DEADLINE_S
    except ValueError as error:
        raise InvalidError("x-tandem-deadline: seconds from now") from error
    if not 0 < left <= MAX_DEADLINE_S:
        raise InvalidError(f"x-tandem-deadline: more than 0 and at most {MAX_DEADLINE_S:.0f} seconds")
    return left


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidError("x-tandem-grant-…: a whole number")
    return int(text)


def _text(body: dict[str, Any], name: str) -> str:
    found = body.get(name)
    if found is not None and not isinstance(found, str):
        raise InvalidError(f"{name}: give a text")
    return found or ""


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _told(error: Exception) -> web.Response:
    match error:
        case Exhausted():
            return _error(429, error.reason, str(error))
        case InvalidError():
            return _error(400, "invalid_request", str(error))
        case TimeoutError():
            return _error(504, "deadline", "not done within the deadline")
    status = 504 if getattr(error, "outcome", "") == "timeout" else 503
    return _error(status, "deadline" if status == 504 else "unavailable", str(error))


def _error(status: int, code: str, message: str) -> web.Response:
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
    body = {"error": {"message": message[:500], "type": kind, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def _error_body(error: Exception) -> dict[str, Any]:
    return {"error": {"message": str(error)[:500], "type": "server_error", "code": getattr(error, "outcome", "failed")}}
