"""Recorded moments as training wants them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Floats
from tandem.brains.habits import Counts, alike
from tandem.brains.linear import named
from tandem.brains.policy import said_vectors
from tandem.brains.rank_features import Seen, return_text
from tandem.brains.state import State
from tandem.brains.values import Embed, Procedure, Situation, StepKind, Vectors


@dataclass(frozen=True, slots=True)
class Moment:
    """A situation in a recorded dialogue, and what the agent did."""

    situation: Situation
    dialogue: int  # number of the dialogue
    task: str  # the active procedure, as it was recorded
    kind: StepKind
    step: str  # its name; of a call the API's
    params: dict[str, str]
    text: str = ""


class Moments:
    """All of them, read and embedded."""

    def __init__(self, recorded: Sequence[Moment], procedures: Sequence[Procedure], embed: Embed) -> None:
        self.recorded = recorded
        self.tasks = [one.name for one in procedures]
        self.states = [State(moment.situation) for moment in recorded]
        self.labels = [moment.step for moment in recorded]
        self.active = np.array(followed(recorded, procedures))
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
        """Moments of dialogues in which one of the procedures was active, or was recorded as active."""
        inside = self.within(tasks)
        dialogues = set(self.dialogues[inside].tolist())
        return np.array([dialogue in dialogues for dialogue in self.dialogues])

    def within(self, tasks: Collection[str]) -> NDArray[np.bool_]:
        """Moments at which one of the procedures was active, or was recorded as active."""
        recorded = np.array([moment.task for moment in self.recorded])
        inside: NDArray[np.bool_] = np.isin(self.active, list(tasks)) | np.isin(recorded, list(tasks))
        return inside

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


def followed(recorded: Sequence[Moment], procedures: Sequence[Procedure]) -> list[str]:
    """Of each moment the procedure whose steps the agent took; agents who turn to another forget to say so. A step that one
    procedure alone has tells which; one that several have belongs to the one told last, or first, under the same record."""
    owners: dict[str, set[str]] = defaultdict(set)
    for procedure in procedures:
        for step in procedure.steps:
            owners[step.name].add(procedure.name)
    found: list[str] = []
    for (_, task), part in groupby(recorded, key=lambda moment: (moment.dialogue, moment.task)):
        having = [owners[moment.step] for moment in part]
        current = next((min(one) for one in having if len(one) == 1), task)
        for one in having:
            if len(one) == 1 or (task in one and current not in one):
                current = task if task in one else min(one)
            found.append(current)
    return found


def _embedded(states: Sequence[State], embed: Embed) -> dict[str, Vectors]:
    texts = dict.fromkeys(text for state in states for text in (*state.said, state.free, return_text(state)) if text)
    names = list(texts)
    return dict(zip(names, embed(names), strict=True)) if names else {}
