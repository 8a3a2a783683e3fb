"""The large rung: a model reads missing values out of the conversation. What was not written there is not taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import RootModel

from services.function_agent.assembly import Arguments, conversation, missing, proposal, slot_of, words_of
from services.function_agent.coercion import coerce
from tandem.asking import Account, Question, Said, Unfit, ask, typed
from tandem.contracts.tasks import AssembleCall, CallProposal
from tandem.packs.model import Pack, Tool
from tandem.prompts import Data, Inputs, as_written, load
from tandem.rpc.ports import Llm
from tandem.text import stands_in

CONFIDENCE = 0.7
_MASK = re.compile(r"\[\w+\]")  # what the router leaves of a sensitive value


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """Whether and how long a model may be asked."""

    seconds: float = 8.0  # for missing values
    write_s: float = 20.0  # for a program


class ValuesInputs(Inputs):
    """`tool` is the pack's: its name, what it does, and the parameters that are wanted."""

    tool: str
    conversation: Data


class Values(RootModel[dict[str, str]]):
    """Parameter → its value, as the customer wrote it."""


VALUES = load(Path(__file__).parent, "values", ValuesInputs)


def question(task: AssembleCall, pack: Pack, call: CallProposal) -> Question[ValuesInputs, CallProposal]:
    """Ask for the parameters that the call lacks."""
    tool = pack.tools[str(call.tool)]
    wanted = sorted({name for group in call.missing for name in group})
    about = {name: _description(name, pack, tool) for name in wanted}
    properties = {name: {"type": "string", "description": text} for name, text in about.items()}
    shape = {"type": "object", "additionalProperties": False, "properties": properties}
    lines = [f"Tool: {tool.name}: {tool.description}", "Parameters:", *(f"- {name}: {about[name]}" for name in wanted)]
    inputs = ValuesInputs(tool="\n".join(lines), conversation="\n".join(reversed(conversation(task))))
    return Question(VALUES, inputs, shape, partial(read, task=task, pack=pack, call=call))


def read(text: str, task: AssembleCall, pack: Pack, call: CallProposal) -> CallProposal:
    """The call with what a model found. Raises Unfit if it gives what was not asked for."""
    said = typed(Values)(text).root
    foreign = said.keys() - {name for group in call.missing for name in group}
    if foreign:
        raise Unfit(f"{', '.join(sorted(foreign))[:200]}: not asked for")
    return accept(task, pack, call, said)


async def complete(task: AssembleCall, pack: Pack, call: CallProposal, llm: Llm, seconds: float) -> Said[CallProposal]:
    """The call with what a model found in the conversation; no value without a model."""
    return await ask(llm, question(task, pack, call), Account.of(task, seconds))


def accept(task: AssembleCall, pack: Pack, call: CallProposal, said: Mapping[str, str]) -> CallProposal:
    """Take of a model's answer what is wanted, written in the conversation and valid; leave the rest."""
    tool = pack.tools[str(call.tool)]
    written = "\n".join(conversation(task))
    found = Arguments(dict(call.arguments), dict(call.origins))
    for name in sorted({name for group in call.missing for name in group}):
        raw = as_written(said.get(name, ""))
        if _MASK.fullmatch(raw.strip()) or not stands_in(raw, written):
            continue
        value = coerce(raw, dict(tool.properties.get(name, {})), words_of(slot_of(name, pack, tool)))
        if value is not None:
            found.put(name, value, "customer", CONFIDENCE)
    return proposal(tool, found) if missing(tool, found.values) != call.missing else call


def _description(name: str, pack: Pack, tool: Tool) -> str:
    slot = slot_of(name, pack, tool)
    label = pack.say(slot.label, "en") if slot else ""
    return str(tool.properties.get(name, {}).get("description") or label or name.replace("_", " "))
