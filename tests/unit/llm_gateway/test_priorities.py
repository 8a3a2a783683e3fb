"""What a customer who waits notices of twice as much work as there is room for."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.unit.llm_gateway.served import call, served

SLOTS, MODEL_S, EVERY_S = 8, 0.1, 0.05


async def waits(calls, pool, *, background, fair=True):
    """Seconds of each interactive call, one every 50 ms, beside background calls that always fill what they may, and
    twice as many that wait. `fair`: the classes are told apart."""
    found = []

    async def ask(chat, number):
        began = time.perf_counter()
        await chat.complete(call(f"interactive {number}", ticket=str(number), within=30))
        found.append(time.perf_counter() - began)

    async def fill(chat, number):
        for again in range(10_000):
            asked = call(f"background {number} {again}", tenant=f"t{number % 3}", ticket=f"b{number}", within=30)
            asked.interactive = not fair
            await chat.complete(asked)

    async with served(2, delay_s=MODEL_S, pool={"concurrency": SLOTS // 2, **pool}) as (chat, _):
        filling = [asyncio.create_task(fill(chat, number)) for number in range(background)]
        await asyncio.sleep(2 * MODEL_S if background else 0)
        asking = []
        for number in range(calls):
            asking.append(asyncio.create_task(ask(chat, number)))
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*asking)
        for task in filling:
            task.cancel()
        await asyncio.gather(*filling, return_exceptions=True)
    return sorted(found)


def at(share, sorted_values):
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


@pytest.mark.asyncio
async def test_interactive_calls_hardly_notice_background_work_at_twice_the_capacity():
    alone = await waits(30, {}, background=0)
    beside = await waits(30, {"reserve": 0.25}, background=3 * SLOTS)
    first_come = await waits(30, {"reserve": 0.0}, background=3 * SLOTS, fair=False)
    assert at(0.8, beside) <= 1.5 * at(0.8, alone)  # measured with care: docs/models.md
    assert at(0.5, first_come) >= 1.5 * at(0.5, alone)
