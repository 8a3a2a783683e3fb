"""How the policy does under procedures that were in no training dialogue: groups of the train split's are left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tandem.bench.star.decisions import share
from tandem.bench.star.models import moments
from tandem.bench.star.points import read_catalogue, read_points
from tandem.brains.brains import choose
from tandem.brains.compiled import compile_procedures
from tandem.brains.learning import first_stage, policy
from tandem.brains.learning.moments import Moments
from tandem.brains.policy import Policy, with_learnt_steps
from tandem.brains.values import Embed

CHECKED = 1_200
"""Points of a group at most."""

Say = Callable[[str], None]


def measure_unseen(data: Path, embed: Embed, say: Say, rounds: int) -> dict[str, Any]:
    """Train `rounds` times, each time without one of the groups of procedures, and decide at its points."""
    catalogue = read_catalogue(data)
    recorded = moments(read_points(data, "train", catalogue))
    steps = policy.learnt_steps(recorded, list(catalogue.values()))
    read = Moments(recorded, list(catalogue), embed)
    say("linear models")
    first = first_stage.fit(read)
    by_task: dict[str, list[tuple[bool, bool]]] = {}
    for group in first_stage.groups(list(catalogue))[:rounds]:
        say(f"without {', '.join(group)}")
        seen = {name: learnt for name, learnt in steps.items() if name not in group}
        procedures = compile_procedures([with_learnt_steps(one, seen) for one in catalogue.values()], embed)
        rankers = policy.fit(read, first, procedures, leave=group)
        ranking = Policy(first.linear, first.habits, rankers.procedures, rankers.steps, procedures, embed)
        for task, hit, call in _decide(ranking, read, first, group):
            by_task.setdefault(task, []).append((hit, call))
        say(str(_figures(by_task)))
    return _figures(by_task)


def _decide(
    ranking: Policy, read: Moments, first: first_stage.FirstStage, group: Sequence[str]
) -> list[tuple[str, bool, bool]]:
    """At points of the group: the procedure, whether the step was right, whether a call was recorded."""
    inside = np.flatnonzero(np.isin(read.active[first.unseen.rows], list(group)))
    chosen = np.random.default_rng(3).permutation(inside)[:CHECKED]
    found = []
    for place in chosen:
        ranked = ranking.rank(first.look(read, first.unseen, int(place)))
        moment = read.recorded[first.unseen.rows[place]]
        found.append((moment.task, choose(ranked, reject=False).step.name == moment.step, moment.kind == "call"))
    return found


def _figures(by_task: dict[str, list[tuple[bool, bool]]]) -> dict[str, Any]:
    points = [one for found in by_task.values() for one in found]
    return {
        "points": len(points),
        "next_action_accuracy": share(hit for hit, _ in points),
        "api_accuracy": share(hit for hit, call in points if call),
        "by_task": {task: share(hit for hit, _ in found) for task, found in sorted(by_task.items())},
    }
