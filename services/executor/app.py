"""Composition of the executor."""

from __future__ import annotations

import os
import socket
from functools import partial

from services.executor.effects import Shards
from services.executor.executor import Executor
from services.executor.handlers import Handler
from services.executor.http_tools import HttpTools
from services.executor.ledger import Ledger
from services.executor.mcp_tools import McpTools
from services.executor.python_tools import PythonTools
from services.executor.settings import ExecutorSettings
from services.executor.tools import Tools
from services.executor.world import World
from tandem import telemetry
from tandem.bus.consume import ConsumeLoop, LoopPolicy
from tandem.bus.lag import Membership
from tandem.contracts.topics import task_topic
from tandem.service import Service
from tandem.wiring import Wiring

NAME = "executor"


class Door:
    """The consume loop of `tasks.executor`, and the connections its calls use, closed when the last call is over."""

    def __init__(self, loop: ConsumeLoop, http: HttpTools, mcp: McpTools) -> None:
        self._loop = loop
        self._http = http
        self._mcp = mcp

    @property
    def heartbeat(self) -> float:
        return self._loop.heartbeat

    @property
    def member(self) -> Membership | None:
        """Its place in the group; None before it has joined."""
        return self._loop.member

    async def run(self) -> None:
        try:
            await self._loop.run()
        finally:
            await self._http.close()
            await self._mcp.close()

    async def stop(self, grace_s: float) -> None:
        await self._loop.stop(grace_s)


def build(settings: ExecutorSettings, wiring: Wiring) -> Service:
    """The service. Servers' addresses and secrets that tools name are read from the environment."""
    http = HttpTools(os.environ, settings.answer_bytes)
    mcp = McpTools(settings.mcp_servers, settings.answer_bytes, settings.mcp_tokens)
    bus, clock = wiring.bus(), wiring.clock
    world = World(
        bus=bus,
        clock=clock,
        tools=Tools({"http": http, "mcp": mcp, "python": PythonTools(settings.python_tools)}),
        shards=Shards(bus, f"{NAME}@{socket.gethostname()}:{os.getpid()}", clock, settings),
        ledger=Ledger(bus, clock, settings.keep_ms),
        settings=settings,
        kill=wiring.kill,
    )
    loop = ConsumeLoop(
        bus,
        group=NAME,
        topics=[task_topic(NAME)],
        handler=Handler(Executor(world, wiring.packs()), clock),
        policy=LoopPolicy(max_in_flight=settings.calls_in_flight, ordered=True),
        clock=clock,
        name=NAME,
        around=partial(telemetry.consume_span, name=NAME),
        kill=wiring.kill,
    )
    return Service(NAME, wiring, [Door(loop, http, mcp)])
