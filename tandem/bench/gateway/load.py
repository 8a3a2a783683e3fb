"""The load generator, a process of its own: a job a line in, its figures a line out, both JSON.

Latency of a paced call counts from when it was due, so that a stall is seen by all calls that it held up.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import uvloop
from pydantic import BaseModel, ConfigDict

from tandem.bench.gateway.http import Connection
from tandem.bench.gateway.http2 import Channel, literal
from tandem.contracts.ticket import Cost
from tandem.errors import TandemError, Unavailable
from tandem.rpc.chat_messages import request_to_wire
from tandem.rpc.ports import ChatRequest
from tandem.rpc.v1 import llm_pb2

SYSTEM = "You work for the customer service of a shop. Answer in one sentence. " * 4
QUESTION = "Where is order 1234?"
TENANTS = ("acme", "bolt", "cask", "dune")
GRANT_TOKENS = 10_000
DEADLINE_S = 30.0
SERVICE = "/tandem.rpc.v1.LlmGateway/"


class Target(BaseModel):
    """Where calls go. `tandem`: it takes our headers. `pid`: whose processor time counts; 0: nobody's."""

    model_config = ConfigDict(frozen=True)

    door: Literal["http", "grpc"]
    port: int
    token: str
    tandem: bool = False
    pid: int = 0


class Job(BaseModel):
    """`rate` 0: each of `workers` calls again as soon as it has its answer; else calls a second, at random moments."""

    model_config = ConfigDict(frozen=True)

    target: Target
    model: str
    tokens: int
    stream: bool = False
    workers: int = 1
    rate: float = 0.0
    calls: int = 1_000_000
    seconds: float = 600.0


class Figures(BaseModel):
    """Milliseconds; `first`: to the first piece of the answer."""

    calls: int
    errors: int
    per_s: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    error: str = ""


@dataclass
class Taken:
    """Of every call: seconds to its end and to its first piece."""

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    errors: int = 0
    error: str = ""


class Caller(Protocol):
    async def call(self, number: int) -> float:
        """One call; when its first piece was there. Raises TandemError."""
        ...

    async def close(self) -> None: ...


class HttpCaller:
    """One connection to an OpenAI-compatible server."""

    def __init__(self, job: Job) -> None:
        self._connection = Connection(job.target.port)
        self._tandem = job.target.tandem
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
        body = {"model": job.model, "messages": turns, "max_tokens": job.tokens, "temperature": 0.0}
        self._body = json.dumps(body | ({"stream": True} if job.stream else {})).encode()
        self._head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {job.target.token}\r\n"
        )

    async def call(self, number: int) -> float:
        answer = await self._connection.ask((self._head + self._ours(number)).encode(), self._body)
        if answer.status != 200:
            raise Unavailable(f"HTTP {answer.status}: {answer.body[:200]!r}")
        return answer.first_at

    def _ours(self, number: int) -> str:
        if not self._tandem:
            return ""
        return (
            f"x-tandem-tenant: {TENANTS[number % len(TENANTS)]}\r\nx-tandem-ticket: t{number % 64}\r\n"
            f"x-tandem-grant: {_grant(number)}\r\nx-tandem-grant-tokens: {GRANT_TOKENS}\r\n"
            f"traceparent: {_traceparent(number)}\r\n"
        )

    async def close(self) -> None:
        self._connection.close()


class GrpcCaller:
    """No more than a channel, as HttpCaller is no more than a connection: what a client of gRPC's costs is its caller's."""

    def __init__(self, job: Job, channel: Channel) -> None:
        self._channel = channel
        self._job = job

    async def call(self, number: int) -> float:
        request = request_to_wire(
            ChatRequest(
                tenant=TENANTS[number % len(TENANTS)],
                system=SYSTEM,
                messages=(("user", QUESTION),),
                max_tokens=self._job.tokens,
                grant=_grant(number),
                limit=Cost(tokens=GRANT_TOKENS),
                ticket=f"t{number % 64}",
                model=self._job.model,
            )
        )
        method = "ChatStream" if self._job.stream else "Chat"
        trace = literal("traceparent", _traceparent(number))
        called = await self._channel.call(SERVICE + method, request.SerializeToString(), trace)
        reply = _last(called.messages) if self._job.stream else llm_pb2.ChatReply.FromString(called.messages[0])
        if not reply.text:
            raise Unavailable("the answer is empty")
        return called.first_at

    async def close(self) -> None: ...


