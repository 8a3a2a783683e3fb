"""Replicas for tests: small servers that speak vLLM's protocol, do as they are told, and remember what they were asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict, deque

from aiohttp import web

BLOCK = 16
"""Characters of a block of the prefix cache."""


class StubReplica:
    """`does`: what each next call meets, in turn: answer, busy, hang, fail, cut, garbage, shape, refuse, long, gone, unknown,
    key. When it is empty, calls are answered."""

    def __init__(self, *, text="hello", tokens=5, delay_s=0.0, first_s=0.0, blocks=100_000):
        self.text = text
        self.tokens = tokens
        self.delay_s = delay_s
        self.first_s = first_s
        self.does = deque()
        self.retry_after = "0"
        self.seen = []
        self.adapters = {}
        self.forgotten = set()
        self.running = 0
        self.most_running = 0
        self.left_early = 0
        self.metrics = "vllm:num_requests_waiting 0.0\nvllm:kv_cache_usage_perc 0.0\n"
        self.release = asyncio.Event()
        self.started = asyncio.Event()
        self.hits = self.lookups = 0
        self._cache = OrderedDict()
        self._blocks = blocks
        self._runner = None
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, port=0):
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/load_lora_adapter", self._load),
                web.post("/v1/embeddings", self._embeddings),
                web.post("/v1/rerank", self._rerank),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _chat(self, request):
        body = await request.json()
        self.seen.append((dict(request.headers), body))
        self.started.set()
        does = self.does.popleft() if self.does else "answer"
        if body["model"] in self.forgotten:
            raise web.HTTPNotFound
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._do(does, request, body)
        except asyncio.CancelledError:
            self.left_early += 1
            raise
        finally:
            self.running -= 1

    async def _do(self, does, request, body):
        match does:
            case "busy":
                raise web.HTTPServiceUnavailable(headers={"Retry-After": self.retry_after})
            case "hang":
                await self.release.wait()
            case "fail":
                raise web.HTTPInternalServerError(text="out of memory")
            case "long":
                raise web.HTTPBadRequest(text="This model's maximum context length is 8192 tokens.")
            case "refuse":
                raise web.HTTPBadRequest(text="bad schema")
            case "unknown":
                raise web.HTTPNotFound(text='{"error": "The model `m`\ndoes not exist."}')
            case "key":
                raise web.HTTPUnauthorized(text="sk-secret is not a key")
            case "gone":
                request.transport.abort()
                await asyncio.sleep(0)
            case "garbage":
                return web.Response(text="not json")
        text = "not the shape" if does == "shape" else self.text
        self._remember(body)
        if body.get("stream"):
            return await self._stream(request, body, text, cut=does == "cut")
        await asyncio.sleep(self.delay_s)
        message = {"role": "assistant", "content": text}
        if body.get("tools"):
            function = {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        raw = json.dumps({"model": body["model"], "choices": [choice], "usage": self._usage()})
        if does == "cut":
            raw = raw[: len(raw) // 2]
        return web.Response(text=raw, content_type="application/json")

    async def _stream(self, request, body, text, cut):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(self.first_s)
        size = max(1, -(-len(text) // self.tokens))
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        for number, piece in enumerate(pieces):
            if cut and number == len(pieces) // 2:
                request.transport.abort()
                return response
            await response.write(_event(body, {"content": piece}))
            await asyncio.sleep(self.delay_s)
        await response.write(_event(body, {}, finish="stop"))
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"model": body["model"], "choices": [], "usage": self._usage()}
            await response.write(b"data: " + json.dumps(usage).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _usage(self):
        return {"prompt_tokens": 10, "completion_tokens": self.tokens, "prompt_tokens_details": {"cached_tokens": 4}}

    def _remember(self, body):
        """An LRU of the prompt's blocks, as vLLM's prefix cache: a block is found if all before it are."""
        prompt = body.get("cache_salt", "") + "".join(str(message["content"]) for message in body["messages"])
        hit = True
        for end in range(BLOCK, len(prompt) + 1, BLOCK):
            key = hash(prompt[:end])
            self.lookups += 1
            hit = hit and key in self._cache
            self.hits += hit
            self._cache[key] = None
            self._cache.move_to_end(key)
            if len(self._cache) > self._blocks:
                self._cache.popitem(last=False)

    async def _load(self, request):
        body = await request.json()
        self.adapters[body["lora_name"]] = body["lora_path"]
        self.forgotten.discard(body["lora_name"])
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def _embeddings(self, request):
        texts = (await request.json())["input"]
        rows = [{"index": index, "embedding": [3.0, 4.0 * len(text)]} for index, text in enumerate(texts)]
        return web.json_response({"data": rows[::-1]})

    async def _rerank(self, request):
        documents = (await request.json())["documents"]
        rows = [{"index": index, "relevance_score": float(len(text))} for index, text in enumerate(documents)]
        return web.json_response({"results": rows[::-1]})

    async def _metrics(self, _):
        return web.Response(text=self.metrics)


@contextlib.asynccontextmanager
async def replicas(count=1, **options):
    """Some of them, listening."""
    made = [StubReplica(**options) for _ in range(count)]
    for replica in made:
        await replica.start()
    try:
        yield made
    finally:
        for replica in made:
            replica.release.set()
            await replica.stop()


def _event(body, delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"model": body["model"], "choices": [choice]}).encode() + b"\n\n"
