"""Customers played by a model: it reads what they were told and asked, and answers in character. Its answers are typed and held
to what was asked; where none can be used the customer says the usual. Tools and experts are drawn by a seed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from tandem.asking import Account, Output, Unfit, ask, typed
from tandem.asking import Question as Prompted
from tandem.contracts.ticket import Choice, Question
from tandem.contracts.values import Json
from tandem.errors import Unavailable
from tandem.packs.examples import Outcome, slot_value
from tandem.packs.model import Flow, Pack, Slot
from tandem.prompts import Data, Inputs, load
from tandem.rpc.ports import Llm

SECONDS = 60.0
CHARACTERS = {
    "answers plainly": "You give what you are asked for, and agree to what is offered.",
    "in a hurry": "You give as little as you can: of several values one, and you agree to anything.",
    "unsure": "You mistype the first value you give, and often cannot say.",
    "changes their mind": "You give what you are asked for, and when you are to confirm something you say no.",
}
USUAL, APPROVED = 0.75, 0.8


class CustomerInputs(Inputs):
    """`wanted` is the pack's: the values, or that a yes or no, or an option, is asked for."""

    matter: str
    character: str
    wanted: str
    conversation: Data
    options: Data


class Answered(Output):
    """What the customer says: of the three, what was asked for."""

    values: dict[str, str] = Field(default_factory=dict)
    yes: bool | None = None
    choice: int | None = None


CUSTOMER = load(Path(__file__).parent, "customer", CustomerInputs)


class Modelled:
    """One customer. Raises Unavailable if the model does not answer at all."""

    def __init__(self, pack: Pack, flow: Flow, number: int, llm: Llm, runner: asyncio.Runner) -> None:
        """`number`: which of the characters, and how tools answer."""
        self._pack = pack
        self._flow = flow
        self._llm = llm
        self._runner = runner
        self._random = Random(f"{flow.procedure} {number}")
        self.character = list(CHARACTERS)[number % len(CHARACTERS)]
        self.said: list[str] = []
        self.usual = 0  # answers of the model that could not be used
        self._told = 0
        self._asked: dict[str, int] = {}
        self._answer = Answered()

    def hear(self, question: Question, any_of: bool, told: Sequence[str]) -> Sequence[str]:
        self.said += [f"desk: {text}" for text in told[self._told :] if text]
        self._told = len(told)
        for slot in question.slots:
            self._asked[slot] = self._asked.get(slot, 0) + 1
        self._answer = self._ask(question, any_of)
        self.said.append(f"customer: {_in_words(self._answer, question)}")
        return question.slots

    def _ask(self, question: Question, any_of: bool) -> Answered:
        said = self._runner.run(ask(self._llm, self.question(question, any_of), self._account))
        if said.value is not None:
            return said.value
        if said.outcome == "unavailable":
            raise Unavailable(f"no model plays the customer: {said.why}")
        self.usual += 1
        values = {slot: str(self._example(slot)) for slot in (question.slots[:1] if any_of else question.slots)}
        return Answered(values=values, yes=not question.slots and not question.choices, choice=1)

    @property
    def _account(self) -> Account:
        return Account(tenant=self._pack.name, seconds=SECONDS)

    def question(self, question: Question, any_of: bool) -> Prompted[CustomerInputs, Answered]:
        """Ask a model what this customer says to it."""
        intent = self._pack.intents[self._flow.intent]
        inputs = CustomerInputs(
            matter=intent.description,
            character=CHARACTERS[self.character],
            wanted=self._wanted(question, any_of),
            conversation="\n".join(self.said),
            options="\n".join(f"{number}. {choice.label}" for number, choice in enumerate(question.choices, 1)),
        )
        slots = [self._pack.slots[name] for name in question.slots if name in self._pack.slots]
        return Prompted(CUSTOMER, inputs, _schema(question), partial(read, question=question, slots=slots))

    def _wanted(self, question: Question, any_of: bool) -> str:
        if question.slots:
            known = [
                f"- {name}: {self._pack.say(slot.label, self._pack.languages[0]) or name}, such as {self._example(name)}"
                for name in question.slots
                if (slot := self._pack.slots.get(name))
            ]
            less = "one of them is enough" if any_of else "leave out what you cannot say"
            return "\n".join((f"values, each written as in its example; {less}:", *known))
        return "choice: the number of an option" if question.choices else "yes: true or false"

    def _example(self, slot: str) -> Json:
        return slot_value(self._pack.slots[slot], self._asked.get(slot, 1)) if slot in self._pack.slots else slot

    # What `Play` asks -------------------------------------------------------------------------------------------

    def value(self, node: str, slot: str) -> Json:
        written = self._answer.values.get(slot)
        return None if written is None else _typed(written, self._pack.slots[slot])

    def yes(self, node: str, what: str) -> bool:
        if what in ("approve", "knowledge"):
            return self._random.random() < APPROVED
        return bool(self._answer.yes)

    def choice(self, node: str, choices: Sequence[Choice]) -> str:
        return choices[(self._answer.choice or 1) - 1].id

    def outcome(self, node: str, tool: str, options: Sequence[Outcome]) -> Outcome:
        return options[0] if self._random.random() < USUAL else self._random.choice(options)


def read(text: str, question: Question, slots: Sequence[Slot]) -> Answered:
    """Raises Unfit for what was not asked for, or is not of its form."""
    said = typed(Answered)(text)
    if question.slots:
        known = {slot.name: slot for slot in slots}
        for name, value in said.values.items():
            if name not in known or _typed(value, known[name]) is None:
                raise Unfit(f"values.{name}: not asked for, or not written as in its example")
    elif question.choices:
        if said.choice is None or not 1 <= said.choice <= len(question.choices):
            raise Unfit(f"choice: a number from 1 to {len(question.choices)}")
    elif said.yes is None:
        raise Unfit("yes: true or false")
    return said


def _typed(written: str, slot: Slot) -> Json:
    """The value as the router would have read it; None if it is none."""
    text = written.strip()
    if slot.choices:
        return next((value for value in slot.choices if value.casefold() == text.casefold()), None)
    if slot.type == "boolean":
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.casefold())
    found = re.search(slot.pattern, text) if slot.pattern else None
    text = found.group() if found else "" if slot.pattern else text
    if slot.type in ("integer", "number"):
        return int(text) if re.fullmatch(r"-?\d+", text) else None
    return text or None


def _schema(question: Question) -> dict[str, Any]:
    """The shape of an answer to this question."""
    if question.slots:
        values = {"type": "object", "additionalProperties": False}
        part: dict[str, Any] = {
            "values": {**values, "properties": {name: {"type": "string"} for name in question.slots}}
        }
    elif question.choices:
        part = {"choice": {"type": "integer", "minimum": 1, "maximum": len(question.choices)}}
    else:
        part = {"yes": {"type": "boolean"}}
    return {"type": "object", "additionalProperties": False, "required": list(part), "properties": part}


def _in_words(answer: Answered, question: Question) -> str:
    if question.slots:
        return ", ".join(f"{name} {value}" for name, value in answer.values.items()) or "I cannot say"
    if question.choices:
        return question.choices[(answer.choice or 1) - 1].label
    return "yes" if answer.yes else "no"
