"""Training of the rankers on two sources: moments scored by models of other dialogues, and moments scored by models that
never saw the procedure, whose score is missing. So the rankers learn when to fall back on graph and text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Compiled, Floats
from tandem.brains.learning.boosting import boost
from tandem.brains.learning.first_stage import FirstStage, Scored
from tandem.brains.learning.moments import Moment, Moments, followed
from tandem.brains.policy import LOOKED_AT, standing
from tandem.brains.rank_features import procedure_features, step_features, telling
from tandem.brains.trees import Trees
from tandem.brains.values import Procedure, Step

FEW = 5
SEEN = 26_000
HIDDEN = 11_000
BESIDE = 2_500
"""Moments learnt from, about so many at most: scored by models of other dialogues; of hidden procedures; others scored without
these."""

ROUNDS = 250


@dataclass(frozen=True)
class Rankers:
    procedures: Trees
    steps: Trees


@dataclass(frozen=True)
class Source:
    """Moments with their scores, and the features of all procedures for each."""

    scored: Scored
    features: Floats  # [moment, procedure, feature]
    gold: NDArray[np.int64]  # which procedure


def learnt_steps(recorded: Sequence[Moment], procedures: Sequence[Procedure]) -> dict[str, list[Step]]:
    """Steps that agents took under a procedure though it does not have them, with their usual words."""
    known = {procedure.name: {step.name for step in procedure.steps} for procedure in procedures}
    texts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    kinds = {}
    for moment, task in zip(recorded, followed(recorded, procedures), strict=True):
        if moment.kind != "call" and moment.step not in known.get(task, {moment.step}):
            texts[task, moment.step][moment.text] += 1
            kinds[moment.step] = moment.kind
    found: dict[str, list[Step]] = defaultdict(list)
    for (task, name), said in sorted(texts.items()):
        if said.total() >= FEW:
            found[task].append(Step(name, kinds[name], said.most_common(1)[0][0]))
    return dict(found)


def fit(moments: Moments, first: FirstStage, procedures: Sequence[Compiled], leave: Sequence[str] = ()) -> Rankers:
    """`leave`: procedures whose dialogues are left out, to measure how the rankers do on them."""
    chance = np.random.default_rng(11)
    out = moments.touches(leave) if leave else np.zeros(len(moments.states), np.bool_)
    rejecting = np.array([moment.kind == "reject" for moment in moments.recorded])
    task = len(first.linear.labels) + np.array([moments.tasks.index(one) for one in moments.active])
    hidden = np.isnan(first.unseen.scores[np.arange(len(first.unseen.rows)), task[first.unseen.rows]])
    shares = (
        np.full(len(first.seen.rows), SEEN / len(first.seen.rows)),
        np.where(hidden, HIDDEN / max(1, hidden.sum()), BESIDE / max(1, (~hidden).sum())),
    )
    sources = [
        _source(moments, first, _some(scored, out, rejecting, share, chance), procedures)
        for scored, share in zip((first.seen, first.unseen), shares, strict=True)
    ]
    halves = [moments.dialogues[source.scored.rows] % 2 for source in sources]
    by_half = [_fit_procedures(sources, [half != number for half in halves]) for number in (0, 1)]
    tables = [
        _steps(moments, first, procedures, source, half, by_half) for source, half in zip(sources, halves, strict=True)
    ]
    rows = np.concatenate([table[0] for table in tables])
    right = np.concatenate([table[1] for table in tables])
    groups = [size for table in tables for size in table[2]]
    everything = _fit_procedures(sources, [np.ones(len(source.gold), np.bool_) for source in sources])
    return Rankers(everything, boost(rows, right, ROUNDS, leaves=48, rate=0.05, groups=groups))


def _some(
    scored: Scored, out: NDArray[np.bool_], rare: NDArray[np.bool_], share: Floats, chance: np.random.Generator
) -> Scored:
    """A share of the moments, and all of the rare ones."""
    kept = ((chance.random(len(scored.rows)) < share) | rare[scored.rows]) & ~out[scored.rows]
    return scored.some(kept)


def _source(moments: Moments, first: FirstStage, scored: Scored, procedures: Sequence[Compiled]) -> Source:
    weights = telling(procedures)
    names = [one.name for one in procedures]
    features = [
        procedure_features(first.look(moments, scored, number), procedures, weights)
        for number in range(len(scored.rows))
    ]
    gold = np.array([names.index(moments.active[at]) for at in scored.rows])
    return Source(scored, np.stack(features), gold)


def _fit_procedures(sources: Sequence[Source], kept: Sequence[NDArray[np.bool_]]) -> Trees:
    rows = np.concatenate([source.features[keep] for source, keep in zip(sources, kept, strict=True)])
    gold = np.concatenate([source.gold[keep] for source, keep in zip(sources, kept, strict=True)])
    count, procedures, width = rows.shape
    right = (gold[:, None] == np.arange(procedures)).ravel()
    return boost(rows.reshape(-1, width), right, 80, leaves=24, rate=0.1, groups=[procedures] * count, forests=3)


def _steps(
    moments: Moments,
    first: FirstStage,
    procedures: Sequence[Compiled],
    source: Source,
    half: NDArray[np.int64],
    by_half: Sequence[Trees],
) -> tuple[Floats, NDArray[np.bool_], list[int]]:
    """Rows of the steps' ranker, for each moment those of the right procedure and of the likeliest others; which are right; how
    many each moment has."""
    rows: list[Floats] = []
    sizes: list[int] = []
    right: list[NDArray[np.bool_]] = []
    for number, at in enumerate(source.scored.rows):
        scores = by_half[half[number]].predict(source.features[number])
        gold = int(source.gold[number])
        chosen = [gold, *(int(one) for one in np.argsort(-scores, kind="stable") if one != gold)][:LOOKED_AT]
        seen = first.look(moments, source.scored, number)
        step = moments.labels[at]
        begun = len(right)
        for place in chosen:
            one = procedures[place]
            same = np.array([own.name == step for own in one.steps])
            kept = np.ones(len(same), np.bool_) if place == gold else ~same
            rows.append(step_features(seen, one, standing(scores, place))[kept])
            right.append(same[kept])
        sizes.append(sum(map(len, right[begun:])))
    return np.concatenate(rows), np.concatenate(right), sizes
