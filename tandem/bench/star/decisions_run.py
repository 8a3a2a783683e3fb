"""`tandem bench star --mode decisions`: data, models, figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.bench.star.decisions import Progress, Run, figures, run
from tandem.bench.star.models import models
from tandem.bench.star.points import Recorded, read_catalogue, read_points
from tandem.bench.star.report import render
from tandem.embedded.sentences import Sentences
from tandem.errors import InvalidSettings

CACHE = Path.home() / ".cache" / "tandem" / "models"


@dataclass(frozen=True)
class Found:
    """What a run brought."""

    figures: dict[str, Any]
    run: Run
    facts: dict[str, Any]  # of the models


def measure(
    data: Path, split: str, limit: int | None, tasks: Sequence[str], given: Path | None, progress: Progress
) -> Found:
    """Decide at every point of the split's dialogues. Raises InvalidSettings when there are none."""
    catalogue = read_catalogue(data)
    if not (data / f"dialogues_{split}.jsonl").exists():
        raise InvalidSettings(f"{data} has no dialogues_{split}.jsonl")
    dialogues = [one for one in read_points(data, split, catalogue) if not tasks or set(one.tasks) <= set(tasks)]
    if not dialogues:
        raise InvalidSettings(f"no dialogue of {split} is about {', '.join(tasks)} alone")
    brains = models(data, given, CACHE, Sentences(), lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    done = run(brains, spread(dialogues, limit), progress)
    return Found(figures(done, split, brains.facts["procedures"]), done, dict(brains.facts))


def spread(dialogues: Sequence[Recorded], limit: int | None) -> list[Recorded]:
    """At most so many, evenly over the file."""
    every = 1 if limit is None else max(1, -(-len(dialogues) // limit))
    return list(dialogues[::every])


def page(found: Found) -> str:
    """The report."""
    return render(found.figures, found.run, found.facts)
