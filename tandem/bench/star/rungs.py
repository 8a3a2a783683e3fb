"""The rungs that may decide at a recorded point: rules without training, the trained small models, a model, and the ladder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log, sqrt
from typing import Literal, Protocol, TypeAlias

from tandem.brains.brains import Brains, render
from tandem.brains.candidates import Reader
from tandem.brains.compiled import BAD, GOOD, is_call, is_negative, name_words
from tandem.brains.state import NO, YES, State, words
from tandem.brains.values import Api, Decision, Procedure, Situation, Step
from tandem.contracts.ticket import Cost

Name: TypeAlias = Literal["rules", "small", "llm", "ladder"]

_PLAIN = ("call", "mention", "number", "answer", "day", "yes_no", "kind")
"""Sources of values that need no judgement, the surest first."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, what a model was paid for it, and which rung made it."""

    decision: Decision
    cost: Cost = field(default_factory=Cost)
    rung: str = "small"


class Rung(Protocol):
    """Decides at recorded points. Blocking."""

    @property
    def apis(self) -> Mapping[str, Api]: ...

    def decide(self, situation: Situation) -> Decided: ...

    def fill(self, situation: Situation, api: Api, keys: Sequence[str] | None = None) -> dict[str, str] | None:
        """The call's parameters; those of `keys`, if given. None: it fills them only as it decides."""
        ...

    def route(self, situation: Situation) -> str:
        """The procedure."""
        ...


class Small:
    """The trained models."""

    def __init__(self, brains: Brains) -> None:
        self._brains = brains
        self.apis = {one.procedure.api.name: one.procedure.api for one in brains.policy.procedures}

    def decide(self, situation: Situation) -> Decided:
        return Decided(self._brains.decide(situation))

    def fill(self, situation: Situation, api: Api, keys: Sequence[str] | None = None) -> dict[str, str] | None:
        return self._brains.extractor.fill(situation, api, keys)

    def route(self, situation: Situation) -> str:
        return self._brains.route(situation)[0][0]


class Rules:
    """The procedure whose step was taken last, or that shares most telling words with the customer; and its graph. Nothing is
    trained."""

    def __init__(self, procedures: Sequence[Procedure]) -> None:
        self._procedures = {one.name: one for one in procedures}
        self._words = {one.name: _words_of(one) for one in procedures}
        count = Counter(word for own in self._words.values() for word in own)
        self._weight = {word: log(len(procedures) / times) for word, times in count.items()}
        self.apis = {one.api.name: one.api for one in procedures}
        shared = Counter(step.name for one in procedures for step in one.steps)
        everywhere = len(procedures) / 2
        self._owners: dict[str, list[str]] = {}  # of a step that not every procedure has
        for one in procedures:
            for step in one.steps:
                if shared[step.name] < everywhere:
                    self._owners.setdefault(step.name, []).append(one.name)

    def route(self, situation: Situation) -> str:
        state = State(situation)
        said = {word for text in state.said for word in words(text)}
        taken = [self._owners[act.name] for act in state.steps if act.name in self._owners]
        return max(taken[-1] if taken else self._procedures, key=lambda name: self._shared(said, name))

    def _shared(self, said: set[str], name: str) -> float:
        own = self._words[name]
        return float(sum(self._weight[word] for word in said & own)) / sqrt(max(1, len(own)))

    def decide(self, situation: Situation) -> Decided:
        state = State(situation)
        procedure = self._procedures[self.route(situation)]
        step = _next(procedure, state)
        params = (self.fill(situation, procedure.api) if step.api else None) or {}
        text = "" if step.api else render(step.text, state)
        made = Decision(procedure.name, step.kind, step.name, step.api, params, text, 1.0)
        return Decided(made, rung="rules")

    def fill(self, situation: Situation, api: Api, keys: Sequence[str] | None = None) -> dict[str, str] | None:
        reader = Reader(situation, api, {})
        found: dict[str, str] = {}
        for parameter in api.parameters:
            plain = [one for one in reader.find(parameter) if one.source in _PLAIN]
            if plain and (keys is None or parameter.name in keys):
                found[parameter.name] = min(plain, key=lambda one: (_PLAIN.index(one.source), one.back)).value
        return found


def _words_of(procedure: Procedure) -> frozenset[str]:
    texts = (procedure.scope, *(step.text for step in procedure.steps), *(p.label for p in procedure.api.parameters))
    return name_words(procedure.name) | {word for text in texts for word in words(text)}


def _next(procedure: Procedure, state: State) -> Step:
    """What the graph says follows the last step; without one, its beginning or its end."""
    steps = {step.name: step for step in procedure.steps}
    own = [act.name for act in state.steps if act.name in steps]
    label = _following(procedure, own[-1], state) if own else "hello"
    for _ in range(len(steps)):
        if label is None or label in steps:
            break
        label = procedure.api.name if is_call(label) else procedure.edges.get(label)
    ends = (name for name in ("anything_else", "goodbye_1") if name in steps)
    return steps[label] if label in steps else steps[next(ends, next(iter(steps)))]


def _following(procedure: Procedure, last: str, state: State) -> str | None:
    edges = procedure.edges
    if last == procedure.api.name:
        failed = is_negative(" ".join(map(str, state.fresh.values())))
        outcome = next((edges[name] for name in (BAD if failed else GOOD) if name in edges), None)
        return outcome or next((target for name, target in edges.items() if is_call(name)), None)
    if last in edges:
        return edges[last]
    if procedure.api.name not in {act.name for act in state.steps}:
        return procedure.api.name
    if NO.search(state.latest):
        return edges.get("no")
    return edges.get("yes") if YES.search(state.latest) else None


def _among(values: Sequence[str]) -> str:
    return f" ({' | '.join(values)})" if values else ""


def scripts(procedures: Iterable[Procedure]) -> str:
    """The procedures as a model is shown them."""
    return "\n\n".join(_script(one) for one in procedures)


def _script(procedure: Procedure) -> str:
    steps = [f"- {step.name} ({step.kind}): {' '.join(step.text.split())}" for step in procedure.steps]
    edges = "; ".join(f"{begin} → {end}" for begin, end in procedure.edges.items())
    parameters = "; ".join(f"{p.name}{_among(p.categories)}" for p in procedure.api.parameters)
    return "\n".join(
        (f"procedure {procedure.name}", *steps, f"order: {edges}", f"{procedure.api.name} takes: {parameters}")
    )
