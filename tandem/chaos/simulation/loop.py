"""A deterministic event loop under a virtual clock, and the processes that live on it.

Nothing here waits: when nobody can run, time goes on to the next timer. Callbacks of one process run in their order, as on
any loop; which process runs next, the seed says. A process is a context: whatever is started in it belongs to it, so it
can be killed (nothing of it ever runs again) or frozen (nothing of it runs until it is thawed) at any await.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

_process: ContextVar[Process | None] = ContextVar("process", default=None)


class Killed(BaseException):
    """The process ended here. Not an Exception: nobody may catch it and go on."""


class Stuck(Exception):
    """Nobody can run, and no timer is left."""


class Process:
    """What dies and freezes as one. `context` is where its code runs."""

    def __init__(self, name: str, life: int = 0) -> None:
        """`life` tells it from those who had its name before."""
        self.name = name
        self.life = life
        self.alive = True
        self.frozen = False
        self.context = Context()
        self.context.run(_process.set, self)
        self.ready: deque[asyncio.TimerHandle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    def spawn(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Run `work` as a task of this process."""
        task = asyncio.get_running_loop().create_task(work, name=name, context=self.context)
        self.tasks.append(task)
        return task

    def kill(self) -> None:
        self.alive = False
        self.ready.clear()

    @staticmethod
    def current() -> Process | None:
        return _process.get()


class VirtualLoop(asyncio.AbstractEventLoop):
    """See the module. What belongs to no process (brokers, the outside world) is always served first."""

    def __init__(self, random: Random, start: float = 1_000.0) -> None:
        self._random = random
        self._now = start
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process | None]] = []
        self._outside: deque[asyncio.TimerHandle] = deque()
        self._count = 0
        self._closed = False
        self._running = False
        self._busy: list[Process] = []  # processes with something to do, in order of their getting it
        self.failures: list[str] = []

    # Time

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        """Time passes in which nobody runs."""
        self._now += seconds

    # Scheduling

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self._put(self._now, callback, args, context, soon=True)

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._put(self._now + max(0.0, delay), callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self._put(when, callback, args, context)

    def _put(
        self, when: float, callback: Callable[..., object], args: Any, context: Context | None, soon: bool = False
    ) -> asyncio.TimerHandle:
        context = context if context is not None else copy_context()
        process = context.get(_process)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if self._closed or (process is not None and not process.alive):
            return handle
        if soon:
            self._enqueue(handle, process)
        else:
            self._count += 1
            heapq.heappush(self._timers, (when, self._count, handle, process))
        return handle

    def _enqueue(self, handle: asyncio.TimerHandle, process: Process | None) -> None:
        if process is None:
            self._outside.append(handle)
        elif process.alive:
            if not process.ready:
                self._busy.append(process)
            process.ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    # Running

    def run_until_complete(self, future: Any) -> Any:
        asyncio._set_running_loop(self)
        self._running = True
        try:
            task = asyncio.ensure_future(future, loop=self)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._running = False
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        handle = self._next()
        if handle is None:
            self._pass_time()
        elif not handle.cancelled():
            handle._run()

    def _next(self) -> asyncio.TimerHandle | None:
        if self._outside:
            return self._outside.popleft()
        self._busy = [process for process in self._busy if process.ready]
        able = [process for process in self._busy if process.runs]
        if not able:
            return None
        return self._random.choice(able).ready.popleft()

    def _pass_time(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            raise Stuck("nobody can run, and no timer is left")
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle, process = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._enqueue(handle, process)

    # What asyncio asks of a loop

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """In line: threads have no order that a seed could repeat."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as an executor hands it over
            done.set_exception(error)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Kept for the report, but for what the dead leave behind."""
        error, process = context.get("exception"), _process.get()
        if isinstance(error, Killed) or self._closed or (process is not None and not process.alive):
            return
        if "destroyed" not in context.get("message", ""):
            self.failures.append(f"{context.get('message')}: {error!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._timers.clear()
        self._outside.clear()
        self._busy.clear()
