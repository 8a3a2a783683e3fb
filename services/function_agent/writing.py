"""Programs written by a model: for several calls that belong together. Checked from the text, tried up to the first call, and
sent back once with the error; every call they make is the owner's to permit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from services.function_agent.assembly import missing
from services.function_agent.coercion import is_valid
from services.function_agent.sandbox import Sandbox
from services.function_agent.static import BUILTINS, INPUTS, MAX_CODE, NotAllowed, check
from tandem.asking import Output, Question, Unfit, typed
from tandem.contracts.tasks import ProgramCall, ProgramOutput, WriteProgram
from tandem.contracts.ticket import Script
from tandem.contracts.values import Json
from tandem.errors import Refused
from tandem.packs.model import Pack, Program, Tool
from tandem.prompts import Data, Inputs, conversation, load

MAX_CALLS = 20
MAX_SCHEMA = 1_200
"""Characters of a tool's parameters, and of its answer, that a model is shown."""

HERE = Path(__file__).parent


class ProgramInputs(Inputs):
    """`tools` are the pack's."""

    tools: str
    max_calls: str
    builtins: str
    goal: Data
    inputs: Data
    conversation: Data


class Written(Output):
    code: str = Field(min_length=1, max_length=MAX_CODE)
    reason: str = Field("", max_length=400)


PROGRAM = load(HERE, "program", ProgramInputs)


def tools_of(pack: Pack, names: tuple[str, ...]) -> dict[str, Tool]:
    """The tools that a program may call. Raises Refused if the pack lacks one of them."""
    unknown = [name for name in names if name not in pack.tools]
    if unknown or not names:
        raise Refused("unknown-tool", f"the pack {pack.name!r} has no {', '.join(unknown)[:200] or 'tools given'}")
    return {name: pack.tools[name] for name in names}


def as_program(name: str, script: Script, tools: Mapping[str, Tool]) -> Program:
    """What a model wrote, as the sandbox runs it. Raises Refused for what may not be in it."""
    try:
        check(script.code, tools)
    except NotAllowed as error:
        raise Refused("program-invalid", f"the program {error}") from error
    return Program(name=name, tools=script.tools, max_calls=MAX_CALLS, code=script.code)


def check_call(found: ProgramCall, tools: Mapping[str, Tool]) -> None:
    """Raises Refused unless the arguments are what the tool takes."""
    tool = tools[found.tool]
    if not is_valid(found.arguments, tool.parameters):
        raise Refused("program-value", f"the arguments of {tool.name} do not fit the schema")
    if missing(tool, found.arguments):
        raise Refused("program-value", f"the arguments of {tool.name} lack something")


def question(task: WriteProgram, tools: Mapping[str, Tool], sandbox: Sandbox) -> Question[ProgramInputs, Written]:
    """Ask a model for a program; what it writes is tried in the sandbox up to its first call."""
    inputs = ProgramInputs(
        tools="\n".join(["Tools:", *map(_described, tools.values())]),
        max_calls=str(MAX_CALLS),
        builtins=", ".join(sorted(BUILTINS)),
        goal=task.goal,
        inputs=json.dumps(task.inputs, ensure_ascii=False),
        conversation=conversation(task.recent),
    )
    tried = partial(_try, task=task, tools=tools, sandbox=sandbox)
    return Question(PROGRAM, inputs, Written.shape(), partial(read, tools=tools), tried)


def read(text: str, tools: Mapping[str, Tool]) -> Written:
    """Raises Unfit for a text that is no program of these tools."""
    written = typed(Written)(text)
    try:
        check(written.code, tools)
    except NotAllowed as error:
        raise Unfit(f"code: {error}") from error
    return written


async def _try(written: Written, task: WriteProgram, tools: Mapping[str, Tool], sandbox: Sandbox) -> None:
    """Run up to the first call, which is not made. Raises Unfit."""
    program = Program(name="program", tools=task.tools, max_calls=MAX_CALLS, code=written.code)
    try:
        found = await sandbox.run(program, {INPUTS: task.inputs}, (), task.at)
        if isinstance(found, ProgramOutput):
            raise Unfit("code: with these inputs it calls no tool")
        check_call(found, tools)
    except Refused as error:
        raise Unfit(f"code: {error}"[:400]) from error


def _described(tool: Tool) -> str:
    nature = "changes something" if tool.writes else "only reads"
    takes, gives = (_cut(_plain(schema)) for schema in (tool.parameters, tool.output))
    return f"- {tool.name} ({nature}): {tool.description}\n  takes {takes}\n  returns {gives}"


def _plain(schema: Mapping[str, Any]) -> Json:
    """A schema's properties: names and types."""
    return {str(name): part for name, part in schema.get("properties", {}).items()}


def _cut(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SCHEMA else text[:MAX_SCHEMA] + "…"
