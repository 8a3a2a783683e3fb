"""A model that costs nothing: OpenAI's protocol in one process, a raw asyncio server so that it is not what is measured.

`stub` answers at once; `stub-20ms` has its first token after 20 ms. `max_tokens` says how many tokens an answer has,
one chunk each when streamed. `/v1/traces` takes spans and keeps none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import uvloop

from tandem.bench.gateway.http import read_head

INSTANT, THINKING = "stub", "stub-20ms"
THINK_S = {INSTANT: 0.0, THINKING: 0.020}
TOKENS = 50
PROMPT_TOKENS = 20

_COMMON: dict[str, Any] = {"id": "chatcmpl-stub", "created": 1_700_000_000}


async def serve(port: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.start_server(_connection, "127.0.0.1", port, backlog=1_024)
    async with server:
        await server.serve_forever()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            first, headers = await read_head(reader)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if first.endswith("/chat/completions HTTP/1.1"):
                await _chat(writer, json.loads(body))
            elif first.startswith("POST"):
                writer.write(whole(b"{}"))
            else:
                writer.write(whole(b'{"object":"list","data":[{"id":"stub","object":"model"}]}'))
            await writer.drain()
    writer.close()


async def _chat(writer: asyncio.StreamWriter, call: dict[str, Any]) -> None:
    model, tokens = call["model"], call.get("max_tokens") or TOKENS
    if think := THINK_S.get(model, 0.0):
        await asyncio.sleep(think)
    if not call.get("stream"):
        writer.write(whole(answer(model, "word " * tokens, tokens)))
        return
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for event in _events(model, tokens):
        data = b"data: " + event + b"\n\n"
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await asyncio.sleep(0)  # each token leaves on its own
    writer.write(b"0\r\n\r\n")


def whole(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _usage(tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": PROMPT_TOKENS + tokens,
    }


def answer(model: str, content: str, tokens: int) -> bytes:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    completion = {"object": "chat.completion", "model": model, "choices": [choice], "usage": _usage(tokens)}
    return json.dumps(_COMMON | completion).encode()


def _events(model: str, tokens: int) -> Iterator[bytes]:
    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return json.dumps(_COMMON | {"object": "chat.completion.chunk", "model": model, "choices": [choice]}).encode()

    for number in range(tokens):
        yield chunk({"content": "word "} if number else {"role": "assistant", "content": "word "})
    yield chunk({}, "stop")
    last = {"object": "chat.completion.chunk", "model": model, "choices": [], "usage": _usage(tokens)}
    yield json.dumps(_COMMON | last).encode()
    yield b"[DONE]"


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
