"""Chat against a small server that speaks the OpenAI protocol."""

from __future__ import annotations

import contextlib
import json

import pytest
from aiohttp import web
from pydantic import SecretStr

from services.llm_gateway.chat import Chat, Endpoint
from tandem.contracts.ticket import Cost
from tandem.errors import InvalidError, Unavailable
from tandem.rpc.ports import ChatRequest

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REQUEST = ChatRequest(tenant="acme", system="Be brief.", messages=(("user", "hello"),), grant="g1")
ASKED = ChatRequest(tenant="acme", system="", messages=(("user", "hello"),), schema=SCHEMA)


def completion(text):
    usage = {"prompt_tokens": 1_500, "completion_tokens": 10}
    return {"model": "tiny-1", "choices": [{"message": {"content": text}}], "usage": usage}


@contextlib.asynccontextmanager
async def endpoint(*answers):
    """A server that gives these answers in turn, and the requests it saw."""
    seen = []
    left = list(answers)

    async def handle(request):
        seen.append((dict(request.headers), await request.json()))
        return left.pop(0)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    chat = Chat(Endpoint(base_url=url, model="tiny", api_key=SecretStr("sekret"), micros_in=1_000, micros_out=2_000))
    try:
        yield chat, seen
    finally:
        await chat.close()
        await runner.cleanup()


@pytest.mark.asyncio
async def test_a_call_says_what_it_cost():
    async with endpoint(web.json_response(completion("hi"))) as (chat, seen):
        response = await chat.chat(REQUEST, 5)
    assert (response.text, response.model) == ("hi", "tiny-1")
    assert response.cost == Cost(calls=1, tokens=1_510, micros=1_520)
    headers, body = seen[0]
    assert headers["Authorization"] == "Bearer sekret"
    assert headers["Idempotency-Key"] == "g1"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]


@pytest.mark.asyncio
async def test_a_schema_is_asked_for_and_checked():
    answers = [web.json_response(completion(json.dumps(value))) for value in ({"n": 1}, {"n": "one"})]
    async with endpoint(*answers) as (chat, seen):
        assert (await chat.chat(ASKED, 5)).text == '{"n": 1}'
        with pytest.raises(Unavailable, match="shape"):
            await chat.chat(ASKED, 5)
    assert seen[0][1]["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.asyncio
async def test_retry_after_is_honoured_once():
    busy = [web.Response(status=503, headers={"Retry-After": "0"}) for _ in range(3)]
    async with endpoint(busy[0], web.json_response(completion("hi")), *busy[1:]) as (chat, seen):
        assert (await chat.chat(REQUEST, 5)).text == "hi"
        with pytest.raises(Unavailable, match="503"):
            await chat.chat(REQUEST, 5)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.Response(status=500), Unavailable),
        (lambda: web.Response(status=503, headers={"Retry-After": "3600"}), Unavailable),
        (lambda: web.Response(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), Unavailable),
        (lambda: web.Response(status=400, text="bad schema"), InvalidError),
        (lambda: web.Response(text="not json"), Unavailable),
        (lambda: web.json_response({"choices": []}), Unavailable),
    ],
)
@pytest.mark.asyncio
async def test_trouble_has_a_type(answer, error):
    async with endpoint(answer()) as (chat, seen):
        with pytest.raises(error):
            await chat.chat(REQUEST, 5)
    assert len(seen) == 1


@pytest.mark.asyncio
async def test_nobody_there_is_unavailable():
    chat = Chat(Endpoint(base_url="http://127.0.0.1:9", model="tiny"))
    with pytest.raises(Unavailable):
        await chat.chat(REQUEST, 5)
    await chat.close()
