"""`tandem bench serving`: what queues and routing do, and what becomes of a replica's faults, over replicas that cost nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tandem.bench.gateway import servers
from tandem.bench.gateway.http import Answer, Connection
from tandem.bench.gateway.replicas import FAULTS, Blocks, prompt_of

SLOTS, EVERY_S, BACKGROUND = 4, 0.05, 16
"""Slots of each of two replicas; an interactive call this often; background callers that never rest, twice as many as slots."""

TENANTS, TICKETS, TURNS = 6, 120, 6
ROOM = 3_000
"""Blocks of a replica's cache."""

BUDGETS, CALLS, LIMIT = 200, 8, 100
"""Tickets, the calls of each, and the tokens of its grant: by what the replica says of each call, four of them."""

DEADLINE_S = 2.0
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SHAPE = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}

Told = Callable[[str], None]


async def measure(folder: Path, rounds: int, seconds: float, told: Told) -> dict[str, Any]:
    """The command's JSON. `seconds`: of each part of a round."""
    async with AsyncExitStack() as stack:
        told("starting four replicas and the gateway")
        ports = await stack.enter_async_context(servers.replicas(4, ROOM))
        doors = await stack.enter_async_context(servers.gateway(_pools(ports), folder))
        callers = stack.enter_context(_callers(doors.http))
        priorities = await _priorities(callers, rounds, seconds, told)
        affinity = {}
        for name, at_once in (("1", 1), ("16", 16), ("64", 64), ("anywhere", 16)):
            told(f"affinity: {name}")
            affinity[name] = await _affinity(callers, ports, at_once, anywhere=name == "anywhere")
        told("budget")
        budget = await _budget(callers)
        told("faults")
        faults = {fault: {kind: await _met(callers, fault, kind) for kind in ("whole", "stream")} for fault in FAULTS}
    return {"priorities": priorities, "affinity": affinity, "budget": budget, "faults": faults, "rounds": rounds}


