"""A tiny outside world that records what is done to it, and a pack whose tools reach it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from aiohttp import web

from services.executor.effects import Shards
from services.executor.executor import Executed, Executor
from services.executor.http_tools import HttpTools
from services.executor.ledger import Ledger
from services.executor.python_tools import PythonTools
from services.executor.settings import ExecutorSettings
from services.executor.tools import Tools
from services.executor.world import World
from tandem.bus.base import Bus
from tandem.clock import SystemClock
from tandem.contracts.log import Intent
from tandem.contracts.tasks import Authority, ExecuteTool, SettleEffect, Task
from tandem.contracts.topics import EFFECTS
from tandem.contracts.values import call_identity, derive_id, partition_for
from tandem.fenced_log import Judge, decode
from tandem.kill_points import go_on
from tandem.packs.model import Lookup, Pack, Policies, Progress, Tool

TICKET_TIME_MS = 20_000


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Call:
    key: str
    tool: str
    permitted: bool  # a valid intent for it lay in the log, and its `call_by` had not passed


@dataclass
class Outside:
    """The other side. `script[tool]` says how its next answers go; an empty script answers well."""

    bus: Bus
    calls: list[Call] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    script: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    polls: list[dict[str, object]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/do/{tool}", self._do)
        app.router.add_get("/read", self._read)
        app.router.add_get("/happened/{key}", self._happened)
        app.router.add_get("/jobs/{job}", self._job)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def calls_of(self, task: ExecuteTool) -> int:
        return sum(call.key == task.effect for call in self.calls)

    async def _do(self, request: web.Request) -> web.StreamResponse:
        tool, key = request.match_info["tool"], request.headers["Idempotency-Key"]
        self.calls.append(Call(key, tool, await intended(self.bus, key)))
        self.headers.append(dict(request.headers))
        self.arrived.set()
        how = self.script[tool].pop(0) if self.script[tool] else "well"
        if how == "refuse":
            return web.json_response({"code": "not_refundable", "message": "no"}, status=409)
        if how == "busy":
            return web.json_response({}, status=429)
        if how == "error-undone":
            return web.json_response({}, status=503)
        if how == "redirect":
            return web.Response(status=302, headers={"Location": "/read"})
        if tool in ("book", "slow_book"):
            self.effects[key] = 1  # it takes our key
        else:
            self.effects[key] += 1
        if how == "break":
            assert request.transport is not None
            request.transport.abort()
        if how == "hang":
            await asyncio.sleep(30)
        if how == "error":
            return web.json_response({}, status=500)
        if how == "garbage":
            return web.Response(text="<html>oops", content_type="application/json")
        if how == "huge":
            return web.Response(text='"' + "x" * 400_000 + '"', content_type="application/json")
        if tool.startswith("slow"):
            return web.json_response({"job_id": "j1"}, status=202)
        return web.json_response({"reference": f"ref-{key[:6]}"}, headers={"X-Request-Id": "req-1"})

    async def _read(self, request: web.Request) -> web.StreamResponse:
        self.reads["read"] += 1
        how = self.script["read"].pop(0) if self.script["read"] else "well"
        if how == "error":
            return web.json_response({}, status=500)
        if how == "garbage":
            return web.Response(text="<html>oops")
        return web.json_response({"verified": request.query.get("code") == "1234"})

    async def _happened(self, request: web.Request) -> web.StreamResponse:
        self.reads["lookup"] += 1
        how = self.script["lookup"].pop(0) if self.script["lookup"] else "well"
        if how == "error":
            return web.json_response({}, status=500)
        done = self.effects[request.match_info["key"]] > 0
        return web.json_response({"happened": done, "answer": {"reference": "asked"} if done else {}})

    async def _job(self, request: web.Request) -> web.StreamResponse:
        self.reads["poll"] += 1
        return web.json_response(self.polls.pop(0) if len(self.polls) > 1 else self.polls[0])


async def intended(bus: Bus, effect: str) -> bool:
    """Whether a valid intent for the effect lies in the logs, and its time has not passed."""
    now = time.time_ns() // 1_000_000
    for partition in range(bus.partitions(EFFECTS.name)):
        judge = Judge()
        async for records in bus.read(EFFECTS.name, partition, 0):
            judge.feed(records)
        for record in judge.survey().valid:
            message = decode(record)
            mine = isinstance(message, Intent) and message.effect == effect
            if mine and now <= record.timestamp + message.call_by_ms:
                return True
    return False


def make_pack(url: str, **policies: object) -> Pack:
    tools = [
        Tool(name="look", tool_class="read", path="/read", server=url, parameters=_parameters("code")),
        _write("book", "idempotent", url, output={"type": "object", "required": ["reference"]}),
        _write("charge", "lookup", url, lookup=_LOOKUP, output={"type": "object", "required": ["reference"]}),
        _write("wire", "unsafe", url, output={"type": "object", "required": ["reference"]}),
        _write("refund", "unsafe", url, once_per=("item",)),
        _write("rebook", "unsafe", url, method="PUT"),
        _write("slow_book", "idempotent", url, progress=_PROGRESS),
        Tool(
            name="happened",
            tool_class="read",
            path="/happened/{key}",
            server=url,
            parameters=_parameters("key"),
            timeout_ms=400,
        ),
        Tool(name="poll", tool_class="read", path="/jobs/{job}", server=url, parameters=_parameters("job")),
    ]
    given = {"identity": "none", "authorisation": "none", "consent": "none", **policies}
    return Pack(
        name="test",
        hash="h",
        root="",
        tools={tool.name: tool for tool in tools},
        policies=Policies.model_validate(given),
    )


_LOOKUP = Lookup(tool="happened", args={"key": "$effect"}, happened="result.happened", output="result.answer")
_PROGRESS = Progress(poll="poll", argument="job", output="result", every_ms=5)


def _parameters(*names: str) -> dict[str, object]:
    return {"type": "object", "properties": {name: {} for name in names}}


def _write(name: str, tool_class: str, url: str, **more: object) -> Tool:
    facts = {
        "name": name,
        "tool_class": tool_class,
        "method": "POST",
        "path": f"/do/{name}",
        "server": url,
        "parameters": _parameters("item", "note"),
        "timeout_ms": 400,
        "price_micros": 7,
        **more,
    }
    return Tool.model_validate(facts)


SETTINGS = ExecutorSettings(call_window_ms=300, grace_ms=40, call_attempts=3, backoff_ms=5, http_port=None)


@dataclass
class OnePack:
    pack: Pack

    def get(self, name: str, hash: str | None = None) -> Pack:
        return self.pack


@dataclass
class Process:
    """One executor process: it can be killed at a point, and another one started on the same bus."""

    bus: Bus
    pack: Pack
    settings: ExecutorSettings = SETTINGS
    dies_at: str = ""
    owner: str = "process"
    env: dict[str, str] = field(default_factory=dict)
    clock: SystemClock = field(default_factory=SystemClock)
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.http = HttpTools(self.env, self.settings.answer_bytes)
        self.world = World(
            bus=self.bus,
            clock=self.clock,
            tools=Tools({"http": self.http, "python": PythonTools(())}),
            shards=Shards(self.bus, f"{self.owner}-{id(self)}", self.clock, self.settings),
            ledger=Ledger(self.bus, self.clock, self.settings.keep_ms),
            settings=self.settings,
            kill=self._point if self.dies_at else go_on,
        )
        self.executor = Executor(self.world, OnePack(self.pack))  # type: ignore[arg-type]

    def _point(self, name: str) -> None:
        self.seen.append(name)
        if name == self.dies_at:
            raise Crash(name)

    async def execute(self, task: ExecuteTool) -> Executed:
        try:
            return await self.executor.execute(task)
        finally:
            await self.http.close()

    async def status(self, task: ExecuteTool) -> str:
        return (await self.execute(task)).result.status


def make_task(tool: str, ticket: str, **more: object) -> ExecuteTool:
    arguments = more.pop("arguments", {"item": "i1"})
    n = more.pop("n", 0)
    attempt = more.pop("attempt", 1)
    now = time.time_ns() // 1_000_000
    assert isinstance(arguments, dict)
    effect, hash_ = call_identity(ticket, tool, arguments, n)
    fields = {
        "id": derive_id("task", ticket, tool, attempt),
        "tenant": "acme",
        "conversation": f"c-{ticket}",
        "channel": "web",
        "thread": "t",
        "ticket": ticket,
        "pack": "test",
        "step": f"s-{tool}",
        "attempt": attempt,
        "turn": 1,
        "deadline": now + TICKET_TIME_MS,
        "expires": now + TICKET_TIME_MS,
        "tool": tool,
        "effect": effect,
        "n": n,
        "arguments": arguments,
        "arguments_hash": hash_,
        "authority": Authority(),
        "origins": dict.fromkeys(arguments, "system"),
        **more,
    }
    return ExecuteTool.model_validate(fields)


def found_out(task: ExecuteTool, happened: bool) -> SettleEffect:
    about = {name: value for name, value in task.model_dump().items() if name in Task.model_fields}
    output = {"reference": "R-7"} if happened else {}
    return SettleEffect.model_validate(
        {**about, "id": "settle", "call": task, "happened": happened, "output": output, "expert": "dana"}
    )


def partition_of(bus: Bus, task: ExecuteTool) -> int:
    return partition_for(task.effect, bus.partitions(EFFECTS.name))
