"""A service's life: settings → telemetry → clients → bus → components → probes → signals, and back again.

`Service.agent` makes a service of a table of handlers: it consumes `tasks.<name>`, calls the handler of each task, and
sends the answer to the ticket's mailbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import uvloop

from tandem import telemetry
from tandem.agent import Handler, Result, agent_loop
from tandem.bus.lag import Membership, report_lag
from tandem.contracts.tasks import Task
from tandem.errors import TandemError
from tandem.probes import Probes
from tandem.wiring import Wiring

__all__ = ["Check", "Component", "Result", "Service", "agent_loop"]

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[object]]
"""Pings a dependency; raises when it cannot serve. Declared beside the dependency's factory."""

CHECK_TIMEOUT_S = 3.0


class Component(Protocol):
    """What a service is made of: a consume loop, a gRPC server, the owner.

    It may also have `async start()`, awaited before the service is ready, and `heartbeat`, the boot time of its last
    turn, by which liveness is told.
    """

    async def run(self) -> None:
        """Work until stopped. An exception ends the service."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Stop taking new work, finish what is in flight within `grace_s` seconds, and let `run` return."""
        ...


@runtime_checkable
class Startable(Protocol):
    async def start(self) -> None: ...


@runtime_checkable
class Consuming(Protocol):
    """A component whose lag is told."""

    @property
    def member(self) -> Membership | None: ...


def calm_collector() -> None:
    """Collect less often: messages are values without cycles, and the default threshold costs a tenth of the work."""
    gc.set_threshold(100_000, 20, 50)


def answer_at_once() -> None:
    """For a process whose callers wait: they wait for a collection too, and one of 100,000 objects takes 40 ms, as does sending
    512 spans. So young objects are collected often, a few at a time, older ones hardly ever; and spans leave a few at a time."""
    gc.set_threshold(3_000, 10_000, 50)
    os.environ.setdefault("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64")


class Service:
    """One deployable. `run` owns the process; the embedded mode calls `start` and `stop` of several in one."""

    def __init__(
        self,
        name: str,
        wiring: Wiring,
        components: Sequence[Component] = (),
        checks: Mapping[str, Check] | None = None,
        tune: Callable[[], None] = calm_collector,
    ) -> None:
        self.name = name
        self.wiring = wiring
        self.components = tuple(components)
        self.checks = dict(checks or {})
        self._tune = tune
        self._ready = False
        self._tasks: list[asyncio.Task[None]] = []
        self._watches: list[asyncio.Task[None]] = []
        self._probes: Probes | None = None

    @classmethod
    def agent(cls, name: str, handlers: Mapping[type[Task], Handler], wiring: Wiring, **injected: object) -> Service:
        """A service that answers tasks: one handler and one line."""
        return cls(name, wiring, [agent_loop(name, handlers, wiring, **injected)])

    async def start(self) -> None:
        """Connect, start the components and become ready."""
        await self.wiring.start()
        for component in self.components:
            if isinstance(component, Startable):
                await component.start()
        self._tasks = [
            asyncio.create_task(component.run(), name=f"{self.name}:{type(component).__name__}")
            for component in self.components
        ]
        self._watches = [self._watch(component) for component in self.components if isinstance(component, Consuming)]
        settings = self.wiring.settings
        if settings.http_port is not None:
            self._probes = Probes(self.live, self.ready)
            await self._probes.start(settings.http_host, settings.http_port)
        self._ready = True
        logger.info("service started", extra={"service": self.name})

    def _watch(self, component: Consuming) -> asyncio.Task[None]:
        watching = report_lag(self.wiring.bus(), self.name, lambda: component.member, self.wiring.clock)
        return asyncio.create_task(watching, name=f"{self.name}:lag")

    async def wait(self) -> None:
        """Return when a component has ended; raises what it raised."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self, grace_s: float) -> None:
        """Drain: unready, stop fetching, finish, flush, commit, leave."""
        self._ready = False
        for watch in self._watches:
            watch.cancel()
        results = await asyncio.gather(
            *(component.stop(grace_s) for component in self.components), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                logger.error("stopping failed", exc_info=result, extra={"service": self.name})
        await self._end_tasks(grace_s)
        if self._probes is not None:
            await self._probes.stop()
            self._probes = None
        logger.info("service stopped", extra={"service": self.name})

    async def _end_tasks(self, grace_s: float) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def live(self) -> dict[str, float]:
        """Seconds since each loop's last turn; empty when a loop has ended or been silent for too long."""
        if any(task.done() for task in self._tasks):
            return {}
        now = self.wiring.clock.boot()
        beats = {type(c).__name__: getattr(c, "heartbeat", None) for c in self.components}
        ages = {name: now - beat for name, beat in beats.items() if beat is not None}
        if any(age > self.wiring.settings.liveness_s for age in ages.values()):
            return {}
        return {"service": 0.0, **ages}

    async def ready(self) -> dict[str, str]:
        """What is in the way of taking work: empty when ready."""
        if not self._ready:
            return {"service": "starting or draining"}
        results = await asyncio.gather(
            *(asyncio.wait_for(check(), CHECK_TIMEOUT_S) for check in self.checks.values()), return_exceptions=True
        )
        return {
            name: f"{type(result).__name__}: {result}"
            for name, result in zip(self.checks, results, strict=True)
            if isinstance(result, BaseException)
        }

    def run(self) -> None:
        """Own the process: serve until SIGTERM or SIGINT, then drain. Exits non-zero if a component failed."""
        self._tune()
        telemetry.configure(self.wiring.settings, self.name)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except TandemError as error:
            logger.error("service failed", extra={"service": self.name, "error": str(error)})
            raise SystemExit(1) from error
        finally:
            telemetry.shutdown()

    async def _serve(self) -> None:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        try:
            await self.start()
            gc.freeze()  # what lives as long as the process is never looked through again
            await _first_of(asked.wait(), self.wait())
        finally:
            await self.stop(self.wiring.settings.drain_s)
            await self.wiring.close()


async def _first_of(*waits: Awaitable[Any]) -> None:
    """Wait for the first to end; raises what it raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
