"""`tandem bench star --mode decisions`: data, models, figures."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.llm_gateway.settings import LlmGatewaySettings
from tandem.bench.star.decisions import Progress, Run, figures, run
from tandem.bench.star.large import Ladder, Large
from tandem.bench.star.models import models
from tandem.bench.star.points import Recorded, read_catalogue, read_points
from tandem.bench.star.report import render
from tandem.bench.star.rungs import Name, Rules, Rung, Small
from tandem.brains.brains import Brains
from tandem.brains.values import Procedure
from tandem.embedded.platform import own_gateway
from tandem.embedded.sentences import Sentences
from tandem.errors import InvalidSettings
from tandem.rpc.inprocess import InProcessLlm

CACHE = Path.home() / ".cache" / "tandem" / "models"


@dataclass(frozen=True)
class Found:
    """What a run brought."""

    figures: dict[str, Any]
    run: Run
    facts: dict[str, Any]  # of the models


@dataclass(frozen=True)
class Wanted:
    """What is measured."""

    data: Path
    split: str
    limit: int | None
    tasks: Sequence[str]
    models: Path | None  # folder of trained ones
    brains: Name = "small"


def measure(wanted: Wanted, progress: Progress) -> Found:
    """Decide at every point of the split's dialogues. Raises InvalidSettings when there are none.

    A rung that needs a model has no quality without an endpoint: its figures are None, with the reason.
    """
    data, split, tasks = wanted.data, wanted.split, wanted.tasks
    catalogue = read_catalogue(data)
    if not (data / f"dialogues_{split}.jsonl").exists():
        raise InvalidSettings(f"{data} has no dialogues_{split}.jsonl")
    dialogues = [one for one in read_points(data, split, catalogue) if not tasks or set(one.tasks) <= set(tasks)]
    if not dialogues:
        raise InvalidSettings(f"no dialogue of {split} is about {', '.join(tasks)} alone")
    settings = LlmGatewaySettings()
    if wanted.brains in ("llm", "ladder") and not has_model(settings):
        return Found({**unmeasured(split, catalogue), "brains": wanted.brains}, Run(), {})
    brains = _small(wanted) if wanted.brains in ("small", "ladder") else None
    with _rung(wanted.brains, list(catalogue.values()), brains, settings) as rung:
        done = run(rung, spread(dialogues, wanted.limit), progress)
    trained = brains.facts["procedures"] if brains else list(catalogue)
    facts = dict(brains.facts) if brains else {}
    return Found({**figures(done, split, trained), "brains": wanted.brains}, done, facts)


def has_model(settings: LlmGatewaySettings) -> bool:
    return bool(settings.llm_base_url or settings.llm_pools or settings.llm_replay)


def unmeasured(split: str, tasks: Sequence[str] | dict[str, Procedure]) -> dict[str, Any]:
    """The command's JSON when there is no model: every figure None."""
    empty = figures(Run(), split, tasks)
    kept = ("mode", "split", "by_task")
    reason = "no endpoint: set TANDEM_LLM_BASE_URL or TANDEM_LLM_POOLS; a model's quality is measured with a model or not at all"
    return {name: value if name in kept else None for name, value in empty.items()} | {"reason": reason}


def _small(wanted: Wanted) -> Brains:
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: T201, E731
    return models(wanted.data, wanted.models, CACHE, Sentences(), say)


@contextmanager
def _rung(
    name: Name, procedures: list[Procedure], brains: Brains | None, settings: LlmGatewaySettings
) -> Iterator[Rung]:
    """The rung, with a gateway in this process if it needs one."""
    small = Small(brains) if brains else None
    if name == "rules":
        yield Rules(procedures)
        return
    if name == "small" and small:
        yield small
        return
    with asyncio.Runner() as runner:
        gateway = own_gateway(settings)
        try:
            large = Large(procedures, InProcessLlm(gateway), runner)
            yield Ladder(small, large) if small else large
        finally:
            runner.run(gateway.close())


def spread(dialogues: Sequence[Recorded], limit: int | None) -> list[Recorded]:
    """At most so many, evenly over the file."""
    every = 1 if limit is None else max(1, -(-len(dialogues) // limit))
    return list(dialogues[::every])


def page(found: Found) -> str:
    """The report."""
    return render(found.figures, found.run, found.facts)
