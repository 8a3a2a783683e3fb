"""What the gateway relies on, asked of the engines themselves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.vllm.calls import SCHEMA, TOOL, body
from tests.vllm.replicas import ADAPTER, MAX_QUEUED, MAX_RUNNING, POOL

pytestmark = pytest.mark.vllm


async def ask(replica, asked, path="chat/completions"):
    """Status and answer."""
    async with aiohttp.ClientSession() as session, session.post(f"{replica.base}/{path}", json=asked) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


@pytest.mark.asyncio
async def test_chat(engines):
    for replica in engines.replicas:
        status, answer = await ask(replica, body(max_tokens=5, ignore_eos=True, cache_salt="acme"))
        assert status == 200
        assert answer["usage"]["completion_tokens"] == 5
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.asyncio
async def test_streaming(engines):
    asked = body(max_tokens=5, ignore_eos=True, stream=True, stream_options={"include_usage": True})
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{engines.replicas[0].base}/chat/completions", json=asked) as answer,
    ):
        lines = [line.decode().strip() async for line in answer.content]
    events = [line.removeprefix("data: ") for line in lines if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 5
    assert len(events) > 4


@pytest.mark.asyncio
async def test_json_schema(engines):
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    _, answer = await ask(engines.replicas[0], body(max_tokens=100, response_format=shape))
    found = json.loads(answer["choices"][0]["message"]["content"])
    assert found["kind"] in ("refund", "return")
    assert found["urgent"] in (True, False)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "find_order"}}])
@pytest.mark.asyncio
async def test_tool_calls(engines, choice):
    asked = body(max_tokens=500, temperature=1.0, seed=1, tools=[TOOL], tool_choice=choice)
    _, answer = await ask(engines.replicas[0], asked)
    calls = [call["function"] for call in answer["choices"][0]["message"]["tool_calls"]]
    assert calls
    assert {call["name"] for call in calls} == {"find_order"}
    assert {json.loads(call["arguments"])["order"] for call in calls} <= {"A1", "B2"}


@pytest.mark.asyncio
async def test_a_full_queue_says_503(engines):
    room = MAX_RUNNING + MAX_QUEUED
    asked = [ask(engines.replicas[0], body(str(n), max_tokens=400, ignore_eos=True)) for n in range(3 * room)]
    answers = await asyncio.gather(*asked)
    served = [answer for status, answer in answers if status == 200]
    refused = [answer for status, answer in answers if status == 503]
    assert len(served) + len(refused) == len(answers)
    assert len(served) >= MAX_RUNNING
    assert refused
    assert all("busy" in answer["error"]["message"] for answer in refused)


@pytest.mark.asyncio
async def test_an_adapter_is_loaded_while_it_serves(engines):
    replica = engines.replicas[0]
    asked = body(max_tokens=16, ignore_eos=True, logprobs=True)
    name = "by-hand"
    status, _ = await ask(replica, asked | {"model": name})
    assert status == 404
    status, _ = await ask(replica, {"lora_name": name, "lora_path": str(engines.adapter)}, "load_lora_adapter")
    assert status == 200
    try:
        status, adapted = await ask(replica, asked | {"model": name})
        assert status == 200
        _, plain = await ask(replica, asked)
        assert adapted["choices"][0]["logprobs"] != plain["choices"][0]["logprobs"]
    finally:
        status, _ = await ask(replica, {"lora_name": name}, "unload_lora_adapter")
        assert status == 200


def test_metrics_that_routing_reads_are_there(engines):
    for replica in engines.replicas:
        for name in ("vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:prefix_cache_queries_total"):
            assert replica.metric(name) >= 0


@pytest.mark.parametrize(
    ("engine", "said"), [({"max-num-seqs": 8}, ""), ({"max-model-len": "many"}, "--max-model-len")], ids=["yes", "no"]
)
def test_model_serve_asks_vllm_about_the_flags(engines_once, tmp_path, engine, said):
    pools = json.loads(engines_once.pools.read_text())
    weights = pools["pools"][POOL]["engine"]["model"]
    pools["pools"][POOL]["engine"] = {"model": weights} | engine
    file = tmp_path / "pools.yaml"
    file.write_text(json.dumps(pools))
    command = [sys.executable, "-m", "tandem", "model", "serve", POOL, "--pools", str(file), "--check", "--json"]
    done = subprocess.run(
        [*command, "--python", str(engines_once.python)], capture_output=True, text=True, timeout=300, check=False
    )
    answer = json.loads(done.stdout)
    assert done.returncode == (1 if said else 0)
    assert answer["ok"] is not bool(said)
    assert said in answer["error"]
    assert ADAPTER not in " ".join(answer["command"])  # the gateway loads what it is asked for


def test_vllm_takes_what_compose_gives_it(engines_once):
    file = Path(__file__).parents[2] / "deploy" / "pools.yaml"
    command = [sys.executable, "-m", "tandem", "model", "serve", "small", "--pools", str(file), "--check"]
    subprocess.run([*command, "--python", str(engines_once.python)], timeout=300, check=True)
