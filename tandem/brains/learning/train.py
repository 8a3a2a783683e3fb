"""From recorded moments to a pack's models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np

from tandem.brains.brains import Brains, choose
from tandem.brains.compiled import compile_procedures
from tandem.brains.learning import first_stage, parameters, policy, rejection
from tandem.brains.learning.moments import Moment, Moments
from tandem.brains.policy import Policy, with_learnt_steps
from tandem.brains.values import Api, Embed, Procedure, Step

Say = Callable[[str], None]

CHECKED = 1_500
"""Moments at which the next step is checked."""

PARTS = 4


@dataclass(frozen=True)
class Trained:
    brains: Brains
    steps: dict[str, list[Step]]  # learnt beside those of the procedures


def train(recorded: Sequence[Moment], procedures: Sequence[Procedure], embed: Embed, today: date, say: Say) -> Trained:
    """Train all models. `say` is told of the progress."""
    known = {procedure.name for procedure in procedures}
    usable = [moment for moment in recorded if moment.task in known]
    say(f"reading {len(usable)} moments")
    steps = policy.learnt_steps(usable, procedures)
    compiled = compile_procedures([with_learnt_steps(one, steps) for one in procedures], embed)
    moments = Moments(usable, procedures, embed)
    say("linear models")
    first = first_stage.fit(moments, compiled)
    say("rankers")
    rankers = policy.fit(moments, first, compiled)
    say("rejection")
    rejector, figures = rejection.fit(moments, first, compiled)
    ranking = Policy(first.linear, first.habits, rankers.procedures, rankers.steps, compiled, embed)
    figures |= _checked(ranking, moments, first)
    say("parameters")
    apis = {api.name: api for one in procedures for api in (one.api, *one.others)}
    extractor = parameters.fit(*recorded_calls(usable, apis))
    facts = {
        "data": data_hash(usable),
        "date": today.isoformat(),
        "moments": len(usable),
        "procedures": sorted({moment.task for moment in usable}),
        "figures": figures,
    }
    return Trained(Brains(ranking, extractor, rejector, facts), steps)


def recorded_calls(recorded: Sequence[Moment], apis: dict[str, Api]) -> tuple[list[parameters.Call], list[int]]:
    """The calls among the moments, and which part each belongs to."""
    calls = [moment for moment in recorded if moment.kind == "call" and moment.step in apis]
    return (
        [parameters.Call(one.situation, apis[one.step], one.params) for one in calls],
        [one.dialogue % PARTS for one in calls],
    )


def _checked(ranking: Policy, moments: Moments, first: first_stage.FirstStage) -> dict[str, float]:
    """How often the next step is right, with scores of models that had not seen the dialogue; the trees had seen half."""
    at = np.random.default_rng(5).permutation(len(moments.states))[:CHECKED]
    right = 0
    for place in at:
        ranked = ranking.rank(first.look(moments, first.seen, int(place)))
        right += choose(ranked, reject=False).step.name == moments.labels[place]
    return {"next_step_accuracy": round(right / len(at), 4), "checked": float(len(at))}


def data_hash(recorded: Sequence[Moment]) -> str:
    """Of the moments trained on."""
    digest = hashlib.blake2b(digest_size=16)
    for moment in recorded:
        last = [asdict(turn) for turn in moment.situation.turns[-1:]]
        digest.update(f"{moment.dialogue} {moment.task} {moment.step} {moment.params} {moment.text} {last}".encode())
    return digest.hexdigest()
