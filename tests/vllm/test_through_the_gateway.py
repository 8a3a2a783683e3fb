"""The gateway over two real replicas: what it gives, and that nothing hangs when one of them dies."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from random import Random

import aiohttp
import pytest
import pytest_asyncio

from services.llm_gateway.app import build_gateway
from services.llm_gateway.http_door import HttpDoor
from services.llm_gateway.settings import LlmGatewaySettings
from tandem.errors import InvalidError, Unavailable
from tandem.rpc.ports import ChatRequest
from tandem.rpc.server import Listen
from tests.vllm.calls import SCHEMA, TOOL, body
from tests.vllm.replicas import ADAPTER, MAX_QUEUED, MAX_RUNNING

pytestmark = pytest.mark.vllm

DEADLINE_S = 30.0
TOKEN = "for tests"
TICKETS, TURNS = 12, 5


@pytest_asyncio.fixture
async def gateway(engines):
    settings = LlmGatewaySettings(llm_pools=engines.pools, service_token=TOKEN, http_port=None)
    made = build_gateway(settings)
    yield made
    await made.close()


def request(text="hello", **more):
    fields = {"tenant": "acme", "system": "Be brief.", "max_tokens": 16, **more}
    return ChatRequest(messages=(("user", text),), **fields)


@pytest.mark.asyncio
async def test_chat_is_accounted(gateway):
    response = await gateway.chat(request(), DEADLINE_S)
    assert response.usage.tokens_in > 0
    assert 0 < response.usage.tokens_out <= 16
    assert response.cost.calls == 1
    assert response.cost.tokens == response.usage.tokens_in + response.usage.tokens_out


@pytest.mark.asyncio
async def test_streaming(gateway):
    deltas = [delta async for delta in gateway.stream(request(), DEADLINE_S)]
    last = deltas[-1].last
    assert last.text == "".join(delta.text for delta in deltas)
    assert last.usage.tokens_out > 0
    assert last.usage.first_token_ms > 0


@pytest.mark.asyncio
async def test_json_schema(gateway):
    response = await gateway.chat(request(schema=SCHEMA, max_tokens=100), DEADLINE_S)
    assert json.loads(response.text)["kind"] in ("refund", "return")


@pytest.mark.asyncio
async def test_tool_calls(gateway):
    asked = request(tools=(TOOL,), tool_choice="required", max_tokens=500, temperature=1.0, seed=1)
    response = await gateway.chat(asked, DEADLINE_S)
    assert response.tool_calls
    assert {call.name for call in response.tool_calls} == {"find_order"}
    assert {json.loads(call.arguments)["order"] for call in response.tool_calls} <= {"A1", "B2"}


@pytest.mark.asyncio
async def test_an_adapter_is_loaded_when_it_is_asked_for_and_no_other(gateway, engines):
    for ticket in range(8):  # so that both replicas are asked
        response = await gateway.chat(request(adapter=ADAPTER, ticket=str(ticket)), DEADLINE_S)
        assert response.model == ADAPTER
    with pytest.raises(InvalidError):
        await gateway.chat(request(adapter="another"), DEADLINE_S)


@pytest.mark.asyncio
async def test_what_is_too_much_for_both_is_answered_or_refused_in_time(gateway):
    many = 5 * (MAX_RUNNING + MAX_QUEUED)
    begun = time.monotonic()
    calls = [gateway.chat(request(str(n), ticket=str(n), max_tokens=200), DEADLINE_S) for n in range(many)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - begun < DEADLINE_S + 1
    assert sum(not isinstance(answer, BaseException) for answer in answers) >= 2 * MAX_RUNNING
    assert all(isinstance(answer, Unavailable) for answer in answers if isinstance(answer, BaseException))


async def hit_rate(gateway, engines, salt, ticket_of):
    """Of the prompts' tokens, the share that the replicas found in their prefix caches, for many tickets' turns mixed."""
    hits, queries = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"

    def counted(name):
        return sum(replica.metric(name) for replica in engines.replicas)

    before = counted(hits), counted(queries)
    left = [ticket for ticket in range(TICKETS) for _ in range(TURNS)]
    Random(7).shuffle(left)
    turns = [0] * TICKETS
    for ticket in left:
        turns[ticket] += 1
        said = "".join(f"{salt} ticket {ticket} turn {turn}: it is late. " for turn in range(turns[ticket]))
        await gateway.chat(request(said, ticket=ticket_of(ticket), max_tokens=2), DEADLINE_S)
    return (counted(hits) - before[0]) / (counted(queries) - before[1])


@pytest.mark.asyncio
async def test_calls_of_a_ticket_find_their_beginning(gateway, engines, capsys):
    chance = Random(11)
    without = await hit_rate(gateway, engines, "one", lambda _: chance.randbytes(8).hex())
    with_affinity = await hit_rate(gateway, engines, "two", lambda ticket: f"ticket {ticket}")
    with capsys.disabled():
        sys.stdout.write(f"\nprefix cache hit rate: {without:.3f} without affinity, {with_affinity:.3f} with it\n")
    assert with_affinity > 1.1 * without


@pytest_asyncio.fixture
async def door(gateway):
    """Posts to the HTTP door, where a body passes as it is: `ignore_eos` makes the tiny model write on."""
    serving = HttpDoor(gateway, Listen(host="127.0.0.1", port=0, token=TOKEN))
    await serving.start()
    headers = {"Authorization": f"Bearer {TOKEN}", "x-tandem-deadline": str(DEADLINE_S)}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{serving.port}", headers=headers) as session:
        yield session
    await serving.stop(5)


async def lines_of(door, ticket, begun):
    """A stream's events; `begun` once there is one."""
    asked = body("write", model="", max_tokens=900, ignore_eos=True, stream=True)
    async with door.post("/v1/chat/completions", json=asked, headers={"x-tandem-ticket": ticket}) as answer:
        events = []
        async for line in answer.content:
            if line.strip():
                events.append(line.decode().strip().removeprefix("data: "))
                begun.set()
        return answer.status, events


@pytest.mark.asyncio
async def test_a_replica_killed_while_it_writes(gateway, door, engines):
    """Each answer is finished or its caller told, before the deadline; the next calls go to the other replica."""
    begun = [asyncio.Event() for _ in range(MAX_RUNNING)]
    streams = [asyncio.create_task(lines_of(door, str(number), event)) for number, event in enumerate(begun)]
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(event.wait() for event in begun))
    busiest = max(engines.replicas, key=lambda replica: replica.metric("vllm:num_requests_running"))
    busiest.kill()
    async with asyncio.timeout(DEADLINE_S + 1):
        ended = await asyncio.gather(*streams)
    cut = [events for _, events in ended if events[-1] != "[DONE]"]
    assert {status for status, _ in ended} == {200}
    assert cut
    assert all("error" in json.loads(events[-1]) for events in cut)
    async with asyncio.timeout(DEADLINE_S):
        for number in range(8):
            assert (await gateway.chat(request(ticket=f"later {number}"), 5)).usage.tokens_out > 0
