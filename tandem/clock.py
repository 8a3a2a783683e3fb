"""Time, injected: the simulation brings its own."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from tandem.contracts.values import Millis

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Wall time for people, boot time for durations, and sleep."""

    def now(self) -> Millis: ...

    def boot(self) -> float:
        """Seconds since some fixed moment; counts on while the machine sleeps, and never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks. `shift_ms`: how far wrong the wall clock is to be."""

    def __init__(self, shift_ms: Millis = 0) -> None:
        self._shift_ms = shift_ms

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + self._shift_ms

    def boot(self) -> float:
        return time.clock_gettime(_BOOT)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
