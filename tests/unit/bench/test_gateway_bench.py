from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from services.llm_gateway.handlers import LlmServicer
from tandem.bench.gateway import rounds
from tandem.bench.gateway.http import Connection, read_head
from tandem.bench.gateway.http2 import WINDOW, Channel
from tandem.bench.gateway.load import Figures, Job, Target, run
from tandem.bench.gateway.servers import Generator, free_port, litellm_program, spent, stub
from tandem.bench.gateway.stub import INSTANT, THINKING, whole
from tandem.errors import InvalidSettings, Unavailable
from tandem.rpc.ports import ChatDelta, ChatResponse
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.v1 import llm_pb2_grpc


async def ask(port, head, body=b""):
    with contextlib.closing(Connection(port)) as connection:
        return await connection.ask(head, body)


def job(port, **more):
    return Job(target=Target(door="http", port=port, token="none"), model=INSTANT, tokens=40, **more)


@pytest.mark.parametrize(
    "more",
    [{"calls": 20}, {"calls": 20, "stream": True, "workers": 4}, {"rate": 200.0, "workers": 8, "seconds": 0.2}],
    ids=["one at a time", "streams", "paced"],
)
@pytest.mark.asyncio
async def test_every_call_is_counted_and_timed(more):
    async with stub() as port:
        figures = await run(job(port, **more), Channel(1, "token"))
    assert figures.errors == 0
    assert figures.calls == 20 if "rate" not in more else figures.calls > 10
    assert 0 < figures.first_p50_ms <= figures.p50_ms <= figures.p99_ms


@pytest.mark.asyncio
async def test_paced_calls_take_no_more_connections_than_there_are_calls_at_once():
    opened = []

    async def answer(reader, writer):
        opened.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                _, headers = await read_head(reader)
                await reader.readexactly(int(headers["content-length"]))
                writer.write(whole(b"{}"))
        writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        figures = await run(job(port, rate=100.0, workers=64, seconds=0.5), Channel(1, "token"))
        await asyncio.gather(*(writer.wait_closed() for writer in opened))
    assert figures.calls > 30
    assert len(opened) < figures.calls / 2


@pytest.mark.asyncio
async def test_the_stub_thinks_before_its_first_token_and_streams_each_on_its_own():
    async with stub() as port:
        thinking = job(port, calls=3, stream=True).model_copy(update={"model": THINKING})
        figures = await run(thinking, Channel(1, "token"))
        body = b'{"model": "stub", "max_tokens": 40, "stream": true}'
        answer = await ask(port, b"POST /v1/chat/completions HTTP/1.1\r\n", body)
    assert figures.first_p50_ms >= 20
    assert answer.body.count(b'"content": "word "') == 40
    assert answer.body.endswith(b"data: [DONE]\n\n")


class Answering:
    """A gateway that says its text at once."""

    def __init__(self, text):
        self.text = text

    async def chat(self, request, deadline):
        assert request.max_tokens == 40
        return ChatResponse(text=self.text, model="m")

    async def stream(self, request, deadline):
        yield ChatDelta(text=self.text)
        yield ChatDelta(last=ChatResponse(text=self.text, model="m"))


@contextlib.asynccontextmanager
async def grpc_door(token, text="word " * 40):
    def register(server):
        llm_pb2_grpc.add_LlmGatewayServicer_to_server(LlmServicer(Answering(text)), server)

    server = GrpcServer(Listen(host="127.0.0.1", port=0, token="token"), register, ())
    await server.start()
    channel = Channel(server.port, token)
    yield server.port, channel
    channel.close()
    await server.stop(1)


def grpc_job(port, **more):
    return job(port, **more).model_copy(update={"target": Target(door="grpc", port=port, token="token")})


@pytest.mark.parametrize(
    "more",
    [{"calls": 1_000}, {"calls": 20, "stream": True}, {"rate": 200.0, "seconds": 0.2}],
    ids=["all at once", "streams", "paced"],
)
@pytest.mark.asyncio
async def test_many_calls_share_a_grpc_channel(more):
    """What a thousand calls ask is more than a server takes before it has said that there is room again."""
    async with grpc_door("token", text="x" * WINDOW) as (port, channel):
        figures = await run(grpc_job(port, workers=300, **more), channel)
    assert (figures.errors, figures.error) == (0, "")
    assert figures.calls == more.get("calls", figures.calls) > 10
    assert 0 < figures.first_p50_ms <= figures.p50_ms <= figures.p99_ms


