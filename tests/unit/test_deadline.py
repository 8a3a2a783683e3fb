"""A time-out that costs no timer unless something waits."""

from __future__ import annotations

import asyncio

import pytest

from tandem.deadline import within


class Work:
    """Waits a number of turns, and remembers how it was ended."""

    def __init__(self, waits: int = 0, fails: Exception | None = None) -> None:
        self.waits = waits
        self.fails = fails
        self.ended = ""
        self.asked = asyncio.Event()

    async def __call__(self) -> str:
        try:
            for _ in range(self.waits):
                await asyncio.sleep(0)
            if self.fails:
                raise self.fails
            if self.waits < 0:
                await self.asked.wait()
            self.ended = "done"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        return "result"


@pytest.mark.asyncio
@pytest.mark.parametrize("waits", [0, 1, 5])
async def test_what_ends_in_time_gives_its_result(waits: int) -> None:
    assert await within(60, Work(waits)()) == "result"


@pytest.mark.asyncio
async def test_no_timer_is_made_for_what_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: float) -> asyncio.Timeout:
        raise AssertionError("a timer was made")

    monkeypatch.setattr(asyncio, "timeout", none)
    assert await within(60, Work()()) == "result"
    with pytest.raises(AssertionError, match="a timer was made"):
        await within(60, Work(1)())


@pytest.mark.asyncio
@pytest.mark.parametrize("waits", [0, 3])
async def test_what_it_raises_comes_through(waits: int) -> None:
    with pytest.raises(ValueError, match="its own"):
        await within(60, Work(waits, fails=ValueError("its own"))())


@pytest.mark.asyncio
async def test_what_takes_too_long_is_cancelled() -> None:
    work = Work(-1)
    with pytest.raises(TimeoutError):
        await within(0.001, work())
    assert work.ended == "cancelled"


@pytest.mark.asyncio
async def test_a_cancellation_of_the_caller_reaches_the_work() -> None:
    work = Work(-1)
    caller = asyncio.create_task(within(60, work()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.ended == "cancelled"


@pytest.mark.asyncio
async def test_it_goes_on_when_what_it_waits_for_has_come() -> None:
    work = Work(-1)
    caller = asyncio.create_task(within(60, work()))
    await asyncio.sleep(0)
    work.asked.set()
    assert await caller == "result"
    assert work.ended == "done"
