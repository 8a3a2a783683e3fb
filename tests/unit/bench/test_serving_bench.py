from __future__ import annotations

import json

import pytest

from tandem.bench.gateway import serving
from tandem.bench.gateway.http import Connection
from tandem.bench.gateway.replicas import BLOCK, FAULTS, Blocks
from tandem.bench.gateway.servers import replicas


def test_a_block_is_found_if_all_before_it_are():
    blocks = Blocks(3)
    blocks.remember("a" * 2 * BLOCK)
    assert (blocks.hits, blocks.lookups) == (0, 2)
    blocks.remember("a" * 2 * BLOCK + "b" * BLOCK)
    assert (blocks.hits, blocks.lookups) == (2, 5)
    blocks.remember("c" * BLOCK)  # the first block is forgotten
    blocks.remember("a" * 2 * BLOCK)
    assert blocks.hits == 2


@pytest.mark.asyncio
async def test_each_replica_counts_its_own_and_meets_the_faults_that_it_is_asked_for():
    body = {"messages": [{"role": "user", "content": "x" * BLOCK}], "max_tokens": 1, "model": "m"}
    async with replicas(2, 100) as ports:
        first = Connection(ports[0])
        head = b"POST /v1/chat/completions HTTP/1.1\r\n"
        for _ in range(2):
            answer = await first.ask(head, json.dumps(body).encode())
            assert json.loads(answer.body)["choices"][0]["message"]["content"] == "word"
        busy = await first.ask(head, json.dumps(body | {"model": "fault-busy"}).encode())
        assert busy.status == 503
        first.close()
        assert await serving._seen(ports) == [
            {"calls": 2, "hits": 1, "lookups": 2},
            {"calls": 0, "hits": 0, "lookups": 0},
        ]
        assert (await serving._seen(ports))[0]["calls"] == 0


@pytest.mark.asyncio
async def test_a_short_run_has_every_figure(tmp_path):
    figures = await serving.measure(tmp_path, 1, 0.5, lambda text: None)
    assert figures["priorities"]["fifo"]["p99_times_alone"] > figures["priorities"]["beside"]["p99_times_alone"]
    assert figures["affinity"]["anywhere"]["of_oracle"] < 0.8 < figures["affinity"]["1"]["of_oracle"]
    assert figures["budget"]["overspent"] == 0 < figures["budget"]["most_spent"] <= serving.LIMIT
    assert figures["budget"]["refused"] >= serving.BUDGETS
    assert set(figures["faults"]) == set(FAULTS)
    assert all(met["in_time"] for kinds in figures["faults"].values() for met in kinds.values())
    assert figures["faults"]["fails"]["stream"]["outcome"] == "next pool"
    assert figures["faults"]["cut"]["stream"]["outcome"] == "caller told, in the stream"
    assert figures["faults"]["hangs"]["whole"]["outcome"] == "caller told: 504"
