"""Recorded moments as training wants them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Floats
from tandem.brains.habits import Counts, alike
from tandem.brains.linear import named
from tandem.brains.policy import said_vectors
from tandem.brains.rank_features import Seen, return_text
from tandem.brains.state import State
from tandem.brains.values import Embed, Situation, StepKind, Vectors


@dataclass(frozen=True, slots=True)
class Moment:
    """A situation in a recorded dialogue, and what the agent did."""

    situation: Situation
    dialogue: int  # number of the dialogue
    task: str  # the active procedure
    kind: StepKind
    step: str  # its name; of a call the API's
    params: dict[str, str]
    text: str = ""


class Moments:
    """All of them, read and embedded."""

    def __init__(self, recorded: Sequence[Moment], tasks: Sequence[str], embed: Embed) -> None:
        self.recorded = recorded
        self.tasks = tasks
        self.states = [State(moment.situation) for moment in recorded]
        self.labels = [moment.step for moment in recorded]
        self.active = np.array([moment.task for moment in recorded])
        order = {dialogue: at for at, dialogue in enumerate(dict.fromkeys(one.dialogue for one in recorded))}
        self.dialogues = np.array([order[moment.dialogue] for moment in recorded])
        self._vectors = _embedded(self.states, embed)

    @cached_property
    def _said(self) -> list[tuple[Vectors, Vectors]]:
        return [said_vectors(state, self._vectors) for state in self.states]

    @cached_property
    def latest(self) -> Floats:
        return np.stack([latest for latest, _ in self._said])

    @cached_property
    def mean(self) -> Floats:
        return np.stack([mean for _, mean in self._said])

    def touches(self, tasks: Collection[str]) -> NDArray[np.bool_]:
        """Moments of dialogues in which one of the procedures was active."""
        inside = np.isin(self.active, list(tasks))
        dialogues = set(self.dialogues[inside].tolist())
        return np.array([dialogue in dialogues for dialogue in self.dialogues])

    @cached_property
    def alike(self) -> list[list[str]]:
        """Of each moment its keys of moments alike."""
        return [alike(state) for state in self.states]

    def seen(self, at: int, scores: Floats, labels: Sequence[str], usual: Sequence[Counts]) -> Seen:
        """A moment with the linear model's scores."""
        state = self.states[at]
        latest, mean = self._said[at]
        free, answer = self._vectors.get(state.free), self._vectors.get(return_text(state))
        return Seen(state, latest, mean, free, answer, named(scores, labels, self.tasks), usual)


def _embedded(states: Sequence[State], embed: Embed) -> dict[str, Vectors]:
    texts = dict.fromkeys(text for state in states for text in (*state.said, state.free, return_text(state)) if text)
    names = list(texts)
    return dict(zip(names, embed(names), strict=True)) if names else {}
