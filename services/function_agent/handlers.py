"""function_agent's handlers: choose a tool, judge and assemble its parameters; run a program. It executes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from services.function_agent import small
from services.function_agent.assembly import assemble, conversation, missing
from services.function_agent.coercion import is_valid
from services.function_agent.extraction import ModelPolicy, complete
from services.function_agent.sandbox import Sandbox
from services.function_agent.selection import by_meaning, by_words, describe, rank
from tandem.agent import Handler, Result
from tandem.contracts.tasks import AssembleCall, CallProposal, ProgramCall, RunProgram, Task
from tandem.contracts.values import Json
from tandem.errors import Refused, Unavailable
from tandem.packs.model import Pack, Tool
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm

log = logging.getLogger(__name__)

EMBED_SECONDS = 2.0


async def assemble_call(task: AssembleCall, packs: Packs, llm: Llm, policy: ModelPolicy) -> Result:
    """One call, ready to run or with what it lacks. Raises Refused if the task names no tool of the pack."""
    pack = packs.get(task.pack, task.pack_hash)
    tools = [pack.tools[name] for name in task.tools if name in pack.tools]
    if not tools:
        raise Refused("unknown-tool", f"the pack {pack.name!r} has none of {', '.join(task.tools) or 'no tools given'}")
    call, rung = (assemble(task, pack, tools[0]), "rule") if len(tools) == 1 else await _choose(task, pack, tools, llm)
    if call.missing and conversation(task):
        better = await asyncio.to_thread(small.complete, task, pack, call)
        call, rung = better, "small" if better != call else rung
    if call.missing and policy.seconds > 0 and conversation(task):
        return await _with_model(task, pack, call, llm, policy, rung)
    return Result(call, rung=rung)


async def _choose(task: AssembleCall, pack: Pack, tools: Sequence[Tool], llm: Llm) -> tuple[CallProposal, str]:
    goal = " ".join([task.goal, *conversation(task)[:1]]).strip()
    scores, rung = [by_words(goal, tools)], "rule"
    try:
        vectors = await llm.embed([goal, *map(describe, tools)], deadline=EMBED_SECONDS)
        scores.append(by_meaning(vectors, tools))
        rung = "small"
    except Unavailable:
        log.info("no embeddings, tools are ranked by words", extra={"ticket": task.ticket})
    ranked = rank(*scores)
    (best, first), second = ranked[0], ranked[1][1]
    call = assemble(task, pack, pack.tools[best])
    sure = min(1.0, 0.5 + (first - second))
    return call.model_copy(update={"confidence": round(call.confidence * sure, 3)}), rung


async def _with_model(
    task: AssembleCall, pack: Pack, call: CallProposal, llm: Llm, policy: ModelPolicy, rung: str
) -> Result:
    try:
        better, response = await complete(task, pack, call, llm, policy.seconds)
    except Unavailable:
        return Result(call, rung=rung)
    return Result(better, cost=response.cost, rung="large" if better != call else rung)


async def run_program(task: RunProgram, packs: Packs, sandbox: Sandbox) -> Result:
    """Where a program stands: at its next call, or at its end. Raises Refused if it is not what the pack declares."""
    pack = packs.get(task.pack, task.pack_hash)
    program = pack.programs.get(task.program)
    if program is None:
        raise Refused("unknown-program", f"the pack {pack.name!r} has no program {task.program!r}")
    _fits(task.inputs, program.inputs, f"the inputs of {program.name}")
    found = await sandbox.run(program, task.inputs, task.calls, task.at)
    if isinstance(found, ProgramCall):
        tool = pack.tools[found.tool]
        _fits(found.arguments, tool.parameters, f"the arguments of {tool.name}")
        if missing(tool, found.arguments):
            raise Refused("program-value", f"the arguments of {tool.name} lack something")
    else:
        _fits(found.output, program.output, f"what {program.name} returns")
    return Result(found)


def _fits(value: dict[str, Json], schema: dict[str, Json], what: str) -> None:
    if schema and not is_valid(value, schema):
        raise Refused("program-value", f"{what} do not fit the schema")


HANDLERS: dict[type[Task], Handler] = {AssembleCall: assemble_call, RunProgram: run_program}
