"""Chat against small servers that speak vLLM's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest

from services.llm_gateway.calls import call_of
from services.llm_gateway.replica import OPEN_AFTER, State
from services.llm_gateway.shapes import AS_SCHEMA, AS_TYPE
from tandem.contracts.ticket import Cost
from tandem.errors import InvalidError, Misshapen, Unavailable
from tandem.model_pools import Pool, Price
from tandem.rpc.ports import ChatRequest, ToolCall, ToolTurn
from tests.unit.llm_gateway.replicas import replicas
from tests.unit.llm_gateway.served import SCHEMA, SHAPE, call, chat_over, read, served

PRICE = Price(tokens_in=1_000, tokens_out=2_000, cached=500)


@pytest.mark.asyncio
async def test_a_call_says_what_it_took():
    request = ChatRequest(
        tenant="acme", system="Be brief.", messages=(("user", "hello"),), grant="g1", schema=None, seed=3
    )
    async with served(pool={"price": PRICE}) as (chat, [replica]):
        response = (await chat.complete(call_of(request, time.monotonic() + 5))).response()
    assert (response.text, response.model, response.finish) == ("hello", "tiny", "stop")
    assert response.cost == Cost(calls=1, tokens=15, micros=6 + 2 + 10)
    assert (response.usage.tokens_in, response.usage.tokens_out, response.usage.cached) == (10, 5, 4)
    assert response.usage.first_token_ms > 0
    headers, body = replica.seen[0]
    assert headers["Idempotency-Key"] == "g1"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    assert (body["model"], body["seed"], body["max_tokens"]) == ("tiny", 3, 512)


@pytest.mark.asyncio
async def test_a_stream_is_the_same_answer_in_pieces():
    async with served(text="a longer text", pool={"price": PRICE}) as (chat, _):
        events, text, last = await read(chat, call())
    assert text == last.text == "a longer text"
    assert last.cost == Cost(calls=1, tokens=15, micros=18)
    assert events.endswith(b"data: [DONE]\n\n")
    assert events.count(b"content") > 1


@pytest.mark.asyncio
async def test_tools_are_offered_and_their_calls_come_back():
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    done = ToolTurn(role="assistant", tool_calls=(ToolCall("c0", "look_up", '{"id": 1}'),))
    said = ToolTurn(role="tool", tool_call_id="c0", text="42")
    request = ChatRequest(
        tenant="t", system="", messages=(("user", "?"), done, said), tools=(tool,), tool_choice="look_up"
    )
    async with served() as (chat, [replica]):
        response = (await chat.complete(call_of(request, time.monotonic() + 5))).response()
    assert response.tool_calls == (ToolCall("c1", "look_up", "{}"),)
    _, body = replica.seen[0]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look_up"}}
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"id": 1}'
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "c0", "content": "42"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"n": 1}', None),
        ('{"n": "one"}', 'shape: .* n: it is not of type "integer"'),
        ("{", "shape: .* not JSON"),
        ("[]", 'shape: .* it is not of type "object"'),
    ],
)
@pytest.mark.asyncio
async def test_an_answer_has_the_shape_that_was_asked_for(text, fault):
    async with served(text=text) as (chat, [replica]):
        for asking in (
            chat.complete(call(more={"response_format": SHAPE})),
            read(chat, call(more={"response_format": SHAPE})),
        ):
            with contextlib.nullcontext() if fault is None else pytest.raises(Misshapen, match=fault):
                await asking
    assert replica.seen[0][1]["response_format"]["json_schema"]["schema"] == SCHEMA


TOLD = AS_TYPE + '{ "n": number /* whole */ }'
HELLO = {"role": "user", "content": "hello"}
PARTS = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (
            [{"role": "system", "content": "Be brief."}, HELLO],
            [{"role": "system", "content": f"Be brief.\n\n{TOLD}"}, HELLO],
        ),
        ([HELLO], [{"role": "system", "content": TOLD}, HELLO]),
        ([PARTS, HELLO], [{"role": "system", "content": TOLD}, PARTS, HELLO]),
    ],
)
@pytest.mark.asyncio
async def test_where_no_schema_is_known_it_is_told_in_words_and_paid_for(messages, told):
    asked = call(more={"response_format": SHAPE, "messages": messages}, pool="small")
    question, size = asked.question(), asked.size
    async with served(pool={"structured": "json_object"}, text='{"n": "one"}') as (chat, [replica]):
        with pytest.raises(Misshapen):
            await chat.complete(asked)
    (_, body), = replica.seen  # fmt: skip
    assert (body["messages"], body["response_format"]) == (told, {"type": "json_object"})
    assert asked.question() == question
    assert asked.size > size


@pytest.mark.asyncio
async def test_a_schema_that_no_type_says_is_told_as_it_is():
    schema = {"allOf": [SCHEMA]}
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    async with served(pool={"structured": "json_object"}, text='{"n": 1}') as (chat, [replica]):
        await chat.complete(call(more={"response_format": shape, "messages": [HELLO]}, pool="small"))
    (_, body), = replica.seen  # fmt: skip
    assert body["messages"][0]["content"] == AS_SCHEMA + json.dumps(schema)


@pytest.mark.asyncio
async def test_retry_after_is_honoured_once():
    async with served() as (chat, [replica]):
        replica.does.extend(["busy", "answer", "busy", "busy"])
        assert (await chat.complete(call())).text == "hello"
        with pytest.raises(Unavailable, match="503"):
            await chat.complete(call())
    assert len(replica.seen) == 4


@pytest.mark.parametrize(
    ("fault", "retry_after", "error"),
    [
        ("fail", "0", Unavailable),
        ("busy", "3600", Unavailable),
        ("refuse", "0", InvalidError),
        ("garbage", "0", Unavailable),
        ("cut", "0", Unavailable),
    ],
)
@pytest.mark.asyncio
async def test_trouble_has_a_type(fault, retry_after, error):
    async with served() as (chat, [replica]):
        replica.does.append(fault)
        replica.retry_after = retry_after
        with pytest.raises(error):
            await chat.complete(call())
        assert len(replica.seen) == 1


UNKNOWN = (
    """HTTP 404, are its address and the model's name right? It says: {"error": "The model `m` does not exist."}"""
)