class Callers:
    """Connections to the HTTP door, as many as there are calls at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    async def ask(self, pool: str, body: Mapping[str, Any], **headers: object) -> Answer:
        named = "".join(f"x-tandem-{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {servers.TOKEN}\r\n{named}"
        )
        async with self._one() as connection:
            return await connection.ask(head.encode(), json.dumps({**body, "model": pool}).encode())

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Connection]:
        connection = self._idle.pop() if self._idle else Connection(self._port)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


@contextmanager
def _callers(port: int) -> Iterator[Callers]:
    callers = Callers(port)
    try:
        yield callers
    finally:
        callers.close()


def _pools(ports: list[int]) -> dict[str, Any]:
    urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
    queued = {"model": "m", "replicas": urls[:2], "concurrency": SLOTS, "vllm": False}
    pools: dict[str, Any] = {
        "classes": {**queued, "reserve": 0.25},
        "fifo": {**queued, "reserve": 0.0},
        "prefix": {"model": "m", "replicas": urls, "concurrency": 64},
        "good": {"model": "m", "replicas": urls[:1], "vllm": False},
    }
    for fault in FAULTS:
        name = _slug(fault)
        pools[name] = {"model": f"fault-{name}", "replicas": urls[1:2], "vllm": False, "next": "good"}
    return {"pools": pools, "default": "classes"}


def _slug(fault: str) -> str:
    return fault.replace(" ", "-")


# Priorities ------------------------------------------------------------------------------------------------------


async def _priorities(callers: Callers, rounds: int, seconds: float, told: Told) -> dict[str, Any]:
    """Interactive calls alone, beside background calls, and where the two are not told apart; interleaved."""
    kinds = {"alone": ("classes", ""), "beside": ("classes", "background"), "fifo": ("fifo", "interactive")}
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind, (pool, beside) in kinds.items():
            found[kind].append(await _waits(callers, pool, beside, seconds))
        told(f"priorities: round {number + 1} of {rounds}: " + _told_waits({kind: w[-1] for kind, w in found.items()}))
    figures: dict[str, Any] = {
        kind: {"p50_ms": median(p50 for p50, _ in waits), "p99_ms": median(p99 for _, p99 in waits)}
        for kind, waits in found.items()
    }
    for kind in ("beside", "fifo"):
        ratios = [waits[1] / alone[1] for waits, alone in zip(found[kind], found["alone"], strict=True)]
        figures[kind] |= {"p99_times_alone": round(median(ratios), 2), "of_rounds": sorted(round(r, 2) for r in ratios)}
    return figures


def _told_waits(waits: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{kind} {p99:.0f} ms" for kind, (_, p99) in waits.items())


async def _waits(callers: Callers, pool: str, beside: str, seconds: float) -> tuple[float, float]:
    """p50 and p99 of interactive calls in milliseconds. `beside`: the class of the others' calls; empty: there are none."""
    took: list[float] = []

    async def ask() -> None:
        began = time.perf_counter()
        await callers.ask(pool, _said("hello", 2))
        took.append(1_000 * (time.perf_counter() - began))

    async def fill() -> None:
        while True:
            await callers.ask(pool, _said("work", 2), **{"class": beside})

    others = [asyncio.create_task(fill()) for _ in range(BACKGROUND if beside else 0)]
    await asyncio.sleep(0.5)
    async with asyncio.TaskGroup() as group:
        for _ in range(round(seconds / EVERY_S)):
            group.create_task(ask())
            await asyncio.sleep(EVERY_S)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    took.sort()
    return round(took[len(took) // 2], 1), round(took[int(0.99 * len(took))], 1)


def _said(text: str, tokens: int, system: str = "Be brief.") -> dict[str, Any]:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"messages": turns, "max_tokens": tokens}


# Affinity --------------------------------------------------------------------------------------------------------


async def _affinity(callers: Callers, ports: list[int], at_once: int, *, anywhere: bool) -> dict[str, float]:
    """`anywhere`: calls that do not say which ticket they are of."""
    chance = random.Random(7)
    gate = asyncio.Semaphore(at_once)
    oracle = Blocks(10**9)
    await _seen(ports)

    async def ask(tenant: str, ticket: int, body: dict[str, Any]) -> None:
        async with gate:
            named = chance.randbytes(8).hex() if anywhere else ticket
            await callers.ask("prefix", body, tenant=tenant, ticket=named, deadline=60)

    async with asyncio.TaskGroup() as group:
        for tenant, ticket, body in _conversations(chance):
            oracle.remember(prompt_of({**body, "cache_salt": tenant}))
            group.create_task(ask(tenant, ticket, body))
    seen = await _seen(ports)
    rate = sum(each["hits"] for each in seen) / sum(each["lookups"] for each in seen)
    calls = [each["calls"] for each in seen]
    return {
        "hit_rate": round(rate, 3),
        "of_oracle": round(rate / (oracle.hits / oracle.lookups), 3),
        "busiest_by_mean": round(max(calls) * len(calls) / sum(calls), 2),
    }


def _conversations(chance: random.Random) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The calls of many tickets, mixed: each is longer by a turn than its ticket's last one."""
    left = [ticket for ticket in range(TICKETS) for _ in range(TURNS)]
    chance.shuffle(left)
    said = [""] * TICKETS
    for ticket in left:
        tenant = f"tenant {ticket % TENANTS}"
        said[ticket] += f"ticket {ticket}, after {len(said[ticket])} characters: what was said at length. " * 3
        yield tenant, ticket, _said(said[ticket], 1, f"You help the customers of {tenant}. " * 8)


async def _seen(ports: list[int]) -> list[dict[str, int]]:
    """What each replica has counted since it was asked last."""
    found = []
    for port in ports:
        connection = Connection(port)
        found.append(json.loads((await connection.ask(b"GET /seen HTTP/1.1\r\n")).body))
        connection.close()
    return found


# Budget ----------------------------------------------------------------------------------------------------------


async def _budget(callers: Callers) -> dict[str, int]:
    """Tickets at once, each of which asks for more than its grant allows, all of it at the same time."""
    spent = [0] * BUDGETS
    refused = 0

    async def ask(ticket: int, number: int) -> None:
        nonlocal refused
        limit = {"grant": f"budget {ticket}", "grant-tokens": LIMIT}
        answer = await callers.ask("prefix", _said(f"question {number}", 1), ticket=ticket, deadline=60, **limit)
        if answer.status == 200:
            spent[ticket] += json.loads(answer.body)["usage"]["total_tokens"]
        elif json.loads(answer.body)["error"]["code"] == "grant_spent":
            refused += 1

    await asyncio.gather(*(ask(ticket, number) for number in range(CALLS) for ticket in range(BUDGETS)))
    over = sum(tokens > LIMIT for tokens in spent)
    return {
        "tickets": BUDGETS,
        "calls": BUDGETS * CALLS,
        "refused": refused,
        "most_spent": max(spent),
        "overspent": over,
    }


# Faults ----------------------------------------------------------------------------------------------------------


async def _met(callers: Callers, fault: str, kind: str) -> dict[str, Any]:
    """Who answered a call whose first pool has this fault, and when."""
    body = {**_said("hello", 1), "response_format": SHAPE, "stream": kind == "stream"}
    began = time.perf_counter()
    answer = await callers.ask(_slug(fault), body, deadline=DEADLINE_S)
    took = time.perf_counter() - began
    if answer.status != 200:
        outcome = f"caller told: {answer.status}"
    elif b'"error"' in answer.body:
        outcome = "caller told, in the stream"
    else:
        outcome = "next pool"
    return {"outcome": outcome, "seconds": round(took, 2), "in_time": took <= DEADLINE_S}
