"""One seed: a deployment, its customers, its misfortunes, and what the invariants say of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random as global_random
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from services.planner.core import OwnerPolicy
from tandem.channels import Channels
from tandem.chaos.simulation.history import History
from tandem.chaos.simulation.invariants import Evidence, Violation, check
from tandem.chaos.simulation.loop import VirtualLoop
from tandem.chaos.simulation.people import CHANNEL, PATIENCE_S, TENANT, Customers, Experts, Story
from tandem.chaos.simulation.stage import Stage
from tandem.chaos.simulation.world import PACK, PATIENT
from tandem.client import Channel, Tandem
from tandem.contracts.topics import TOPICS
from tandem.contracts.values import Millis
from tandem.packs.registry import Packs
from tandem.settings import Settings
from tandem.wiring import Wiring

STORIES = 6
FAULTS_S = 120.0
QUIET_S = 45.0
"""Virtual seconds after the last story: sessions end, late requests land, tickets close."""
KEEP_CLOSED_MS = OwnerPolicy().keep_closed_ms
EPOCH_MS = 1_700_000_000_000
RUN_S, JUMP_S = 10.0, 290.0


class Outcome(NamedTuple):
    """What came of a seed."""

    seed: int
    violations: list[Violation]
    tickets: int
    effects: int
    faults: list[str]
    digest: str


class VirtualClock:
    """Wall and boot time of the virtual loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> Millis:
        return EPOCH_MS + round(self._loop.time() * 1000)

    def boot(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def simulate(seed: int, home: Path | None = None, away_s: float = 0.0) -> Outcome:
    """Play a seed. The same seed gives the same run, to the last byte.

    With `away_s`, all customers want what an expert must approve, and no expert comes before that virtual time.
    """
    with contextlib.ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-sim-")))
        stack.enter_context(_seeded(seed))
        loop = VirtualLoop(Random(f"loop {seed}"))  # type: ignore[abstract]
        try:
            return loop.run_until_complete(_play(seed, folder, loop, away_s))  # type: ignore[no-any-return]
        finally:
            loop.close()


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Identifiers and the tracer's numbers follow from the seed too; the process's number is in claims."""
    numbers, real, getpid = Random(f"ids {seed}"), uuid.uuid4, os.getpid
    before = global_random.getstate()
    global_random.seed(f"global {seed}")
    uuid.uuid4 = lambda: uuid.UUID(int=numbers.getrandbits(128), version=4)
    os.getpid = lambda: 1
    collecting, hook = gc.isenabled(), sys.unraisablehook
    gc.disable()  # what the dead leave behind is finalised at the end, not at a moment that no seed decides
    sys.unraisablehook = lambda _: None  # then their coroutines wake once more, to a loop that is gone
    try:
        yield
    finally:
        asyncio.set_event_loop(None)  # else one is made for the dead who ask for it, and nobody closes it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # coroutines of the dead that nobody came to await
            gc.collect()
        sys.unraisablehook = hook
        uuid.uuid4, os.getpid = real, getpid
        global_random.setstate(before)
        if collecting:
            gc.enable()


async def _time_passes(loop: VirtualLoop, until: float) -> None:
    """Most of it at once, and now and then everybody runs."""
    await asyncio.sleep(FAULTS_S)
    while loop.time() < until:
        await asyncio.sleep(RUN_S)
        loop.jump(JUMP_S)


async def _play(seed: int, home: Path, loop: VirtualLoop, away_s: float) -> Outcome:
    for name, text in PACK.items():
        path = home / "packs" / "simulated" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(PATIENT, str(int(PATIENT) + round(away_s * 1000))), encoding="utf-8")
    channels = Channels.model_validate(
        {"channels": {CHANNEL: {"key": "0" * 32, "tenants": [TENANT]}}, "tenants": {TENANT: {"pack": "simulated"}}}
    )
    random = Random(seed)
    stage = Stage(loop, VirtualClock(loop), home, Packs(home / "packs", home / "frozen"), channels, random)
    await stage.broker.create_topics(list(TOPICS.values()))
    await stage.broker.start()
    stage.start()
    outside = Wiring(Settings(home=home, http_port=None), clock=stage.clock, bus=stage.broker, channels=channels)
    channel = Channel(CHANNEL, tenant=TENANT, tandem=Tandem(outside))
    customers = Customers(channel, Random(f"customers {seed}"), PATIENCE_S + away_s)
    experts = Experts(stage.broker, stage.world, Random(f"experts {seed}"), away_s)
    background = [
        asyncio.ensure_future(work) for work in (customers.read(), experts.work(), stage.misfortunes(FAULTS_S))
    ]
    wishes = ("pay",) if away_s else ("reset", "pay", "look", "tidy", "order", "ask")
    if away_s:
        background.append(asyncio.ensure_future(_time_passes(loop, away_s)))
    stories = [Story(n, random.choice(wishes), random.random() < 0.85) for n in range(STORIES)]  # type: ignore[arg-type]
    await asyncio.gather(*(customers.live(story) for story in stories))
    await background[2]
    await asyncio.sleep(QUIET_S)
    failures = [Violation(0, failure) for failure in loop.failures[:3]]
    found = check(Evidence(History(stage.broker), stage, stories, KEEP_CLOSED_MS))
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    return Outcome(seed, [*failures, *found], len(stories), len(stage.world.effects), stage.faults, stage.broker.digest)
