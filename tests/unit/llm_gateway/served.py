"""A chat over stub replicas, for tests."""

from __future__ import annotations

import contextlib
import time
from random import Random

from services.llm_gateway.calls import Call
from services.llm_gateway.chat import Chat, Options
from tandem.model_pools import Pool, Pools
from tests.unit.llm_gateway.replicas import replicas

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SHAPE = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def call(text="hello", *, system="Be brief.", within=5.0, more=None, **fields):
    """A call; `more`: fields of its body."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    body = {"messages": messages, "max_tokens": 16, "temperature": 0.5, **(more or {})}
    return Call(body=body, deadline=time.monotonic() + within, **fields)


@contextlib.asynccontextmanager
async def chat_over(pools, *, tenants=None, seed=1, **options):
    """`pools`: name → Pool."""
    chat = Chat(Pools(pools=pools, tenants=tenants or {}), Options(keys={}, salt_key="k", **options), Random(seed))
    try:
        yield chat
    finally:
        await chat.close()


@contextlib.asynccontextmanager
async def served(count=1, *, pool=None, tenants=None, options=None, **stub):
    """One pool of `count` replicas: the chat and the replicas. `pool`: more of its fields."""
    async with replicas(count, **stub) as made:
        fields = {"model": "tiny", "vllm": False, **(pool or {})}
        one = Pool(replicas=tuple(replica.url for replica in made), **fields)
        async with chat_over({"small": one}, tenants=tenants, **(options or {})) as chat:
            yield chat, made


async def read(chat, request, **options):
    """A stream to its end: its events, its text, its completion."""
    events, text, last = b"", "", None
    request.stream = True
    async with contextlib.aclosing(chat.stream(request, texts=True, **options)) as pieces:
        async for piece in pieces:
            events, text, last = events + piece.events, text + piece.text, piece.last
    return events, text, last
