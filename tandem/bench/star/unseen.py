"""How the policy does under a procedure that was in no training dialogue: the train split's are left out one at a time."""

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

CHECKED = 600
"""Points of a procedure at most."""

Say = Callable[[str], None]


def measure_unseen(data: Path, embed: Embed, say: Say, rounds: int) -> dict[str, Any]:
    """Train `rounds` times, each time without every dialogue that touches one of the procedures, and decide at its points."""
    catalogue = read_catalogue(data)
    recorded = moments(read_points(data, "train", catalogue))
    steps = policy.learnt_steps(recorded, list(catalogue.values()))
    compiled = compile_procedures([with_learnt_steps(one, steps) for one in catalogue.values()], embed)
    read = Moments(recorded, list(catalogue.values()), embed)
    say("linear models")
    chosen = among(list(catalogue), rounds)
    first = first_stage.fit(read, compiled, [[name] for name in chosen])
    by_task: dict[str, list[tuple[bool, bool]]] = {}
    for name, left in zip(chosen, first.left, strict=True):
        say(f"without {name}")
        seen = {task: learnt for task, learnt in steps.items() if task != name}
        procedures = compile_procedures([with_learnt_steps(one, seen) for one in catalogue.values()], embed)
        rankers = policy.fit(read, first, procedures, leave=[name])
        ranking = Policy(first.linear, first.habits, rankers.procedures, rankers.steps, procedures, embed)
        by_task[name] = _decide(ranking, read, first, left, name)
        say(str(_figures(by_task)))
    return _figures(by_task)


def among(names: Sequence[str], count: int) -> list[str]:
    """So many, evenly over the list."""
    taken = min(count, len(names))
    return [names[at * len(names) // taken] for at in range(taken)]


def _decide(
    ranking: Policy, read: Moments, first: first_stage.FirstStage, left: first_stage.Scored, name: str
) -> list[tuple[bool, bool]]:
    """At points recorded as the procedure's: whether the step was right, whether a call was recorded."""
    found = []
    left = left.some(np.array([read.recorded[at].task == name for at in left.rows]))
    for place in np.random.default_rng(3).permutation(len(left.rows))[:CHECKED]:
        ranked = ranking.rank(first.look(read, left, int(place)))
        moment = read.recorded[left.rows[place]]
        found.append((choose(ranked, reject=False).step.name == moment.step, moment.kind == "call"))
    return found


def _figures(by_task: dict[str, list[tuple[bool, bool]]]) -> dict[str, Any]:
    points = [one for found in by_task.values() for one in found]
    return {
        "points": len(points),
        "next_action_accuracy": share(hit for hit, _ in points),
        "api_accuracy": share(hit for hit, call in points if call),
        "by_task": {task: share(hit for hit, _ in found) for task, found in sorted(by_task.items())},
        "api_by_task": {task: share(hit for hit, call in found if call) for task, found in sorted(by_task.items())},
    }
