"""A scripted model behind an OpenAI-compatible API: it answers as asked, hangs, fails, is cut off, or does what nobody wants."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from random import Random
from typing import Any, Final

from aiohttp import web

from tandem.chaos.plan import Model

HANG_S: Final = 60.0
"""Longer than any caller waits."""

PIECE: Final = 16
"""Characters of a streamed answer's pieces."""
PACE_S: Final = 0.005
"""Between two pieces: a model writes, it does not send files."""

FILING: Final = "ICP2026-00871"
"""A filing that the example business system knows."""


class ScriptedModel:
    """Serves on the loopback. `away`: while set, every connection is broken off."""

    def __init__(self, plan: Model, random: Random) -> None:
        self.away = False
        self.did: Counter[str] = Counter()
        self.port = 0
        self._plan = plan
        self._random = random
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        does = "away" if self.away else self._choose()
        self.did[does] += 1
        match does:
            case "away":
                raise web.HTTPServiceUnavailable(text="away")
            case "hang":
                await asyncio.sleep(HANG_S)
                raise web.HTTPGatewayTimeout
            case "fail":
                raise web.HTTPInternalServerError(text="out of memory")
        text = json.dumps(answer(asked, wrong=does == "wrong"))
        if does == "cut":
            text = text[: len(text) // 2]
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        if asked.get("stream"):
            return await _streamed(request, asked["model"], text, usage)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response({"model": asked["model"], "choices": [choice], "usage": usage})

    def _choose(self) -> str:
        drawn = self._random.random()
        shares = (
            ("hang", self._plan.timeouts),
            ("fail", self._plan.errors),
            ("cut", self._plan.cut),
            ("wrong", self._plan.wrong),
        )
        for does, share in shares:
            if drawn < share:
                return does
            drawn -= share
        return "answer"


async def _streamed(request: web.Request, model: str, text: str, usage: dict[str, int]) -> web.StreamResponse:
    """The same answer in pieces."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for at in range(0, len(text), PIECE):
        choice = {"index": 0, "delta": {"content": text[at : at + PIECE]}, "finish_reason": None}
        await response.write(b"data: " + json.dumps({"model": model, "choices": [choice]}).encode() + b"\n\n")
        await asyncio.sleep(PACE_S)
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    for last in ({"model": model, "choices": [choice]}, {"model": model, "choices": [], "usage": usage}):
        await response.write(b"data: " + json.dumps(last).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


def answer(asked: dict[str, Any], wrong: bool) -> Any:
    """What a good model would say to this request; `wrong`: another tool than the one that helps, and it changes things."""
    schema = asked.get("response_format", {}).get("json_schema", {}).get("schema", {"type": "string"})
    said = "\n".join(str(message["content"]) for message in asked["messages"])
    names = schema.get("properties", {})
    if "steps" in names:
        return _plan(said, wrong)
    if "facts" in names:
        return _note(said)
    if "citations" in names:
        return _grounded(said)
    return _any(schema)


def _plan(said: str, wrong: bool) -> dict[str, Any]:
    tool: dict[str, Any] = {"kind": "tool", "name": "get_filing", "arguments": {"filing_number": FILING}}
    if wrong:
        tool = {"kind": "tool", "name": "open_port", "arguments": {"instance_id": "i-7f3a9c21", "port": 22}}
    told = {"kind": "reply", "text": "I have looked at it for you.", "needs": [0]}
    steps = [{"kind": "done"}] if "<observations>" in said else [tool, told]
    return {"steps": steps, "reason": "as asked", "confidence": 0.9}


def _grounded(said: str) -> dict[str, Any]:
    """The first sentences of the first passage."""
    try:
        text = str(json.loads(said.rpartition("<passages>")[2].partition("</passages>")[0])[0]["text"])
    except (ValueError, LookupError, TypeError):
        return {"supported": False, "citations": [], "text": ""}
    sentences = re.split(r"(?<=[.!?])\s+", text)
    return {"supported": True, "citations": [1], "text": " ".join(sentences[:6])[:400]}


def _note(said: str) -> dict[str, Any]:
    """What the customer wrote first."""
    try:
        lines = json.loads(said.rpartition("<conversation>")[2].partition("</conversation>")[0])
        text = next(str(line["text"]) for line in lines if line["who"] == "customer")
    except (ValueError, LookupError, TypeError, StopIteration):
        text = ""
    return {"summary": text[:300], "facts": []}


def _any(schema: dict[str, Any]) -> Any:
    """The smallest value of this shape."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _any(schema[key][0])
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: _any(properties.get(name, {})) for name in schema.get("required", ())}
        case "array":
            return [_any(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
    return "x" * schema.get("minLength", 0)
