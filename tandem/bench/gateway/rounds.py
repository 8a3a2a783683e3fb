"""The rounds: each measures every target in turn, beside direct access at the same load; a figure is its rounds' median."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from tandem.bench.gateway import servers
from tandem.bench.gateway.load import Figures, Job, Target
from tandem.bench.gateway.servers import Generator
from tandem.bench.gateway.stub import INSTANT, THINKING, TOKENS

STREAM_TOKENS = 40
WORKERS = 32
WARM_S = 1.0

Told = Callable[[str], None]
Values = dict[str, list[float]]


async def measure(folder: Path, litellm: Path | None, rounds: int, seconds: float, told: Told) -> dict[str, Any]:
    """The command's JSON. `seconds`: of each measurement at a load."""
    if litellm is not None:
        servers.litellm_program(litellm)
    async with AsyncExitStack() as stack:
        told("starting the stub and the gateway")
        model = await stack.enter_async_context(servers.stub())
        doors = await stack.enter_async_context(servers.gateway(servers.stub_pools(model), folder, traces=model))
        targets = {
            "direct": Target(door="http", port=model, token="none"),
            "grpc": Target(door="grpc", port=doors.grpc, token=servers.TOKEN, tandem=True, pid=doors.pid),
            "http": Target(door="http", port=doors.http, token=servers.TOKEN, tandem=True, pid=doors.pid),
        }
        if litellm is not None:
            told("starting LiteLLM's proxy")
            port, pid = await stack.enter_async_context(servers.litellm(litellm, model, folder))
            targets["litellm"] = Target(door="http", port=port, token=f"sk-{servers.TOKEN}", pid=pid)
        generator = await stack.enter_async_context(servers.generator(doors.grpc))
        return await _rounds(generator, targets, rounds, seconds, told)


async def _rounds(
    generator: Generator, targets: Mapping[str, Target], rounds: int, seconds: float, told: Told
) -> dict[str, Any]:
    for target in targets.values():
        await generator.run(Job(target=target, model=INSTANT, tokens=TOKENS, workers=WORKERS, seconds=WARM_S))
    found: dict[str, Values] = {name: defaultdict(list) for name in targets}
    for number in range(rounds):
        for name, target in targets.items():
            for figure, value in (await _one(generator, target, targets["direct"], seconds)).items():
                found[name][figure].append(value)
            told(f"round {number + 1} of {rounds}: {name}: {found[name]['requests_per_s'][-1]:.0f} requests a second")
    figures: dict[str, Any] = {name: _figures(values) for name, values in found.items()}
    if figures.setdefault("litellm", None) is not None:
        for name in ("grpc", "http"):
            ratios = zip(found[name]["requests_per_s"], found["litellm"]["requests_per_s"], strict=True)
            figures[name]["times_litellm"] = round(median(ours / theirs for ours, theirs in ratios), 1)
    return figures | {"rounds": rounds}


async def _one(generator: Generator, target: Target, direct: Target, seconds: float) -> dict[str, float]:
    """A round's figures of one target. Half load is half of what it just did; what it adds, it adds to direct access."""
    at_once = Job(target=target, model=INSTANT, tokens=TOKENS, workers=WORKERS, seconds=seconds)
    full, spent = await _watched(generator, at_once)
    stream = await generator.run(Job(target=target, model=INSTANT, tokens=STREAM_TOKENS, stream=True, calls=100))
    half = at_once.model_copy(update={"workers": 4 * WORKERS, "rate": full.per_s / 2})
    thinking = Job(target=target, model=THINKING, tokens=TOKENS, stream=True, workers=4, seconds=seconds / 2)
    found = {"requests_per_s": full.per_s, "stream_40_ms": stream.p50_ms} | spent
    for prefix, job in (("", half), ("thinking_", thinking)):
        figures, spent = await _watched(generator, job)
        values = _latencies(job, figures)
        if job is half:
            found |= {f"half_load_{name}": value for name, value in spent.items()}
        if target is not direct:
            prefix += "added_"
            plain = _latencies(job, await generator.run(job.model_copy(update={"target": direct})))
            values = {name: value - plain[name] for name, value in values.items()}
        found |= {prefix + name: value for name, value in values.items()}
    return found


async def _watched(generator: Generator, job: Job) -> tuple[Figures, dict[str, float]]:
    """With what a call took of a processor, and how long the target's threads waited for one that others had."""
    pid = job.target.pid
    before = servers.spent(pid)
    figures = await generator.run(job)
    if not pid:
        return figures, {}
    ran_s, waited_s = (now - then for now, then in zip(servers.spent(pid), before, strict=True))
    return figures, {"cpu_ms": 1_000 * ran_s / figures.calls, "waited_ms": 1_000 * waited_s / figures.calls}


def _latencies(job: Job, figures: Figures) -> dict[str, float]:
    found = {"p50_ms": figures.p50_ms, "p99_ms": figures.p99_ms}
    return found | {"first_token_p50_ms": figures.first_p50_ms} if job.stream else found


def _figures(values: Values) -> dict[str, float]:
    return {name: round(median(each), 3 if name.endswith("_ms") else 0) for name, each in values.items()}
