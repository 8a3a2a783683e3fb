"""What a customer who waits notices of twice as much work as there is room for, told by how many calls go before."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.llm_gateway.served import call, served

SLOTS, MODEL_S, EVERY_S = 8, 0.1, 0.05


async def gone_before(pool, *, background, fair=True):
    """Of each of thirty interactive calls, one every 50 ms: how many others reached the replica between it and its turn, fewest
    first. Beside them background calls always fill what they may, and twice as many wait. `fair`: the classes are told apart."""
    found = []

    async def ask(chat, replica, number):
        name, before = f"interactive {number}", len(replica.seen)
        await chat.complete(call(name, ticket=str(number), within=60))
        asked = [body["messages"][-1]["content"] for _, body in replica.seen]
        found.append(asked.index(name) - before)

    async def fill(chat, number):
        for again in range(10_000):
            asked = call(f"background {number} {again}", ticket=f"b{number}", within=60)
            asked.interactive = not fair
            await chat.complete(asked)

    async with served(delay_s=MODEL_S, pool={"concurrency": SLOTS, **pool}) as (chat, [replica]):
        filling = [asyncio.create_task(fill(chat, number)) for number in range(background)]
        await asyncio.sleep(2 * MODEL_S if background else 0)
        asking = []
        for number in range(30):
            asking.append(asyncio.create_task(ask(chat, replica, number)))
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*asking)
        for task in filling:
            task.cancel()
        await asyncio.gather(*filling, return_exceptions=True)
    return sorted(found)


@pytest.mark.asyncio
async def test_interactive_calls_hardly_notice_background_work_at_twice_the_capacity():
    beside = await gone_before({"reserve": 0.25}, background=3 * SLOTS)
    first_come = await gone_before({"reserve": 0.0}, background=3 * SLOTS, fair=False)
    # Seconds are measured with care: docs/models.md
    assert beside[24] <= SLOTS, beside
    assert first_come[15] >= 1.5 * SLOTS, first_come
