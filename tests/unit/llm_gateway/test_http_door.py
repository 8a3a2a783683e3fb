"""The HTTP door, asked as a tool that speaks OpenAI's protocol would."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import numpy as np
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.llm_gateway.embeddings import Embeddings
from services.llm_gateway.handlers import Gateway
from services.llm_gateway.http_door import HttpDoor
from tandem import tracing
from tandem.errors import InvalidSettings
from tandem.model_pools import Pool, Tenant
from tandem.rpc.server import Listen
from tests.unit.llm_gateway.replicas import replicas
from tests.unit.llm_gateway.served import SHAPE, chat_over

TOKEN = "a token of the tests"
ASK = {"model": "small", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}


class Lengths:
    """An encoder by the length of a text."""

    def embed(self, texts):
        return np.array([[1.0, len(text)] for text in texts], dtype=np.float32)


class Door:
    """A session at the door."""

    def __init__(self, session, url, made):
        self.session, self.url, self.replicas = session, url, made

    async def post(self, path, body, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(f"{self.url}{path}", json=body, headers=named) as response:
            raw = await response.read()
            kind = response.content_type
            return response.status, json.loads(raw) if kind == "application/json" else raw, response.headers


@contextlib.asynccontextmanager
async def door(tenants=None, pool=None, **stub):
    async with replicas(1, **stub) as made:
        url = made[0].url
        pools = {
            "small": Pool(model="tiny", replicas=(url,), adapters={"tone": "/tone"}, **(pool or {})),
            "vectors": Pool(model="embed", replicas=(url,), kind="embeddings"),
            "order": Pool(model="rank", replicas=(url,), kind="rerank"),
        }
        async with chat_over(pools, tenants=tenants) as chat:
            gateway = Gateway(Embeddings(Lengths, 10), chat)
            serving = HttpDoor(gateway, Listen(host="127.0.0.1", port=0, token=TOKEN))
            await serving.start()
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                yield Door(session, f"http://127.0.0.1:{serving.port}", made)
            await serving.stop(1)
            await gateway.close()


@pytest.mark.asyncio
async def test_an_answer_is_the_replicas_own():
    async with door() as at:
        status, body, _ = await at.post("/v1/chat/completions", ASK, x_tandem_tenant="acme")
        assert status == 200
        assert body["choices"][0]["message"]["content"] == "hello"
        assert body["usage"]["prompt_tokens"] == 10
        status, _, _ = await at.post("/v1/chat/completions", ASK | {"model": "small:tone"}, x_tandem_tenant="acme")
        assert status == 200
        plain, tuned = (body for _, body in at.replicas[0].seen)
    assert (plain["model"], tuned["model"]) == ("tiny", "tone")
    assert plain["cache_salt"] == tuned["cache_salt"] != ""


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.asyncio
async def test_a_sampled_trace_goes_on(sampled):
    exporter = InMemorySpanExporter()
    tracing.configure_tracing("test", 0.0, exporter, batch=False)
    try:
        async with door() as at:
            trace = f"00-{7:032x}-{9:016x}-0{int(sampled)}"
            assert (await at.post("/v1/chat/completions", ASK, traceparent=trace))[0] == 200
    finally:
        tracing.shutdown_tracing()
    spans = exporter.get_finished_spans()
    assert [(span.name, span.parent.trace_id, span.parent.span_id) for span in spans] == [("chat tiny", 7, 9)] * sampled


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.asyncio
async def test_a_stream_is_the_replicas_own_less_what_was_not_asked_for(usage):
    more = {"stream_options": {"include_usage": True}} if usage else {}
    async with door(text="a longer text") as at:
        status, raw, headers = await at.post("/v1/chat/completions", ASK | {"stream": True} | more)
    assert status == 200
    assert headers["Content-Type"].startswith("text/event-stream")
    events = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    pieces = [json.loads(event) for event in events[:-1]]
    said = "".join(c["delta"].get("content", "") for piece in pieces for c in piece["choices"])
    assert said == "a longer text"
    assert any("usage" in piece for piece in pieces) is usage


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (ASK, {"Authorization": "Bearer another"}, 401, "invalid_api_key"),
        (ASK | {"model": "nowhere"}, {}, 400, "invalid_request"),
        (ASK | {"model": "small:loud"}, {}, 400, "invalid_request"),
        (ASK | {"messages": []}, {}, 400, "invalid_request"),
        (ASK | {"messages": ["hello"]}, {}, 400, "invalid_request"),
        (["no", "object"], {}, 400, "invalid_request"),
        (ASK, {"x_tandem_deadline": "3600"}, 400, "invalid_request"),
        (ASK, {"x_tandem_deadline": "soon"}, 400, "invalid_request"),
        (ASK, {"x_tandem_class": "urgent"}, 400, "invalid_request"),
        (ASK, {"x_tandem_grant_tokens": "many"}, 400, "invalid_request"),
        (ASK, {"x_tandem_grant": "g", "x_tandem_grant_tokens": "1"}, 429, "grant_spent"),
        (ASK | {"model": "vectors"}, {}, 400, "invalid_request"),
    ],
)
@pytest.mark.asyncio
async def test_what_is_wrong_is_told_in_openais_form(body, headers, status, code):
    async with door() as at:
        found, said, _ = await at.post("/v1/chat/completions", body, **headers)
        assert at.replicas[0].seen == []
    assert (found, said["error"]["code"]) == (status, code)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("fail", 503, "unavailable"), ("hang", 504, "deadline"), ("refuse", 400, "invalid_request")],
)
@pytest.mark.asyncio
async def test_a_replicas_trouble_has_a_status(fault, status, code, stream):
    async with door() as at:
        at.replicas[0].does.append(fault)
        found, said, _ = await at.post("/v1/chat/completions", ASK | {"stream": stream}, x_tandem_deadline="0.3")
    assert (found, said["error"]["code"]) == (status, code)


@pytest.mark.parametrize("fault", ["cut", "shape"])
@pytest.mark.asyncio
async def test_a_stream_that_goes_wrong_ends_with_an_error_and_without_an_end(fault):
    async with door(text='{"n": 1}') as at:
        at.replicas[0].does.append(fault)
        body = ASK | {"stream": True, "response_format": SHAPE}
        status, raw, _ = await at.post("/v1/chat/completions", body)
    last = raw.decode().strip().split("\n\n")[-1]
    assert status == 200
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == fault


@pytest.mark.asyncio
async def test_a_full_queue_and_a_spent_quota_say_so():
    tenants = {"small": Tenant(in_flight=1), "poor": Tenant(tokens_per_minute=1)}
    async with door(tenants=tenants, pool={"concurrency": 1, "queue": 0}) as at:
        [replica] = at.replicas
        replica.does.append("hang")
        waiting = asyncio.create_task(at.post("/v1/chat/completions", ASK, x_tandem_tenant="small"))
        await replica.started.wait()
        codes = []
        for tenant in ("small", "another"):
            status, said, headers = await at.post("/v1/chat/completions", ASK, x_tandem_tenant=tenant)
            codes.append((status, said["error"]["code"], headers["Retry-After"]))
        replica.release.set()
        await waiting
        for _ in range(2):
            status, said, _ = await at.post("/v1/chat/completions", ASK, x_tandem_tenant="poor")
        codes.append((status, said["error"]["code"], "1"))
    assert codes == [(429, "tenant_in_flight", "1"), (429, "queue_full", "1"), (429, "tenant_tokens", "1")]


@pytest.mark.asyncio
async def test_a_tool_that_hangs_up_ends_its_call_at_the_replica():
    async with door() as at:
        [replica] = at.replicas
        replica.does.append("hang")
        asking = asyncio.create_task(at.post("/v1/chat/completions", ASK))
        await replica.started.wait()
        asking.cancel()
        async with asyncio.timeout(3):
            while replica.running:
                await asyncio.sleep(0.005)
        assert replica.left_early == 1


@pytest.mark.asyncio
async def test_vectors_and_rankings_come_from_here_or_from_a_pool():
    async with door() as at:
        _, here, _ = await at.post("/v1/embeddings", {"input": "abc"})
        _, there, _ = await at.post("/v1/embeddings", {"input": ["a", "bb"], "model": "vectors"})
        assert [row["embedding"] for row in here["data"]] == [[1.0, 3.0]]
        assert there["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
        assert there["data"][1]["index"] == 1
        ask = {"query": "q", "documents": ["a", "ccc", "bb"]}
        _, here, _ = await at.post("/v1/rerank", ask)
        _, there, _ = await at.post("/v1/rerank", ask | {"model": "order"})
        for ranking in (here, there):
            assert [row["index"] for row in ranking["results"]] == [1, 2, 0]
        status, _, _ = await at.post("/v1/embeddings", {"input": "abc", "model": "small"})
        assert status == 400


@pytest.mark.asyncio
async def test_the_models_are_the_pools_and_their_adapters():
    async with door() as at, at.session.get(f"{at.url}/v1/models") as response:
        names = [row["id"] for row in (await response.json())["data"]]
    assert names == ["all-MiniLM-L6-v2", "small", "small:tone", "vectors", "order"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/chat/completions"), ("POST", "/v1/completions"), ("GET", "/")]
)
@pytest.mark.asyncio
async def test_what_is_not_there_is_told_to_those_who_may_ask(method, path):
    async with door() as at, aiohttp.ClientSession() as stranger:
        for session, status in [(stranger, 401), (at.session, 404)]:
            async with session.request(method, f"{at.url}{path}") as response:
                assert (response.status, (await response.json())["error"]["type"]) == (status, "invalid_request_error")


@pytest.mark.asyncio
async def test_a_tool_that_asks_first_is_told_to_go_on():
    async with door() as at, at.session.post(f"{at.url}/v1/chat/completions?a=b", json=ASK, expect100=True) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
        assert (await response.json())["choices"][0]["message"]["content"] == "hello"


@pytest.mark.asyncio
async def test_health_needs_no_token_and_the_rest_does():
    async with door() as at, aiohttp.ClientSession() as stranger:
        async with stranger.get(f"{at.url}/health") as response:
            assert response.status == 200
        async with stranger.get(f"{at.url}/v1/models") as response:
            assert response.status == 401


def test_a_door_without_a_token_does_not_open():
    with pytest.raises(InvalidSettings, match="TANDEM_SERVICE_TOKEN"):
        HttpDoor(Gateway(Embeddings(Lengths, 1), None), Listen(host="127.0.0.1", port=0, token=""))