@pytest.mark.parametrize(
    ("fault", "outcome", "told"),
    [
        ("unknown", "http_4xx", UNKNOWN),
        ("key", "http_4xx", "HTTP 401, is its key right?"),
        ("fail", "http_5xx", "HTTP 500"),
    ],
)
@pytest.mark.asyncio
async def test_an_operator_is_told_once_why_a_replica_is_left_alone(fault, outcome, told, caplog):
    async with served() as (chat, [stub]):
        for _ in range(OPEN_AFTER + 1):
            stub.does.append(fault)
            with pytest.raises(Unavailable):
                await chat.complete(call())
    assert caplog.messages == [f"a model's replica is left alone: {outcome}: {stub.url}: {told}"]


@pytest.mark.parametrize("retry_after", ["", "Wed, 21 Oct 2015 07:28:00 GMT"])
@pytest.mark.asyncio
async def test_a_full_replica_that_does_not_say_for_how_long_is_asked_again_soon_and_not_blamed(retry_after):
    async with served() as (chat, [replica]):
        replica.retry_after = retry_after
        for _ in range(2 * OPEN_AFTER):
            replica.does.append("busy")
            assert (await chat.complete(call())).text == "hello"
        assert chat.pools["small"].replicas[0].breaker.state is State.CLOSED


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["busy", "fail", "gone", "garbage", "hang", "cut", "shape", "long"])
@pytest.mark.asyncio
async def test_every_fault_of_a_pool_ends_before_the_deadline(fault, stream):
    """Where the caller has seen nothing yet, the next pool answers; else it is told."""
    async with replicas(1, text='{"n": 1}') as [small], replicas(1, text='{"n": 2}') as [large]:
        small.does.extend([fault] * 5)
        pools = {
            "small": Pool(model="s", replicas=(small.url,), vllm=False, next="large"),
            "large": Pool(model="l", replicas=(large.url,), vllm=False),
        }
        seen = fault == "hang" or (stream and fault in ("cut", "shape"))
        async with chat_over(pools) as chat:
            asked = call(within=0.5 if fault == "hang" else 5, more={"response_format": SHAPE})
            began = time.monotonic()
            with pytest.raises(Unavailable) if seen else contextlib.nullcontext():
                text = (await read(chat, asked))[1] if stream else (await chat.complete(asked)).text
                assert text == '{"n": 2}'
            assert time.monotonic() - began < 3  # a busy machine's time aside, before the deadline


