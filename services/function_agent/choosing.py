"""The large rung of choosing: a model says which of the task's tools does what the customer wants."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import Field

from services.function_agent.selection import describe
from tandem.asking import Output, Question, Unfit, typed
from tandem.contracts.tasks import AssembleCall
from tandem.packs.model import Tool
from tandem.prompts import Data, Inputs, conversation, load

NONE = "none"


class SelectInputs(Inputs):
    """`tools` are the pack's."""

    tools: str
    goal: Data
    conversation: Data


class Choice(Output):
    """A tool's name, or none."""

    tool: str
    confidence: float = Field(ge=0, le=1)


SELECT = load(Path(__file__).parent, "select", SelectInputs)


def question(task: AssembleCall, tools: Sequence[Tool]) -> Question[SelectInputs, Choice]:
    """Ask a model for one of these tools."""
    inputs = SelectInputs(
        tools="\n".join(f"- {tool.name}: {describe(tool)}" for tool in tools),
        goal=task.goal,
        conversation=conversation(task.recent),
    )
    names = [*(tool.name for tool in tools), NONE]
    shape = Choice.shape()
    shape["properties"]["tool"] = {"enum": names}
    return Question(SELECT, inputs, shape, partial(read, names=names))


def read(text: str, names: Sequence[str]) -> Choice:
    """Raises Unfit for a tool that was not offered."""
    choice = typed(Choice)(text)
    if choice.tool not in names:
        raise Unfit(f"tool: one of {', '.join(names)}")
    return choice
