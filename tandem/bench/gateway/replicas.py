"""Replicas of a model that cost nothing, many in one process, each at a port of its own.

Each takes `THINK_S` for an answer and remembers the blocks of the prompts it has seen, as a prefix cache does. A model named
`fault-…` meets that fault instead. `GET /seen` tells what was found in the cache since it was asked last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import OrderedDict
from typing import Any

import uvloop

from tandem.bench.gateway.http import read_head
from tandem.bench.gateway.stub import answer, whole

THINK_S = 0.1
BLOCK = 16
"""Characters of a block of the cache."""

FAULTS = ("busy", "fails", "hangs", "hangs up", "cut", "no JSON", "wrong shape", "prompt too long")
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Blocks:
    """The least recently used is forgotten. A block is found if all before it are."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._known: OrderedDict[int, None] = OrderedDict()
        self.hits = self.lookups = 0

    def remember(self, prompt: str) -> None:
        found = True
        for end in range(BLOCK, len(prompt) + 1, BLOCK):
            key = hash(prompt[:end])
            found = found and key in self._known
            self.hits += found
            self.lookups += 1
            self._known[key] = None
            self._known.move_to_end(key)
            if len(self._known) > self._room:
                self._known.popitem(last=False)


def prompt_of(body: dict[str, Any]) -> str:
    return "".join([body.get("cache_salt", ""), *(message["content"] for message in body["messages"])])


class Replica:
    def __init__(self, room: int) -> None:
        self._room = room
        self._blocks = Blocks(room)
        self._calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, headers = await read_head(reader)
                raw = await reader.readexactly(int(headers.get("content-length", "0")))
                if first.startswith("POST"):
                    if not await self._chat(writer, json.loads(raw)):
                        break
                elif first.startswith("GET /seen"):
                    writer.write(whole(json.dumps(self._seen()).encode()))
                else:
                    writer.write(whole(b"vllm:num_requests_waiting 0.0\nvllm:kv_cache_usage_perc 0.0\n"))
                await writer.drain()
        writer.close()

    async def _chat(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """Whether the connection goes on."""
        _, _, fault = body["model"].partition("fault-")
        if fault:
            return await _meet(fault.replace("-", " "), writer, body)
        self._calls += 1
        self._blocks.remember(prompt_of(body))
        if body["max_tokens"] > 1:
            await asyncio.sleep(THINK_S)
        content = '{"n": 1}' if "response_format" in body else "word"
        writer.write(_stream(content) if body.get("stream") else whole(answer(body["model"], content, 1)))
        return True

    def _seen(self) -> dict[str, int]:
        """And forget it all."""
        seen = {"calls": self._calls, "hits": self._blocks.hits, "lookups": self._blocks.lookups}
        self._blocks, self._calls = Blocks(self._room), 0
        return seen


async def _meet(fault: str, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
    match fault:
        case "busy":
            writer.write(whole(b"", "503 Service Unavailable"))
        case "fails":
            writer.write(whole(b"out of memory", "500 Internal Server Error"))
        case "prompt too long":
            writer.write(whole(b"This model's maximum context length is 8192 tokens.", "400 Bad Request"))
        case "hangs":
            await asyncio.Event().wait()
        case "cut":
            writer.write(STREAM + _chunk(_event({"content": "wo"})) if body.get("stream") else whole(b" " * 99)[:-50])
            return False
        case "no JSON" | "wrong shape":
            text = "no JSON" if fault == "no JSON" else answer(body["model"], '{"n": "one"}', 1).decode()
            events = _chunk(b"data: no JSON\n\n") + b"0\r\n\r\n" if fault == "no JSON" else b""
            streamed = STREAM + events if events else _stream('{"n": "one"}')
            writer.write(streamed if body.get("stream") else whole(text.encode()))
        case _:
            return False
    return True


def _stream(content: str) -> bytes:
    return STREAM + _chunk(_event({"content": content})) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _event(delta: dict[str, str]) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(room: int, ports: list[int]) -> None:
    """`room`: blocks of each replica's cache. Serves until cancelled."""
    async with contextlib.AsyncExitStack() as stack:
        for port in ports:
            server = await asyncio.start_server(Replica(room).serve, "127.0.0.1", port, backlog=1_024)
            await stack.enter_async_context(server)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
