"""The upper rungs of the benchmark: a model decides at each point, or only where the small models are unsure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from tandem.asking import Account, Output, Question, Unfit, ask, typed
from tandem.bench.star.rungs import Decided, Rules, Rung, scripts
from tandem.brains.brains import render
from tandem.brains.state import State
from tandem.brains.values import Api, Decision, Procedure, Situation, Turn
from tandem.errors import Unavailable
from tandem.prompts import Data, Inputs, load
from tandem.rpc.ports import Llm

SECONDS = 120.0
SURE = 0.6
"""Confidence of the small models from which the ladder asks nobody."""


class StepInputs(Inputs):
    """`procedures` are the business's; the rest is what was said and returned."""

    procedures: str
    today: Data
    conversation: Data


class NextStep(Output):
    procedure: str
    step: str
    parameters: dict[str, str] = Field(default_factory=dict)
    confidence: float = Field(ge=0, le=1)


STEP = load(Path(__file__).parent, "step", StepInputs)


class Large:
    """Asks a model each time; where its answers cannot be used, the rung below decides, as it does in the services: rules. Raises
    Unavailable when it does not answer: a point left out would be no figure."""

    def __init__(self, procedures: Sequence[Procedure], llm: Llm, runner: asyncio.Runner) -> None:
        self._procedures = {one.name: one for one in procedures}
        self._shown = scripts(procedures)
        self._shape = NextStep.shape()
        self._shape["properties"]["procedure"] = {"enum": [*self._procedures]}
        self._shape["properties"]["step"] = {"enum": sorted({step.name for one in procedures for step in one.steps})}
        self._llm = llm
        self._runner = runner
        self._rules = Rules(procedures)
        self.apis: Mapping[str, Api] = {one.api.name: one.api for one in procedures}

    def decide(self, situation: Situation) -> Decided:
        return self.instead_of(self._rules.decide(situation), situation)

    def instead_of(self, first: Decided, situation: Situation) -> Decided:
        """The model's decision; `first` where its answers cannot be used."""
        inputs = StepInputs(procedures=self._shown, today=situation.today, conversation=_conversation(situation))
        question = Question(STEP, inputs, self._shape, self._read)
        said = self._runner.run(ask(self._llm, question, Account(tenant="bench", seconds=SECONDS)))
        if said.outcome == "unavailable":
            raise Unavailable(f"the model gave no step ({SECONDS:.0f} s are allowed): {said.why}")
        if said.value is None:
            return replace(first, cost=said.cost)
        return Decided(self._decision(said.value, State(situation)), said.cost, "large")

    def fill(self, situation: Situation, api: Api, keys: Sequence[str] | None = None) -> dict[str, str] | None:
        return None

    def route(self, situation: Situation) -> str:
        return self.decide(situation).decision.task

    def _read(self, text: str) -> NextStep:
        found = typed(NextStep)(text)
        procedure = self._procedures.get(found.procedure)
        if procedure is None:
            raise Unfit(f"there is no procedure {found.procedure!r}")
        steps = [step.name for step in procedure.steps]
        if found.step not in steps:
            raise Unfit(f"there is no step {found.step!r} in {procedure.name}; it has {', '.join(steps)}")
        return found

    def _decision(self, found: NextStep, state: State) -> Decision:
        steps = self._procedures[found.procedure].steps
        step = next(one for one in steps if one.name == found.step)
        params = found.parameters if step.api else {}
        text = "" if step.api else render(step.text, state)
        return Decision(found.procedure, step.kind, step.name, step.api, params, text, found.confidence)


class Ladder:
    """The small models; where they are unsure, the model."""

    def __init__(self, small: Rung, large: Large) -> None:
        self._small = small
        self._large = large
        self.apis = small.apis

    def decide(self, situation: Situation) -> Decided:
        first = self._small.decide(situation)
        return first if first.decision.confidence >= SURE else self._large.instead_of(first, situation)

    def fill(self, situation: Situation, api: Api, keys: Sequence[str] | None = None) -> dict[str, str] | None:
        return self._small.fill(situation, api, keys)

    def route(self, situation: Situation) -> str:
        return self._small.route(situation)


def _conversation(situation: Situation) -> str:
    return "\n".join(map(_line, situation.turns))


def _line(turn: Turn) -> str:
    match turn.who:
        case "call":
            return f"call {turn.api}: {dict(turn.params)}"
        case "return":
            return f"return: {dict(turn.item)}"
    return f"{turn.who}{f' [{turn.step}]' if turn.step else ''}: {turn.text}"