@pytest.mark.parametrize(("token", "text", "error"), [("wrong", "x", "token is missing"), ("token", "", "empty")])
@pytest.mark.asyncio
async def test_a_door_that_refuses_is_an_error_and_no_figure(token, text, error):
    async with grpc_door(token, text) as (port, channel):
        figures = await run(grpc_job(port, calls=2), channel)
    assert (figures.calls, figures.errors) == (0, 2)
    assert error in figures.error


class Scripted(Generator):
    """Answers each job at once: a target's latency is its port in milliseconds; half as many calls a second."""

    def __init__(self):
        self.jobs = []

    async def run(self, job):
        self.jobs.append(job)
        took = float(job.target.port)
        return Figures(
            calls=100, errors=0, per_s=1_000 / took, p50_ms=took, p99_ms=2 * took, first_p50_ms=took, first_p99_ms=took
        )


@pytest.mark.asyncio
async def test_what_a_door_adds_is_beyond_direct_access_at_the_same_load():
    targets = {
        name: Target(door="http", port=port, token="t")
        for name, port in {"direct": 1, "grpc": 3, "http": 2, "litellm": 10}.items()
    }
    generator = Scripted()
    figures = await rounds._rounds(generator, targets, 3, 0.1, lambda text: None)
    assert figures["direct"]["p50_ms"] == 1
    assert (figures["grpc"]["added_p50_ms"], figures["grpc"]["added_p99_ms"]) == (2, 4)
    assert (figures["http"]["added_p50_ms"], figures["http"]["requests_per_s"]) == (1, 500)
    assert (figures["litellm"]["added_p50_ms"], figures["litellm"]["stream_40_ms"]) == (9, 10)
    assert (figures["http"]["times_litellm"], figures["grpc"]["times_litellm"]) == (5.0, 3.3)
    paced = [each for each in generator.jobs if each.rate]
    assert {(each.target.port, each.rate) for each in paced if each.target.port != 1} == {
        (3, 500 / 3),
        (2, 250),
        (10, 50),
    }
    assert {each.rate for each in paced if each.target.port == 1} == {500, 500 / 3, 250, 50}


class Working(Scripted):
    """Its target is this process, which works for as long as a job is on."""

    async def run(self, job):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return await super().run(job)


@pytest.mark.asyncio
async def test_what_a_doors_process_spends_is_told_at_full_and_at_half_load():
    targets = {"direct": Target(door="http", port=1, token="t")}
    targets |= {name: Target(door="http", port=1, token="t", pid=os.getpid()) for name in ("grpc", "http")}
    figures = await rounds._rounds(Working(), targets, 1, 0.1, lambda text: None)
    for prefix in ("", "half_load_"):
        assert 0.1 < figures["http"][f"{prefix}cpu_ms"] < 1  # 20 ms and 100 calls
        assert figures["http"][f"{prefix}waited_ms"] >= 0
    assert "cpu_ms" not in figures["direct"]
    assert spent(1 << 30) == (0, 0)


@pytest.mark.asyncio
async def test_without_litellm_its_figures_are_null():
    targets = {name: Target(door="http", port=1, token="t") for name in ("direct", "grpc", "http")}
    assert (await rounds._rounds(Scripted(), targets, 1, 0.1, lambda text: None))["litellm"] is None


def test_litellm_is_looked_for_beside_the_python_that_was_named(tmp_path):
    (tmp_path / "bin").mkdir()
    with pytest.raises(InvalidSettings, match=r"litellm\[proxy\]"):
        litellm_program(tmp_path)
    (tmp_path / "bin/litellm").touch()
    assert litellm_program(tmp_path) == litellm_program(tmp_path / "bin/python") == tmp_path / "bin/litellm"


@pytest.mark.asyncio
async def test_a_connection_that_ends_is_said_so():
    async def hang_up(reader, writer):
        writer.close()

    port = free_port()
    async with await asyncio.start_server(hang_up, "127.0.0.1", port):
        with pytest.raises(Unavailable, match="ended the connection"):
            await ask(port, b"GET / HTTP/1.1\r\n")
