"""A procedure prepared for ranking: its steps as arrays."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tandem.brains.mentions import Mentions
from tandem.brains.state import words
from tandem.brains.values import Embed, Parameter, Procedure, Step, StepKind, Vectors

Floats = NDArray[np.float32]

KINDS: tuple[StepKind, ...] = ("ask", "ask_confirm", "call", "reply", "reject", "close")
GOOD = ("query_success", "available", "correct")
BAD = ("query_failure", "unavailable", "incorrect", "noanswer")
MISSING = ("info_missing", "info_missing2")
CONDITIONS = frozenset((*GOOD, *BAD, *MISSING, "yes", "no", "done"))
ROLES = 4 * len(KINDS)
"""What a step may be under any procedure: of its kind, what follows a success, a failure, the last step, or none of them."""

FAR = 7
"""Steps along the graph beyond which they are all far."""

_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NEGATIVE = re.compile(
    r"sorry|unfortunately|\bno\b|\bnot\b|n't|fail|unavailable|denied|reject|invalid|incorrect|wrong|cannot", re.I
)


def name_words(name: str) -> frozenset[str]:
    """The words of a name such as `StartTimeHour` or `bank_ask_pin`."""
    return frozenset(part.lower() for part in _CAMEL.findall(name.replace("_", " ")))


def is_negative(text: str) -> bool:
    return _NEGATIVE.search(text) is not None


def is_call(label: str) -> bool:
    """Whether a graph's label is a call: `query`, `query_book` …"""
    return re.fullmatch(r"query(_(?!success|failure)\w+)?", label) is not None


@dataclass(frozen=True)
class Compiled:
    """What never changes while a pack is served."""

    procedure: Procedure
    texts: Vectors  # of the steps
    scope: Vectors  # of the sentence that says what it is for, and of its name

    @property
    def name(self) -> str:
        return self.procedure.name

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.procedure.steps

    @cached_property
    def index(self) -> Mapping[str, int]:
        return {step.name: at for at, step in enumerate(self.steps)}

    @cached_property
    def kinds(self) -> Floats:
        return np.array([KINDS.index(step.kind) for step in self.steps], np.float32)

    @cached_property
    def call(self) -> int:
        return self.index[self.procedure.api.name]

    def _at(self, label: str | None) -> int | None:
        """Which step a label of the graph is; all calls are one."""
        return None if label is None else self.call if is_call(label) else self.index.get(label)

    @cached_property
    def successors(self) -> Floats:
        """[a, b] = 1 where b may follow a; what follows a call by its outcome, too."""
        found = np.zeros((len(self.steps),) * 2, np.float32)
        for label, target in self.procedure.edges.items():
            begin = self.call if label in (*GOOD, *BAD) else self._at(label)
            end = self._at(target)
            if begin is not None and end is not None:
                found[begin, end] = 1
        return found

    @cached_property
    def distances(self) -> Floats:
        """[a, b]: steps from a to b along the graph; FAR if there is no short way."""
        found = np.full(self.successors.shape, FAR, np.float32)
        reach = np.eye(len(self.steps), dtype=np.float32)
        for distance in range(FAR):
            found[(reach > 0) & (found == FAR)] = distance
            reach = reach @ self.successors
        return found

    @cached_property
    def depths(self) -> Floats:
        """Steps from the beginning; of a step that the graph does not reach NaN."""
        first = self._at("hello")
        begin = first if first is not None else 0
        depth = np.full(len(self.steps), np.nan, np.float32)
        depth[begin] = 0
        waiting = [begin]
        while waiting:
            at = waiting.pop(0)
            for following in np.flatnonzero(self.successors[at]):
                if np.isnan(depth[following]):
                    depth[following] = depth[at] + 1
                    waiting.append(int(following))
        return depth

    def _targets(self, conditions: Sequence[str]) -> Floats:
        found = np.zeros(len(self.steps), np.float32)
        for condition in conditions:
            at = self._at(self.procedure.edges.get(condition))
            if at is not None:
                found[at] = 1
        return found

    @cached_property
    def targets(self) -> Floats:
        """Which steps are the target of a condition: yes, no, good, bad, missing, done, or of a call itself."""
        calls = [label for label in self.procedure.edges if is_call(label)]
        groups = (("yes",), ("no",), GOOD, BAD, MISSING, ("done",), calls)
        return np.stack([self._targets(group) for group in groups], axis=1)

    def roles(self, last: int | None) -> NDArray[np.int64]:
        """Of each step its role after another."""
        good, bad = self.targets[:, 2], self.targets[:, 3]
        after = self.successors[last] if last is not None else self.depths == 0
        place = np.where(good > 0, 0, np.where(bad > 0, 1, np.where(after > 0, 2, 3)))
        roles: NDArray[np.int64] = self.kinds.astype(np.int64) * 4 + place
        return roles

    @cached_property
    def placeholders(self) -> list[frozenset[str]]:
        """Of each step the words of its placeholders."""
        return [frozenset().union(*map(name_words, _PLACEHOLDER.findall(step.text))) for step in self.steps]

    @cached_property
    def negative(self) -> Floats:
        return np.array([is_negative(f"{step.text} {step.name.replace('_', ' ')}") for step in self.steps], np.float32)

    @cached_property
    def vocabulary(self) -> list[frozenset[str]]:
        return [frozenset(words(f"{step.text} {step.name.replace('_', ' ')}")) for step in self.steps]

    @cached_property
    def own_words(self) -> Counter[str]:
        """Words of all its texts, of its API's parameters and of their values."""
        api = self.procedure.api
        values = " ".join(" ".join((p.label, *p.categories)) for p in api.parameters)
        return Counter(
            words(
                f"{self.procedure.scope} {' '.join(step.text for step in self.steps)} {values} {self.name.replace('_', ' ')}"
            )
        )

    @cached_property
    def mentions(self) -> Mentions:
        return Mentions(self.procedure.api.parameters)

    @cached_property
    def asks(self) -> list[int]:
        """Questions of the main way, in its order."""
        order = np.argsort(np.where(np.isnan(self.depths), 99, self.depths), kind="stable")
        return [int(at) for at in order if self.steps[at].kind == "ask" and not np.isnan(self.depths[at])]

    @cached_property
    def asked(self) -> Mapping[int, Parameter]:
        """Which parameter each question asks for, by its words."""
        pairs = [
            (overlap(step, parameter), at, parameter)
            for at, step in enumerate(self.steps)
            if step.kind == "ask"
            for parameter in self.procedure.api.parameters
        ]
        found: dict[int, Parameter] = {}
        taken: set[str] = set()
        for score, at, parameter in sorted(pairs, key=lambda pair: -pair[0]):
            if score > 0 and at not in found and parameter.name not in taken:
                found[at] = parameter
                taken.add(parameter.name)
        return found


def overlap(step: Step, parameter: Parameter) -> float:
    """How much of a parameter's name a question's words hold."""
    asked = name_words(step.name.split("ask_")[-1]) | set(words(step.text))
    named = name_words(parameter.name) | set(words(parameter.label))
    return len(asked & named) / max(1, len(named)) - 0.01 * len(named - asked)


def compile_procedures(procedures: Sequence[Procedure], embed: Embed) -> list[Compiled]:
    """All procedures of a pack."""
    found: list[Compiled] = []
    for procedure in procedures:
        texts = embed([_PLACEHOLDER.sub(r"\1", step.text) or step.name.replace("_", " ") for step in procedure.steps])
        scope = embed([procedure.scope or procedure.name, procedure.name.replace("_", " ")])
        found.append(Compiled(procedure, texts, scope))
    return found
