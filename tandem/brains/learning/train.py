"""From recorded moments to a pack's models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np

from tandem.brains.brains import NEVER, OUT_OF_SCOPE, Brains, is_rejection, rejection
from tandem.brains.compiled import compile_procedures
from tandem.brains.learning import first_stage, parameters, policy
from tandem.brains.learning.moments import Moment, Moments
from tandem.brains.policy import Policy, with_learnt_steps
from tandem.brains.values import Api, Embed, Procedure, Step

Say = Callable[[str], None]

FALSE_REJECTS = 0.006
"""Share of moments at which a rejection may be wrong, on moments that the rankers were not trained on."""

CHECKED = 3_000
FEW = 10
"""Recorded rejections below which none is made."""

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
    tasks = [one.name for one in compiled]
    moments = Moments(usable, tasks, embed)
    say("linear models")
    first = first_stage.fit(moments)
    say("rankers")
    rankers = policy.fit(moments, first, compiled)
    say("rejection")
    ranking = Policy(first.linear, rankers.procedures, rankers.steps, compiled, embed)
    threshold, figures = _threshold(ranking, moments, first)
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
    return Trained(Brains(ranking, extractor, threshold, facts), steps)


def recorded_calls(recorded: Sequence[Moment], apis: dict[str, Api]) -> tuple[list[parameters.Call], list[int]]:
    """The calls among the moments, and which part each belongs to."""
    calls = [moment for moment in recorded if moment.kind == "call" and moment.step in apis]
    return (
        [parameters.Call(one.situation, apis[one.step], one.params) for one in calls],
        [one.dialogue % PARTS for one in calls],
    )


def _threshold(ranking: Policy, moments: Moments, first: first_stage.FirstStage) -> tuple[float, dict[str, float]]:
    """The rejection's threshold, and how the policy does, on moments with scores of models that had not seen them."""
    chance = np.random.default_rng(5)
    at = chance.permutation(len(moments.states))[:CHECKED]
    margins: list[float] = []
    right = 0
    for place in at:
        ranked = ranking.rank(moments.seen(int(place), first.seen.scores[place], first.linear.labels))
        margins.append(rejection(ranked))
        right += next(one for one in ranked if not is_rejection(one)).step.name == moments.labels[place]
    others = sorted(
        (m for m, place in zip(margins, at, strict=True) if moments.labels[place] != OUT_OF_SCOPE), reverse=True
    )
    if not others:
        return NEVER, {}
    learnt = moments.labels.count(OUT_OF_SCOPE) >= FEW
    threshold = others[min(len(others) - 1, int(FALSE_REJECTS * len(others)))] if learnt else NEVER
    return threshold, {"next_step_accuracy": round(right / len(at), 4), "checked": float(len(at))}


def data_hash(recorded: Sequence[Moment]) -> str:
    """Of the moments trained on."""
    digest = hashlib.blake2b(digest_size=16)
    for moment in recorded:
        last = [asdict(turn) for turn in moment.situation.turns[-1:]]
        digest.update(f"{moment.dialogue} {moment.task} {moment.step} {moment.params} {moment.text} {last}".encode())
    return digest.hexdigest()
