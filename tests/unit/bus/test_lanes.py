"""Who works in which task, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tandem.bus.base import Record
from tandem.bus.lanes import Lanes, Taken
from tandem.bus.offsets import PartitionOffsets
from tandem.clock import SystemClock

RECORDS = 50
LIMIT = 8


def taken(number: int) -> Taken:
    return Taken(Record("topic", 0, number, 0, b"%d" % number, b""), PartitionOffsets(), b"%d" % number, 1)


async def tasks_of(work: Callable[[], Awaitable[object]]) -> tuple[set[asyncio.Task[object] | None], int]:
    """The tasks that worked on so many records, and how many were at work at once."""
    tasks: set[asyncio.Task[object] | None] = set()
    ended, most = 0, 0

    async def one(record: Taken) -> None:
        nonlocal ended, most
        tasks.add(asyncio.current_task())
        most = max(most, lanes.running)
        await work()
        ended += 1
        if ended == RECORDS:
            over.set()

    over = asyncio.Event()
    lanes = Lanes(one, LIMIT, SystemClock(), lambda: None)
    for number in range(RECORDS):
        lanes.add(taken(number))
    async with asyncio.timeout(5):
        await over.wait()
    await asyncio.sleep(0)
    assert (lanes.queued, lanes.running, lanes.failure) == (0, 0, None)
    return tasks, most


@pytest.mark.asyncio
async def test_work_that_never_waits_shares_a_task() -> None:
    async def nothing() -> None:
        return None

    tasks, most = await tasks_of(nothing)
    assert (len(tasks), most) == (1, 1)


@pytest.mark.asyncio
async def test_work_that_waits_runs_side_by_side_up_to_the_limit() -> None:
    tasks, most = await tasks_of(lambda: asyncio.sleep(0.001))
    assert (len(tasks), most) == (LIMIT, LIMIT)


@pytest.mark.asyncio
async def test_a_failure_is_kept_and_the_others_go_on() -> None:
    worked: list[int] = []

    async def one(record: Taken) -> None:
        worked.append(record.record.offset)
        if record.record.offset == 0:
            raise ValueError("no")

    lanes = Lanes(one, LIMIT, SystemClock(), lambda: None)
    for number in range(3):
        lanes.add(taken(number))
    await asyncio.sleep(0.01)
    assert (worked, repr(lanes.failure), lanes.running) == ([0, 1, 2], "ValueError('no')", 0)
