"""The plans of `plans/`, in their size for every change, one after the other on one deployment that stays up."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from tandem.chaos.deployment import Deployment
from tandem.chaos.plan import read_plan
from tandem.chaos.runner import play

ROOT = Path(__file__).parents[2]
PLANS = {path.stem: read_plan(path) for path in sorted((ROOT / "tests/chaos/plans").glob("*.yaml"))}

ORDER: Final = (
    "kill-matrix",
    "kill-random",
    "redis-flush",
    "redis-kill",
    "redis-regress",
    "redis-backlog",
    "budget",
    "zombie",
    "rolling",
    "poison",
    "timers",
    "noise",
    "model",
    "wait",
)
FELT: Final = {
    "redis-flush": ("index is off",),
    "redis-kill": ("index is off",),
    "redis-regress": ("index is off",),
    "redis-backlog": ("index is off",),
    "zombie": ("fenced",),
    "poison": ("message not handled", "message dead-lettered"),
    "rolling": ("service stopped",),
    "timers": ("service stopped",),
}
"""What the services' logs must have said, or the plan's faults were none."""


def test_every_plan_for_every_change_is_played() -> None:
    assert set(ORDER) == {name for name, plan in PLANS.items() if plan.per_change and plan.faults}
    assert {plan.plan for plan in PLANS.values()} == set(PLANS)


@contextmanager
def _deployed(folder: Path, bootstrap: str) -> Iterator[tuple[asyncio.Runner, Deployment]]:
    """A deployment, and the loop that it lives in."""
    deployment = Deployment(folder, ROOT / "packs", bootstrap=bootstrap)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(deployment.__aenter__())
        try:
            yield runner, deployment
        finally:
            runner.run(deployment.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str
) -> Iterator[tuple[asyncio.Runner, Deployment]]:
    with _deployed(tmp_path_factory.mktemp("chaos"), kafka_bootstrap) as found:
        yield found


@pytest.mark.connected
@pytest.mark.parametrize("name", ORDER)
def test_the_promise_is_kept(name: str, deployed: tuple[asyncio.Runner, Deployment], tmp_path: Path) -> None:
    runner, deployment = deployed
    outcome = runner.run(play(PLANS[name], "per_change", deployment, tmp_path))
    assert outcome.complaints() == []
    assert outcome.kept
    size = PLANS[name].size("per_change")
    assert outcome.verdict.tickets >= size.tickets
    assert outcome.verdict.done + outcome.verdict.waiting == outcome.verdict.tickets
    assert [text for text in FELT.get(name, ()) if not outcome.said[text]] == []
    assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")


@pytest.mark.connected
def test_what_the_operator_sees_afterwards(deployed: tuple[asyncio.Runner, Deployment]) -> None:
    """Redis says what the log says, and nothing is stuck; the dead letters of the plans are counted by reason."""
    runner, deployment = deployed
    runner.run(deployment.serve(PLANS["calm"], {}))

    async def tandem(*arguments: str) -> tuple[int, dict[str, Any]]:
        command, env = [sys.executable, "-m", "tandem", *arguments, "--json"], {**os.environ, **deployment.env}
        done = await asyncio.to_thread(subprocess.run, command, env=env, cwd=ROOT, capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout)

    code, state = runner.run(tandem("state", "verify"))
    assert [shard["differences"] for shard in state["shards"]] == [[]] * 4
    assert (code, state["agrees"]) == (0, True)
    code, seen = runner.run(tandem("doctor"))
    assert [finding for finding in seen["findings"] if finding["level"] == "error"] == []
    assert (code, seen["well"]) == (0, True)
    planners = {"planner (owner)", "planner (worker)"}
    assert set(seen["lag"]) >= {"router", "rag_agent", "function_agent", "executor", "memory"} | planners
