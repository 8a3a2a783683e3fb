"""Service processes, each started again when it ends, as an orchestrator does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import Unavailable

START_S = 60.0
AGAIN_S = 0.3
QUICK_S = 1.0
MAX_QUICK = 20
"""So many ends in a row, each within `QUICK_S` of the start, are no fault of a plan's."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A process ended. `wanted`: the plan made it so."""

    at: float
    service: str
    code: int
    wanted: bool
    point: str


class Member:
    """One instance of a service. `point`: where the next process of it kills itself."""

    def __init__(
        self,
        service: str,
        number: int,
        env: Mapping[str, str],
        folder: Path,
        ended: Callable[[Exit], None],
    ) -> None:
        self.service = service
        self.name = service if number == 0 else f"{service}-{number}"
        self.env = dict(env)
        self.point = ""
        self.module = "tandem"  # what the next process runs
        self.starts = 0
        self._log = folder / f"{self.name}.log"
        self._ended = ended
        self._process: asyncio.subprocess.Process | None = None
        self._running = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._wanted = False
        self._exits = asyncio.Condition()
        self._count = 0

    def start(self) -> None:
        self._stopping = False
        self._keeper = asyncio.create_task(self._keep(), name=self.name)

    async def stop(self) -> None:
        """For good."""
        self._stopping = True
        self.kill()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: drain and leave."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def ready(self) -> None:
        """Wait until a process of it has said that it serves. Raises Unavailable."""
        try:
            async with asyncio.timeout(START_S):
                await self._running.wait()
        except TimeoutError:
            raise Unavailable(f"{self.name} did not start within {START_S:.0f} s; its log: {self._log}") from None

    async def next_exit(self, seconds: float) -> bool:
        """Wait for the end of the present process; False if it lives on."""
        before = self._count
        try:
            async with asyncio.timeout(seconds), self._exits:
                await self._exits.wait_for(lambda: self._count > before)
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        self._wanted = self._wanted or number in (signal.SIGKILL, signal.SIGTERM)
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self) -> None:
        quick = 0
        while not self._stopping:
            began, point = time.monotonic(), self.point
            await self._serve(point)
            quick = quick + 1 if time.monotonic() - began < QUICK_S else 0
            if quick > MAX_QUICK:
                raise Unavailable(f"{self.name} keeps ending; its log: {self._log}")
            await asyncio.sleep(AGAIN_S)

    async def _serve(self, point: str) -> None:
        """One process from its start to its end."""
        self._wanted = bool(point)
        env = {**os.environ, **self.env, **({"TANDEM_KILL_POINT": point} if point else {})}
        with self._log.open("ab") as log:
            told = self._log.stat().st_size
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module, "run", self.service), env=env, stdin=-3, stdout=log, stderr=log
            )
        self.starts += 1
        telling = asyncio.create_task(self._told(told))
        try:
            code = await self._process.wait()
        finally:
            telling.cancel()
            self._running.clear()
        self._ended(Exit(time.time() * 1000, self.name, code, self._wanted, point))
        async with self._exits:
            self._count += 1
            self._exits.notify_all()

    async def _told(self, start: int) -> None:
        """Wait for the word in the log that it serves."""
        while not self._running.is_set():
            with self._log.open("rb") as log:
                log.seek(start)
                if b"service started" in log.read():
                    self._running.set()
            await asyncio.sleep(0.1)