@pytest.mark.parametrize("fault", ["busy", "fail", "gone"])
@pytest.mark.asyncio
async def test_another_replica_of_the_pool_takes_over(fault):
    async with served(2) as (chat, made):
        for replica in made:
            replica.does.append(fault)
        made[1].does.clear()
        answers = [(await chat.complete(call(ticket=str(n)))).text for n in range(8)]
    assert answers == ["hello"] * 8
    assert made[0].seen


@pytest.mark.asyncio
async def test_a_caller_that_leaves_ends_the_call_at_the_replica():
    async with served() as (chat, [replica]):
        replica.does.append("hang")
        asking = asyncio.create_task(chat.complete(call()))
        await replica.started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(2):
            while not replica.left_early:
                await asyncio.sleep(0.005)
        assert (await chat.complete(call())).text == "hello"


@pytest.mark.asyncio
async def test_a_reader_that_leaves_ends_the_stream_at_the_replica():
    async with served(text="x" * 200, tokens=200, delay_s=0.01) as (chat, [replica]):
        asked = call()
        asked.stream = True
        async with contextlib.aclosing(chat.stream(asked)) as pieces:
            async for piece in pieces:
                assert piece.events
                break
        async with asyncio.timeout(2):
            while replica.running:
                await asyncio.sleep(0.005)
        assert chat.pools["small"].slots.running == 0
        assert replica.left_early == 1


@pytest.mark.asyncio
async def test_a_silent_first_replica_is_hedged():
    async with served(2, pool={"hedge_s": 0.05}) as (chat, made):
        for replica in made:
            replica.first_s = 0.02
        _, text, _ = await read(chat, call(ticket="t"))
        assert text == "hello"
        first = next(replica for replica in made if replica.seen)
        first.does.append("hang")
        _, text, _ = await read(chat, call(ticket="t"))
        assert text == "hello"
        assert sum(len(replica.seen) for replica in made) == 3
        async with asyncio.timeout(2):
            while first.running:
                await asyncio.sleep(0.005)
        assert {replica.in_flight for replica in chat.pools["small"].replicas} == {0}


@pytest.mark.asyncio
async def test_adapters_are_loaded_once_and_only_those_allowed():
    pool = {"vllm": True, "adapters": {"tone": "/adapters/tone"}}
    async with served(1, pool=pool) as (chat, [replica]):
        for _ in range(2):
            await chat.complete(call(adapter="tone", tenant="acme"))
        with pytest.raises(InvalidError, match="adapter"):
            await chat.complete(call(adapter="another"))
        await chat.complete(call(tenant="other"))
        assert replica.adapters == {"tone": "/adapters/tone"}
        bodies = [body for _, body in replica.seen]
    assert [body["model"] for body in bodies] == ["tone", "tone", "tiny"]
    assert bodies[0]["cache_salt"] == bodies[1]["cache_salt"] != bodies[2]["cache_salt"]


@pytest.mark.asyncio
async def test_a_replica_that_was_started_anew_gets_its_adapter_again():
    async with served(1, pool={"vllm": True, "adapters": {"tone": "/adapters/tone"}}) as (chat, [replica]):
        await chat.complete(call(adapter="tone"))
        replica.forgotten.add("tone")
        assert (await chat.complete(call(adapter="tone"))).text == "hello"
        assert not replica.forgotten


@pytest.mark.asyncio
async def test_callers_without_patience_do_not_open_a_breaker():
    async with served() as (chat, [replica]):
        replica.does.extend(["hang"] * 4)
        for _ in range(4):
            with pytest.raises(Unavailable, match="timeout"):
                await chat.complete(call(within=0.1))
        assert (await chat.complete(call())).text == "hello"


@pytest.mark.asyncio
async def test_a_replica_that_does_not_answer_when_asked_is_not_waited_for():
    async with served(2, pool={"vllm": True}) as (chat, made):
        await chat.complete(call(ticket="t"))
        first = next(replica for replica in made if replica.seen)
        first.does.append("hang")
        asking = asyncio.create_task(chat.complete(call(ticket="t", within=60)))
        first.started.clear()
        await first.started.wait()
        chat.pools["small"].replicas[made.index(first)].fall_silent()
        assert (await asking).text == "hello"


@pytest.mark.asyncio
async def test_nobody_there_is_unavailable():
    pool = Pool(model="tiny", replicas=("http://127.0.0.1:9/v1",), vllm=False)
    async with chat_over({"small": pool}) as chat:
        for _ in range(4):
            with pytest.raises(Unavailable):
                await chat.complete(call())
