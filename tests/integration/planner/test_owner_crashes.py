"""A crash between each pair of the owner's steps, Redis lost or set back at each, and what must hold afterwards."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.planner.world import (
    Killed,
    Point,
    Running,
    World,
    answered,
    check,
    crashes,
    die,
    serve_until_settled,
    until,
)

POINTS = [
    "owner.1",
    "owner.2",
    "owner.3",
    "owner.4",
    "owner.5",
    "owner.6",
    "owner.7",
    "owner.8",
    "owner.9.published",
    "owner.9.indexed",
    "owner.9",
    "owner.10",
    "owner.10.tombstoned",
    "owner.11",
]
WAVE = [(name, text) for text in ("one", "two", "timer 60") for name in ("ann", "bob", "cyd", "dee")]


async def talk(world: World) -> None:
    """Three waves, so that batches, chains and predecessors occur."""
    for _ in range(3):
        await world.send(*WAVE)
        await asyncio.sleep(0.03)


@pytest.mark.asyncio
async def test_undisturbed(world: World) -> None:
    async with Running(world.owner()):
        await talk(world)
        await until(world.settled)
    await check(world)
    await answered(world)


async def crash_and_recover(world: World, point: str, times: int) -> None:
    dying = world.owner(Point(point, times, die))
    talking = asyncio.create_task(talk(world))
    await asyncio.wait_for(crashes(dying), 30)
    await check(world)
    await talking
    await serve_until_settled(world)
    await check(world)
    await answered(world)


@pytest.mark.asyncio
@pytest.mark.parametrize("point", POINTS)
async def test_crash(any_world: World, point: str) -> None:
    await crash_and_recover(any_world, point, 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("point", POINTS[4:])
async def test_later_crash(world: World, point: str) -> None:
    await crash_and_recover(world, point, 2)


@pytest.mark.asyncio
async def test_crash_after_draining(any_world: World) -> None:
    """The partitions are given up, and the process dies before it can leave the group."""
    owner = any_world.owner(Point("owner.12", 1, die))
    running = asyncio.create_task(owner.run())
    await talk(any_world)
    await until(any_world.settled)
    await owner.stop(5.0)
    with pytest.raises(Killed):
        await running
    await any_world.send(*WAVE)
    await serve_until_settled(any_world)
    await check(any_world)
    await answered(any_world)
