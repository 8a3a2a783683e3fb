"""Plays a plan on a deployment: customers come, faults are done, the judge looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tandem.chaos import faults
from tandem.chaos.deployment import Deployment
from tandem.chaos.edges import Watch
from tandem.chaos.faults import Injection
from tandem.chaos.judge import Scene, Verdict, judge
from tandem.chaos.load import Crowd
from tandem.chaos.plan import Plan, Size, SizeName
from tandem.chaos.report import summary, write_report

QUIET_S = 1.0
"""After the last story, so that a reply that must not come has time to come."""

HOSTILE_S = 30.0
"""How long the last hostile record may take to the dead letters."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan. `missed`: what the plan should have done and could not."""

    plan: str
    verdict: Verdict
    missed: tuple[str, ...]
    unwanted_exits: tuple[str, ...]
    said: Counter[str]  # by the services' logs: no part of the verdict, but it tells that the faults were felt
    seconds: float

    @property
    def kept(self) -> bool:
        return self.verdict.kept and not self.missed

    def complaints(self) -> list[str]:
        """All that is wrong, in words."""
        never = [f"no process came to {point}" for point in self.missed]
        return [*self.verdict.findings, *never, *self.unwanted_exits]

    def to_json(self) -> dict[str, Any]:
        return summary(self.plan, self.verdict)


async def play(plan: Plan, size_name: SizeName, deployment: Deployment, report: Path, seed: int = 1) -> Outcome:
    """Play it and write the report. Services stay up for the next plan."""
    size, began = plan.size(size_name), time.monotonic()
    injection = Injection(deployment, size, Random(seed))
    model = await faults.start_model(plan, injection)
    await deployment.serve(plan, faults.env(plan, model), faults.spare(plan))
    first_exit, said = len(deployment.exits), deployment.said()
    watch = Watch(deployment.wiring.bus())
    watching = await watch.start()
    crowd = injection.crowd = Crowd(deployment.wiring, watch, plan.scripts, size, seed)
    try:
        await _load_and_faults(plan, size, crowd, injection, deployment)
        await asyncio.sleep(QUIET_S)
        await _until(lambda: injection.hostile <= watch.edges.dead_marks(), HOSTILE_S)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        if model is not None:
            await model.stop()
    scene = Scene(
        stories=crowd.stories,
        edges=watch.edges,
        effects=await deployment.effects(),
        faults=injection.hits,
        hostile=injection.hostile,
        reminded_after_ms=plan.reminded_after_ms,
        budget=deployment.budget,
    )
    verdict = judge(scene)
    exits = tuple(f"{exit.service} ended with {exit.code}" for exit in deployment.exits[first_exit:] if not exit.wanted)
    seconds = round(time.monotonic() - began, 1)
    outcome = Outcome(plan.plan, verdict, tuple(injection.missed), exits, deployment.said() - said, seconds)
    more = {
        "missed": outcome.missed,
        "unwanted_exits": exits,
        "seconds": outcome.seconds,
        "size": size.model_dump(),
        "said": dict(outcome.said),
        "model": dict(model.did) if model is not None else {},
    }
    write_report(report, plan.plan, verdict, crowd.stories, injection.hits, more)
    return outcome


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for it, or for so long: what is missing then, the judge finds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - another task sees it
        await asyncio.sleep(0.1)


async def _load_and_faults(plan: Plan, size: Size, crowd: Crowd, injection: Injection, deployment: Deployment) -> None:
    """Endless faults end with the load; the load goes on until the others have been done."""
    first, deployment.next_customer = deployment.next_customer, deployment.next_customer
    loading = asyncio.create_task(crowd.run(first, deployment.customers - first), name="load")
    finite = [
        asyncio.create_task(faults.inject(fault, injection)) for fault in plan.faults if not faults.endless(fault)
    ]
    endless = [asyncio.create_task(faults.inject(fault, injection)) for fault in plan.faults if faults.endless(fault)]
    try:
        await asyncio.gather(*finite)
        crowd.enough.set()
        await loading
        for task in endless:
            if task.done():
                task.result()
    finally:
        for task in (loading, *finite, *endless):
            task.cancel()
        await asyncio.gather(loading, *finite, *endless, return_exceptions=True)
        deployment.next_customer += len(crowd.stories)
