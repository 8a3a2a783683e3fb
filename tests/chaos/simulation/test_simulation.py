"""The simulation itself: a seed is a run, the promise holds on many, and its Redis is a Redis."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from services.planner.store import Changes, ShardIndex
from tandem.chaos.simulation.campaign import campaign
from tandem.chaos.simulation.index import Store
from tandem.chaos.simulation.run import simulate
from tandem.cli import build
from tandem.redis import Argument, Redis, Script, private_redis

SEEDS = 100


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The platform tells of every fault it meets."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_seed_is_a_run_to_the_last_byte() -> None:
    first, again, other = simulate(7), simulate(7), simulate(8)
    assert first == again
    assert first.digest != other.digest
    assert first.faults
    with pytest.raises(RuntimeError, match="no current event loop"):
        asyncio.get_event_loop()


def test_another_process_plays_the_same_run() -> None:
    told: list[str] = []
    campaign(7, 1, lambda outcome: told.append(outcome.digest), workers=1)
    campaign(7, 1, lambda outcome: told.append(outcome.digest), workers=1)
    assert told[0] == told[1]


def test_the_promise_holds_on_every_seed() -> None:
    summary = campaign(1, SEEDS)
    assert summary.violations == []
    assert summary.tickets == 6 * SEEDS
    assert summary.effects > 2 * SEEDS


def test_a_ticket_waits_for_a_person_for_a_day() -> None:
    summary = campaign(1, 4, away_s=86_400.0)
    assert summary.violations == []
    assert summary.tickets == 24


def test_the_command_prints_json_alone() -> None:
    done = CliRunner().invoke(build("chaos"), ["chaos", "simulate", "--seeds", "2", "--start", "3", "--json"])
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)) == {"seeds", "violations", "tickets", "effects", "seconds"}


# The index's Lua in the process and on a real server


class InProcess:
    """As much of `tandem.redis.Redis` as the index needs, over the simulation's store."""

    def __init__(self) -> None:
        self.prefix = "both"
        self._store = Store()

    def key(self, shard: int, name: str) -> str:
        return f"{self.prefix}:{{p{shard:02d}}}:{name}"

    async def call(self, *command: Argument) -> Any:
        return self._store.do(command)

    async def run(self, script: Script, keys: Any, args: Any) -> Any:
        return self._store.run(script, keys, args)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Redis]:
    private = await private_redis(tmp_path)
    client = Redis(private.url, "both")
    yield client
    await client.close()
    await private.stop()


async def _play(redis: Any, seed: int) -> list[Any]:
    """A hundred calls of the index, at random, and all that Redis says."""
    numbers, index = random.Random(seed), ShardIndex(redis, 1, 1_000)
    told: list[Any] = []
    names = [f"c{n}" for n in range(6)]
    applied = 0
    told.append(await index.rebuild(applied, []))
    for step in range(100):
        match numbers.randrange(6):
            case 0 | 1 | 2:
                changes, name = Changes(), numbers.choice(names)
                changes.add(name, 0, b'{"n": %d}' % step)
                changes.add_timers({}, {f"{name}\x1ft\x1fa\x1fburst": numbers.randrange(2_000)})
                before = applied if numbers.random() < 0.8 else applied + 1
                told.append(await index.write(before, step + 1, changes))
                applied = step + 1 if told[-1] else applied
            case 3:
                told.append(await index.due(numbers.randrange(2_000)))
            case 4:
                name = numbers.choice(names)
                told.append(await index.forget(applied, name, f"{name}\x1ft\x1fa\x1fburst"))
            case _:
                told.append(await redis.call("HMGET", redis.key(1, "tickets"), "", *names))
    return told


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(5))
async def test_the_simulated_redis_answers_as_a_real_one(server: Redis, seed: int) -> None:
    await server.call("FLUSHALL")
    assert await _play(InProcess(), seed) == await _play(server, seed)


def test_losing_writes_is_a_failover() -> None:
    store = Store()
    for n in range(5):
        store.do(("HSET", "k", f"f{n}", n))
    store.lose(2)
    assert store.do(("HLEN", "k")) == 3
    store.flush()
    assert store.do(("HLEN", "k")) == 0
