"""The next-step policy: a linear model proposes, trees rank the procedures, then their steps. A procedure that was in no training
dialogue has no linear score, and is ranked by its graph and its texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log

import numpy as np

from tandem.brains.compiled import Compiled, Floats
from tandem.brains.habits import Habits, alike
from tandem.brains.linear import Linear
from tandem.brains.rank_features import NAN, Seen, procedure_features, return_text, step_features, telling
from tandem.brains.state import State
from tandem.brains.trees import Trees
from tandem.brains.values import Embed, Procedure, Situation, Step, Vectors

DIMENSIONS = 384
LOOKED_AT = 3
"""Procedures whose steps are ranked."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A step that may come next."""

    procedure: str
    step: Step
    score: float  # log odds


@dataclass(frozen=True)
class Policy:
    """Ranks what may be done next. Blocking; a few milliseconds beside the embedding."""

    linear: Linear
    habits: Habits
    procedure_trees: Trees
    step_trees: Trees
    procedures: Sequence[Compiled]
    embed: Embed

    @cached_property
    def weights(self) -> Mapping[str, float]:
        return telling(self.procedures)

    def see(self, situation: Situation) -> Seen:
        """The situation, embedded and scored."""
        return look(State(situation), self.embed, self.linear, self.habits)

    def route(self, seen: Seen) -> list[tuple[str, float]]:
        """Procedures by how likely they are the active one, the likeliest first."""
        scores = self.procedure_trees.predict(procedure_features(seen, self.procedures, self.weights))
        chances = softmax(scores)
        order = np.argsort(-scores, kind="stable")
        return [(self.procedures[at].name, float(chances[at])) for at in order]

    def rank(self, seen: Seen) -> list[Ranked]:
        """Steps of the likeliest procedures, the best first."""
        scores = self.procedure_trees.predict(procedure_features(seen, self.procedures, self.weights))
        chosen = np.argsort(-scores, kind="stable")[:LOOKED_AT]
        if self.procedures[chosen[0]].name not in seen.tasks:
            chosen = chosen[:1]  # of steps without scores, none would stand against the others' that have some
        rows = [step_features(seen, self.procedures[at], standing(scores, int(at))) for at in chosen]
        steps = [(self.procedures[at].name, step) for at in chosen for step in self.procedures[at].steps]
        found = self.step_trees.predict(np.concatenate(rows))
        order = np.argsort(-found, kind="stable")
        odds = log_odds(softmax(found))
        return [Ranked(steps[at][0], steps[at][1], odds[at]) for at in order]


def look(state: State, embed: Embed, linear: Linear, habits: Habits) -> Seen:
    """What the rankers need of a state."""
    answer = return_text(state)
    texts = [*state.said, *([state.free] if state.free else []), *([answer] if answer else [])]
    vectors = dict(zip(texts, embed(texts), strict=True)) if texts else {}
    latest, mean = said_vectors(state, vectors)
    scores = linear.scores(state, latest, mean)
    free, returned, usual = vectors.get(state.free), vectors.get(answer), habits.of(alike(state))
    return Seen(state, latest, mean, free, returned, scores, usual)


def said_vectors(state: State, vectors: Mapping[str, Vectors]) -> tuple[Vectors, Vectors]:
    """Of the customer's last message, and the mean of all."""
    if not state.said:
        nothing = np.zeros(DIMENSIONS, np.float32)
        return nothing, nothing
    said = np.stack([vectors[text] for text in state.said])
    return said[-1], said.mean(axis=0)


def standing(scores: Floats | np.ndarray[tuple[int, ...], np.dtype[np.float64]], at: int) -> list[float]:
    """A procedure's place among all: behind the best by how much, its share, how many are before it."""
    best = float(scores.max())
    chances = softmax(scores)
    return [float(scores[at]) - best, float(chances[at]), float((scores > scores[at]).sum())]


def softmax(scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | Floats) -> Floats:
    raised = np.exp(scores - scores.max())
    shares: Floats = (raised / raised.sum()).astype(np.float32)
    return shares


def log_odds(shares: Floats) -> list[float]:
    return [log(max(float(one), 1e-9)) - log(max(1 - float(one), 1e-9)) for one in shares]


def chance(odds: float) -> float:
    """Of log odds."""
    return 1 / (1 + exp(-max(-30.0, min(30.0, odds))))


def with_learnt_steps(procedure: Procedure, learnt: Mapping[str, Sequence[Step]]) -> Procedure:
    """The procedure with steps that recorded agents took under it though its text has them not."""
    more = tuple(
        step for step in learnt.get(procedure.name, ()) if all(step.name != own.name for own in procedure.steps)
    )
    return replace(procedure, steps=procedure.steps + more)


__all__ = ["NAN", "Policy", "Ranked", "chance", "look", "standing", "with_learnt_steps"]
