"""The Llm and Memory ports, over gRPC and in the process: one suite."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import numpy as np
import pytest

from services.llm_gateway.handlers import LlmServicer
from services.memory.handlers import MemoryServicer
from tandem import telemetry
from tandem.contracts.ticket import Cost, Line
from tandem.errors import Exhausted, IndexUnavailable, InvalidError, InvalidSettings, Misshapen, Unavailable
from tandem.rpc.clients import GrpcLlm, GrpcMemory
from tandem.rpc.inprocess import InProcessLlm, InProcessMemory
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse, ToolCall, ToolTurn, Usage
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.v1 import llm_pb2, llm_pb2_grpc, memory_pb2_grpc

TOKEN = "a token of the tests"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
CALLS = (ToolCall("c1", "look_up", '{"id": 1}'),)
ASK = ChatRequest(
    tenant="acme",
    system="s",
    messages=(
        ("user", "héllo"),
        ToolTurn(role="assistant", tool_calls=CALLS),
        ToolTurn(role="tool", text="42", tool_call_id="c1"),
    ),
    schema={"type": "object"},
    max_tokens=7,
    grant="g",
    limit=Cost(calls=1, tokens=900),
    ticket="t1",
    model="small",
    adapter="tone",
    tools=(TOOL,),
    tool_choice="look_up",
    seed=0,
)
ANSWER = ChatResponse(
    text="ok",
    model="m",
    cost=Cost(calls=1, tokens=2, micros=3),
    tool_calls=CALLS,
    finish="tool_calls",
    usage=Usage(tokens_in=1, tokens_out=1, cached=1, first_token_ms=2.5),
)


class FakeLlm:
    """Answers as told; `slow` never answers."""

    def __init__(self):
        self.requests = []
        self.ended = asyncio.Event()

    async def embed(self, texts, deadline=5.0):
        if "slow" in texts:
            await asyncio.Event().wait()
        return np.array([[len(text)] * 384 for text in texts], dtype=np.float32).reshape(len(texts), 384)

    async def chat(self, request, deadline=30.0):
        self.requests.append(request)
        self.traceparent = telemetry.current_traceparent()
        if request.system == "none":
            raise Unavailable("no model is configured")
        if request.system == "wrong":
            raise InvalidError("bad schema")
        if request.system == "shapeless":
            raise Misshapen("shape: not JSON", (1, 140, 20))
        if request.system == "full":
            raise Exhausted("queue_full", "64 calls wait")
        return ANSWER

    async def stream(self, request, deadline=30.0):
        if request.system == "slow":
            await asyncio.sleep(deadline)
            raise Unavailable("late")
        try:
            for text in ("o", "k"):
                yield ChatDelta(text=text)
            if request.system == "cut":
                raise Unavailable("broken off")
            yield ChatDelta(last=await self.chat(request, deadline))
        finally:
            self.ended.set()

    async def rerank(self, query, texts, deadline=5.0):
        return [float(len(query) * len(text)) for text in texts]


class FakeMemory:
    async def conversation(self, tenant, conversation, limit=20, deadline=0.3):
        if conversation == "slow":
            await asyncio.Event().wait()
        return [Line(who="customer", text=f"{tenant} {n}", at=n) for n in range(limit)]

    async def customer(self, tenant, conversation, deadline=0.3):
        if conversation == "away":
            raise IndexUnavailable("Redis is away")
        past = {"ticket": "t1", "intent": "refund", "outcome": "resolved", "at": 5, "summary": "Money back."}
        known = {"name": "region", "value": "Frankfurt", "ticket": "t1", "message": "m1", "at": 5, "until": 9}
        return {"facts": {"name": "Ada", "orders": [1, 2]}, "tickets": [past], "known": [known]}


@contextlib.asynccontextmanager
async def serving(llm, memory):
    def register(server):
        llm_pb2_grpc.add_LlmGatewayServicer_to_server(LlmServicer(llm), server)
        memory_pb2_grpc.add_MemoryServicer_to_server(MemoryServicer(memory), server)

    server = GrpcServer(Listen(host="127.0.0.1", port=0, token=TOKEN), register, ("tandem.rpc.v1.LlmGateway",))
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.stop(1)


@contextlib.asynccontextmanager
async def clients(kind, llm, memory):
    if kind == "in-process":
        yield InProcessLlm(llm), InProcessMemory(memory)
        return
    async with serving(llm, memory) as target:
        pair = GrpcLlm(target, TOKEN), GrpcMemory(target, TOKEN)
        yield pair
        for client in pair:
            await client.close()


both = pytest.mark.parametrize("kind", ["grpc", "in-process"])


@both
@pytest.mark.asyncio
async def test_embeddings_come_as_they_are(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (llm, _):
        vectors = await llm.embed(["a", "bcd"])
        assert vectors.shape == (2, 384)
        assert vectors.dtype == np.float32
        assert vectors[:, 0].tolist() == [1, 3]
        assert (await llm.embed([])).shape == (0, 384)


@both
@pytest.mark.asyncio
async def test_a_chat_request_arrives_whole(kind):
    fake = FakeLlm()
    async with clients(kind, fake, FakeMemory()) as (llm, _):
        response = await llm.chat(ASK)
    assert response == ANSWER
    assert fake.requests == [ASK]


@both
@pytest.mark.asyncio
async def test_a_stream_comes_in_its_pieces_and_ends_with_the_whole(kind):
    fake = FakeLlm()
    async with clients(kind, fake, FakeMemory()) as (llm, _):
        deltas = [delta async for delta in llm.stream(ASK)]
    assert deltas == [ChatDelta(text="o"), ChatDelta(text="k"), ChatDelta(last=ANSWER)]
    assert fake.requests == [ASK]


@both
@pytest.mark.asyncio
async def test_what_is_wrong_with_a_stream_is_told(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (llm, _):
        with pytest.raises(Unavailable, match="broken off"):
            [delta async for delta in llm.stream(ChatRequest(tenant="t", system="cut", messages=()))]
        with pytest.raises(Unavailable):
            [delta async for delta in llm.stream(ChatRequest(tenant="t", system="slow", messages=()), deadline=0.05)]


@both
@pytest.mark.asyncio
async def test_who_leaves_a_stream_ends_it_at_the_other_side(kind):
    fake = FakeLlm()
    async with clients(kind, fake, FakeMemory()) as (llm, _):
        async with contextlib.aclosing(llm.stream(ASK)) as deltas:
            async for _delta in deltas:
                break
        async with asyncio.timeout(5):
            await fake.ended.wait()


@both
@pytest.mark.asyncio
async def test_texts_are_ranked(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (llm, _):
        assert await llm.rerank("ab", ["x", "xyz"]) == [2.0, 6.0]


@both
@pytest.mark.asyncio
async def test_the_trace_goes_on_at_the_other_side(kind):
    fake = FakeLlm()
    async with clients(kind, fake, FakeMemory()) as (llm, _):
        with telemetry.continued("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"):
            await llm.chat(ASK)
            assert fake.traceparent == telemetry.current_traceparent() is not None


@both
@pytest.mark.asyncio
async def test_errors_keep_their_kind(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (llm, _):
        with pytest.raises(Unavailable, match="no model is configured"):
            await llm.chat(ChatRequest(tenant="t", system="none", messages=()))
        with pytest.raises(InvalidError, match="bad schema"):
            await llm.chat(ChatRequest(tenant="t", system="wrong", messages=()))
        with pytest.raises(Misshapen, match="not JSON") as shapeless:
            await llm.chat(ChatRequest(tenant="t", system="shapeless", messages=()))
        assert shapeless.value.paid == (1, 140, 20)
        with pytest.raises(Exhausted) as full:
            await llm.chat(ChatRequest(tenant="t", system="full", messages=()))
        assert full.value.reason == "queue_full"


@both
@pytest.mark.asyncio
async def test_a_deadline_ends_every_call(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (llm, memory):
        with pytest.raises(Unavailable):
            await llm.embed(["slow"], deadline=0.05)
        with pytest.raises(Unavailable):
            await memory.conversation("acme", "slow", deadline=0.05)


@both
@pytest.mark.asyncio
async def test_a_store_that_is_away_is_unavailable(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (_, memory):
        with pytest.raises(Unavailable, match="Redis is away"):
            await memory.customer("acme", "away")


@both
@pytest.mark.asyncio
async def test_memory_comes_as_it_is(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (_, memory):
        lines = await memory.conversation("acme", "c1", limit=2)
        assert lines == [Line(who="customer", text=f"acme {n}", at=n) for n in range(2)]
        known = await memory.customer("acme", "c1")
    assert known == {
        "facts": {"name": "Ada", "orders": [1, 2]},
        "tickets": [{"ticket": "t1", "intent": "refund", "outcome": "resolved", "at": 5, "summary": "Money back."}],
        "known": [{"name": "region", "value": "Frankfurt", "ticket": "t1", "message": "m1", "at": 5, "until": 9}],
    }


@pytest.mark.asyncio
async def test_the_token_is_asked_for_and_health_is_not():
    async with serving(FakeLlm(), FakeMemory()) as target:
        stranger = GrpcLlm(target, "another token")
        with pytest.raises(Unavailable, match="UNAUTHENTICATED"):
            await stranger.embed(["a"])
        await stranger.ready()
        await stranger.close()


@pytest.mark.asyncio
async def test_a_call_without_a_deadline_is_refused():
    async with serving(FakeLlm(), FakeMemory()) as target, grpc.aio.insecure_channel(target) as channel:
        stub = llm_pb2_grpc.LlmGatewayStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Embed(llm_pb2.EmbedRequest(texts=["a"]), metadata=(("authorization", f"Bearer {TOKEN}"),))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.asyncio
async def test_nobody_there_is_unavailable():
    llm = GrpcLlm("127.0.0.1:9", TOKEN)
    with pytest.raises(Unavailable):
        await llm.embed(["a"], deadline=1)
    with pytest.raises(Unavailable):
        await llm.ready()
    await llm.close()


def test_a_server_without_a_token_does_not_start():
    with pytest.raises(InvalidSettings, match="TANDEM_SERVICE_TOKEN"):
        GrpcServer(Listen(host="127.0.0.1", port=0, token=""), lambda server: None, ())