def _last(messages: list[bytes]) -> llm_pb2.ChatReply:
    """The reply at a stream's end; each delta is read, as any caller would."""
    return [llm_pb2.ChatDelta.FromString(message) for message in messages][-1].last


_salt = random.randbytes(4).hex()
_numbers = itertools.count()


def _grant(number: int) -> str:
    return f"bench-{_salt}-{number}"


def _traceparent(number: int) -> str:
    """One call in ten is of a trace that is recorded."""
    return f"00-{number + 1:032x}-{number + 1:016x}-{'01' if number % 10 == 0 else '00'}"


async def run(job: Job, channel: Channel) -> Figures:
    """The job's figures. `channel`: to the gRPC door."""
    taken = Taken()
    workers = [GrpcCaller(job, channel) if job.target.door == "grpc" else HttpCaller(job) for _ in range(job.workers)]
    begun = time.perf_counter()
    async with asyncio.timeout(job.seconds + DEADLINE_S):
        await (_paced(job, workers, taken) if job.rate else _closed(job, workers, taken))
    seconds = time.perf_counter() - begun
    for worker in workers:
        await worker.close()
    return _figures(taken, seconds)


async def _closed(job: Job, workers: list[Any], taken: Taken) -> None:
    until = time.perf_counter() + job.seconds
    left = iter(range(job.calls))

    async def work(caller: Caller) -> None:
        for _ in left:
            began = time.perf_counter()
            if began >= until:
                return
            await _one(caller, began, taken)

    await asyncio.gather(*map(work, workers))


async def _paced(job: Job, callers: Sequence[Caller], taken: Taken) -> None:
    """Calls at random moments; one that finds no caller free waits for it, and its time runs. The one that was free last is
    taken first, as clients take their connections: as many are in use as there are calls at once."""
    free, waiting = list(callers), deque[float]()

    async def work(caller: Caller, at: float) -> None:
        await _one(caller, at, taken)
        while waiting:
            await _one(caller, waiting.popleft(), taken)
        free.append(caller)

    async with asyncio.TaskGroup() as group:

        def due(at: float) -> None:
            if free:
                group.create_task(work(free.pop(), at))
            else:
                waiting.append(at)

        await asyncio.to_thread(_ring, job, asyncio.get_running_loop(), due)


def _ring(job: Job, loop: asyncio.AbstractEventLoop, due: Callable[[float], None]) -> None:
    """In a thread: an event loop's timers are a millisecond coarse, and what is due in one would come at once."""
    for at in _moments(job):
        if (wait := at - time.perf_counter()) > 0:
            time.sleep(wait)
        loop.call_soon_threadsafe(due, at)


def _moments(job: Job) -> Iterator[float]:
    chance = random.Random(1)
    at, end = time.perf_counter(), time.perf_counter() + job.seconds
    while (at := at + chance.expovariate(job.rate)) < end:
        yield at


async def _one(caller: Caller, began: float, taken: Taken) -> None:
    try:
        first_at = await caller.call(next(_numbers))
    except TandemError as error:
        taken.errors += 1
        taken.error = str(error)
        return
    taken.whole.append(time.perf_counter() - began)
    taken.first.append(first_at - began)


def _figures(taken: Taken, seconds: float) -> Figures:
    return Figures(
        calls=len(taken.whole),
        errors=taken.errors,
        per_s=len(taken.whole) / seconds,
        p50_ms=_at(taken.whole, 0.50),
        p99_ms=_at(taken.whole, 0.99),
        first_p50_ms=_at(taken.first, 0.50),
        first_p99_ms=_at(taken.first, 0.99),
        error=taken.error,
    )


def _at(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1_000 if ordered else 0.0


async def _serve(channel: Channel) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.closing(sys.stdin):
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            gc.collect()
            figures = await run(Job.model_validate_json(line), channel)
            sys.stdout.write(figures.model_dump_json() + "\n")
            sys.stdout.flush()
    channel.close()


async def main(port: int, token: str) -> None:
    """Do what stdin says until it ends; `port` and `token` are the gRPC door's."""
    gc.disable()  # between jobs only: the generator's own pauses are no server's
    await _serve(Channel(port, token))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
