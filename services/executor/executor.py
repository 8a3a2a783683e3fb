"""The door: a task in, what came of it out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, TypeVar

from services.executor import answers
from services.executor.effects import Shard
from services.executor.policies import PolicyDecision
from services.executor.protocol import Run, once_of
from services.executor.world import World
from tandem import telemetry
from tandem.contracts.tasks import ExecuteTool, SettleEffect, ToolResult
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import EFFECTS
from tandem.contracts.values import partition_for
from tandem.errors import BusUnavailable, Fenced, InvalidPack, OutcomeUnknown
from tandem.packs.model import Pack, Tool
from tandem.packs.registry import Packs
from tandem.telemetry import Attribute, SpanName, names

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLAIMS = 5
CLAIM_PAUSE_S = 0.05


class Executed(NamedTuple):
    """What came of a task, and what it cost."""

    result: ToolResult
    cost: Cost


class Executor:
    """Runs tasks: those of one key one after the other, of different keys at the same time. A read that nothing rests on
    waits for no other."""

    def __init__(self, world: World, packs: Packs) -> None:
        self._world = world
        self._packs = packs
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def execute(self, task: ExecuteTool) -> Executed:
        """Raises BusUnavailable, if the log cannot be written or keeps being claimed by others."""
        found = self._find(task)
        if isinstance(found, ToolResult):
            return Executed(found, Cost())
        pack, tool = found
        began = self._world.clock.boot()
        attributes = {Attribute.TOOL_NAME: tool.name, Attribute.EFFECT: task.effect}
        with telemetry.span(f"{SpanName.TOOL} {tool.name}", attributes=attributes):
            executed = await self._execute(task, tool, pack)
        telemetry.count(names.TOOL_CALLS, tool.name, executed.result.status)
        telemetry.observe(names.TOOL_SECONDS, self._world.clock.boot() - began, tool.name)
        self._log(task, executed.result)
        return executed

    def _find(self, task: ExecuteTool) -> tuple[Pack, Tool] | ToolResult:
        try:
            pack = self._packs.get(task.pack, task.pack_hash)
        except InvalidPack as error:
            return answers.refused(task, PolicyDecision(False, "unknown-pack", str(error)[:500]))
        tool = pack.tools.get(task.tool)
        if tool is None:
            return answers.refused(task, PolicyDecision(False, "unknown-tool", f"{pack.name} has no tool {task.tool}"))
        return pack, tool

    async def _execute(self, task: ExecuteTool, tool: Tool, pack: Pack) -> Executed:
        run = Run(self._world, task, tool, pack)
        if run.logged:
            key = once_of(task, tool) or task.effect
            async with self._alone(key):
                result = await self._through(run.through, key)
        else:
            result = await run.through(None)
        called = min(run.calls, 1)
        return Executed(result, Cost.made(calls=called, micros=called * tool.price_micros))

    async def settle(self, task: SettleEffect) -> None:
        """Keep what a person has found out about a call. Raises as `execute` does."""
        found = self._find(task.call)
        if isinstance(found, ToolResult):
            self._log(task.call, found)
            return
        pack, tool = found
        key = once_of(task.call, tool) or task.call.effect
        run = Run(self._world, task.call, tool, pack)
        async with self._alone(key):
            await self._through(lambda shard: run.settle(shard, task.happened, task.output, task.expert), key)

    async def _through(self, work: Callable[[Shard], Awaitable[T]], key: str) -> T:
        """Do it with the key's log claimed."""
        partition = partition_for(key, self._world.bus.partitions(EFFECTS.name))
        for attempt in range(CLAIMS):
            if attempt:
                await self._world.clock.sleep(CLAIM_PAUSE_S * 2**attempt)
            shard: Shard | None = None
            try:
                shard = await self._world.shards.get(partition)
                return await work(shard)
            except (Fenced, OutcomeUnknown) as error:
                logger.warning("the effect log has to be claimed again", extra={"why": str(error)})
                if shard is not None:
                    self._world.shards.drop(shard)
        raise BusUnavailable(f"effects/{partition} keeps being claimed by others")

    @contextlib.asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """One key serially, however its tasks came here."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

    def _log(self, task: ExecuteTool, result: ToolResult) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        logger.info(
            "tool answered",
            extra={
                "tool": task.tool,
                "effect": task.effect,
                "status": result.status,
                "reason": result.reason,
                "repeated": result.repeated,
            },
        )
