"""`tandem bench tau`: every task of a split, by the platform or by an agent whose score is known, and what became of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, TypeAlias

from services.llm_gateway.app import pools_of
from services.llm_gateway.settings import LlmGatewaySettings
from tandem.bench.star.free import Owners
from tandem.bench.tau.agents import idle, oracle
from tandem.bench.tau.convert import convert, pack_name
from tandem.bench.tau.data import Domain, Task, domains_of, read_domain, read_tasks
from tandem.bench.tau.game import Game
from tandem.bench.tau.judge import Gold, Outcome, figures, judge, of_model, play_gold
from tandem.bench.tau.office import Office
from tandem.bench.tau.server import serving
from tandem.embedded.case import Onlooker
from tandem.embedded.platform import Platform
from tandem.errors import Unavailable
from tandem.settings import Settings

AgentName: TypeAlias = Literal["platform", "oracle", "idle"]
AT_ONCE = 4
NO_MODEL = (
    "no model endpoint is set (TANDEM_LLM_BASE_URL, TANDEM_LLM_MODEL): the customer goes by rules, and what was said is "
    "not judged"
)


async def measure(
    settings: Settings, data: Path, domain: str, split: str, limit: int | None, agent: AgentName
) -> tuple[dict[str, Any], list[Outcome]]:
    """The figures of the command's JSON, and each task. A task whose author's own writes are refused is listed and left out."""
    domains = {name: read_domain(data, name) for name in domains_of(domain)}
    tasks = [task for name in domains for task in read_tasks(data, name, split)[:limit]]
    golds = {(task.domain, task.id): play_gold(domains[task.domain], task) for task in tasks}
    left_out = [f"{task.domain} {task.id}" for task in tasks if golds[task.domain, task.id].incomplete]
    tasks = [task for task in tasks if not golds[task.domain, task.id].incomplete]
    model = model_of(settings) if agent == "platform" else None
    if agent == "platform":
        outcomes = await _by_platform(settings, domains, tasks, golds, model is not None)
    else:
        play = oracle if agent == "oracle" else idle
        outcomes = [judge(task, golds[task.domain, task.id], play(domains[task.domain], task)) for task in tasks]
    found = figures(domain, split, outcomes, left_out) | {"agent": agent, "gold": _of_gold(golds)}
    if model is not None:
        if outcomes and all(outcome.run.turns == 0 for outcome in outcomes):
            raise Unavailable(f"{model} played no customer: {outcomes[0].run.ended}")
        return found | {"model": of_model(model, outcomes)}, outcomes
    reason = NO_MODEL if agent == "platform" else f"the agent is {agent}"
    return found | {"model": None, "model_reason": reason}, outcomes


def model_of(settings: Settings) -> str | None:
    """The name of the model that the platform's settings give it; None without one."""
    own = LlmGatewaySettings(**settings.model_dump(exclude_unset=True))
    pools = pools_of(own)
    if pools is None or (name := pools.first()) is None:
        return None
    return pools.pools[name].model


async def _by_platform(
    settings: Settings,
    domains: Mapping[str, Domain],
    tasks: Sequence[Task],
    golds: Mapping[tuple[str, str], Gold],
    planned: bool,
) -> list[Outcome]:
    for name, domain in domains.items():
        convert(domain, settings.packs / pack_name(name), planned)
    owners = Owners()
    offices: dict[int, Office] = {}

    async def office_of(request: str) -> Office | None:
        return offices.get(await owners.whose(request) or 0)

    async with AsyncExitStack() as stack:
        os.environ["TAU_TOOLS_URL"] = await stack.enter_async_context(serving(office_of))
        platform = await stack.enter_async_context(Platform(settings, call_window_ms=2_000, grace_ms=500))
        onlooker = Onlooker(platform.wiring, "bench")
        await onlooker.start()
        stack.push_async_callback(onlooker.stop)
        game = Game(platform, onlooker, owners, offices, planned)
        told = _telling(len(tasks))
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, task: Task) -> Outcome:
            async with at_once:
                run = await game.play(number, domains[task.domain], task)
            outcome = judge(task, golds[task.domain, task.id], run)
            told(outcome)
            return outcome

        return list(await asyncio.gather(*(one(number, task) for number, task in enumerate(tasks, 1))))


def _of_gold(golds: Mapping[tuple[str, str], Gold]) -> dict[str, Any]:
    """What the author's own actions came to: which were refused, and why."""
    refused = [
        f"{domain} {task}: {call.name}: {call.error}" for (domain, task), gold in golds.items() for call in gold.errors
    ]
    return {"tasks": len(golds), "writes": sum(len(gold.writes) for gold in golds.values()), "refused": refused}


def _telling(total: int) -> Callable[[Outcome], None]:
    """Progress on stderr."""
    done = 0

    def told(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        verdict = "equal" if outcome.equal else "unequal"
        writes = f"{outcome.right}/{outcome.wanted} writes, {outcome.writes} made"
        task = outcome.task
        sys.stderr.write(f"{done}/{total} {task.domain} {task.id}: {verdict}, {writes}, {outcome.run.ended}\n")

    return told
