from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm_gateway.admission import Slots
from services.llm_gateway.quotas import Quotas
from tandem.errors import Exhausted
from tandem.model_pools import Pool, Tenant


def slots(capacity=1, **fields):
    return Slots("small", Pool(model="m", replicas=("http://r/v1",), **fields), lambda: capacity)


async def enter(at, done, name, tenant="a", weight=1.0, cost=1.0, interactive=True):
    await at.enter(tenant, weight, cost, interactive=interactive)
    done.append(name)


async def served_in_order(at, asked):
    """What is let in, one after the other, when each leaves as soon as it is in. `asked`: (name, more of `enter`)."""
    done, tasks = [], {}
    await at.enter("first", 1.0, 1.0, interactive=True)
    for name, more in asked:
        tasks[name] = asyncio.create_task(enter(at, done, name, **more))
        await asyncio.sleep(0)
    leaving = True
    while len(done) < len(asked):
        at.leave(interactive=leaving)
        before = len(done)
        while len(done) == before:
            await asyncio.sleep(0)
        leaving = dict(asked)[done[-1]].get("interactive", True)
    at.leave(interactive=leaving)
    return done


@pytest.mark.asyncio
async def test_interactive_calls_go_before_background_ones():
    asked = [(f"b{n}", {"interactive": False}) for n in range(3)] + [(f"i{n}", {}) for n in range(3)]
    at = slots(1, reserve=0.0)
    assert await served_in_order(at, asked) == ["i0", "i1", "i2", "b0", "b1", "b2"]
    assert at.running == 0


@pytest.mark.asyncio
async def test_a_tenant_with_much_does_not_hold_up_one_with_little():
    asked = [(f"a{n}", {"tenant": "a"}) for n in range(6)] + [(f"b{n}", {"tenant": "b"}) for n in range(2)]
    assert await served_in_order(slots(), asked) == ["a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"]


@pytest.mark.asyncio
async def test_weights_and_sizes_count():
    heavy = [(f"a{n}", {"tenant": "a", "weight": 3.0}) for n in range(6)]
    light = [(f"b{n}", {"tenant": "b"}) for n in range(2)]
    order = await served_in_order(slots(), heavy + light)
    assert order.index("b0") == 3
    large = [(f"a{n}", {"tenant": "a", "cost": 4.0}) for n in range(2)]
    small = [(f"b{n}", {"tenant": "b"}) for n in range(4)]
    assert (await served_in_order(slots(), large + small))[:3] == ["b0", "b1", "b2"]


@pytest.mark.asyncio
async def test_background_calls_leave_their_share_free():
    at = slots(4, reserve=0.5)
    for _ in range(2):
        await at.enter("t", 1, 1, interactive=False)
    third = asyncio.create_task(at.enter("t", 1, 1, interactive=False))
    await asyncio.sleep(0)
    assert at.waiting == (0, 1)
    for _ in range(2):
        await at.enter("t", 1, 1, interactive=True)
    for interactive in (True, False):
        at.leave(interactive=interactive)
        await asyncio.sleep(0)
        assert not third.done()  # two are free, and stay so
    at.leave(interactive=True)
    await third
    assert at.running == 2


@pytest.mark.asyncio
async def test_a_full_queue_says_no_and_who_leaves_it_makes_room():
    at = slots(1, queue=1)
    await at.enter("t", 1, 1, interactive=True)
    waiting = asyncio.create_task(at.enter("t", 1, 1, interactive=True))
    await asyncio.sleep(0)
    with pytest.raises(Exhausted) as refused:
        await at.enter("t", 1, 1, interactive=True)
    assert refused.value.reason == "queue_full"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert at.waiting == (0, 0)
    another = asyncio.create_task(at.enter("t", 1, 1, interactive=True))
    await asyncio.sleep(0)
    at.leave(interactive=True)
    await another
    assert at.running == 1


@pytest.mark.asyncio
async def test_who_goes_away_as_it_is_let_in_gives_its_slot_back():
    at = slots(1)
    await at.enter("t", 1, 1, interactive=True)
    waiting = asyncio.create_task(at.enter("t", 1, 1, interactive=True))
    await asyncio.sleep(0)
    at.leave(interactive=True)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert at.running == 0


@given(st.lists(st.sampled_from(["enter", "background", "leave", "cancel"]), max_size=60), st.integers(1, 4))
def test_slots_are_neither_lost_nor_exceeded(steps, capacity):
    async def walk():
        at = slots(capacity, queue=5)
        inside, outside = [], []

        async def one(interactive):
            await at.enter("t", 1, 1, interactive=interactive)
            inside.append(interactive)

        for step in steps:
            if step == "leave" and inside:
                at.leave(interactive=inside.pop())
            elif step == "cancel" and outside:
                outside.pop().cancel()
            elif step in ("enter", "background"):
                outside.append(asyncio.create_task(one(step == "enter")))
            for _ in range(3):
                await asyncio.sleep(0)
            assert at.running == len(inside) <= capacity
        for task in outside:
            task.cancel()
        await asyncio.gather(*outside, return_exceptions=True)
        while inside:
            at.leave(interactive=inside.pop())
            await asyncio.sleep(0)
        assert (at.running, at.waiting) == (len(inside), (0, 0))

    asyncio.run(walk())


def test_tokens_are_paid_after_the_call_and_come_back_with_time():
    now = [1_000.0]
    quotas = Quotas(lambda tenant: Tenant(tokens_per_minute=600), lambda: now[0])
    quotas.enter("acme")
    quotas.leave("acme", 900)
    with pytest.raises(Exhausted, match="tenant_tokens"):
        quotas.enter("acme")
    quotas.enter("other")
    now[0] += 29
    with pytest.raises(Exhausted):
        quotas.enter("acme")
    now[0] += 2
    quotas.enter("acme")


def test_calls_in_flight_are_counted_per_tenant():
    quotas = Quotas(lambda tenant: Tenant(in_flight=2), lambda: 1.0)
    for _ in range(2):
        quotas.enter("acme")
    with pytest.raises(Exhausted, match="tenant_in_flight"):
        quotas.enter("acme")
    quotas.leave("acme", 0)
    quotas.enter("acme")
