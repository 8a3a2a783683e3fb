"""function_agent's handlers: choose a tool, judge and assemble its parameters; run a program. It executes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from services.function_agent import choosing, small, writing
from services.function_agent.assembly import assemble, conversation
from services.function_agent.coercion import is_valid
from services.function_agent.extraction import ModelPolicy, complete
from services.function_agent.sandbox import Sandbox
from services.function_agent.selection import by_meaning, by_words, describe, rank
from tandem.agent import Handler, Result
from tandem.asking import Account, ask
from tandem.contracts.tasks import (
    AssembleCall,
    CallProposal,
    ProgramCall,
    ProgramWritten,
    RunProgram,
    Task,
    WriteProgram,
)
from tandem.contracts.ticket import Cost
from tandem.contracts.values import Json
from tandem.errors import Refused, Unavailable
from tandem.packs.model import Pack, Program, Tool
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm

log = logging.getLogger(__name__)

EMBED_SECONDS = 2.0
SURE_MARGIN = 0.1
"""Between the best tool and the next, by words and meaning; below it a model is asked."""

MODEL_CAP = 0.85
"""A model's choice is never surer than this."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A call as far as it has come, the highest rung that had a hand in it, and what that cost."""

    call: CallProposal
    rung: str
    cost: Cost = field(default_factory=Cost)
    prompt: str = ""


async def assemble_call(task: AssembleCall, packs: Packs, llm: Llm, policy: ModelPolicy) -> Result:
    """One call, ready to run or with what it lacks. Raises Refused if the task names no tool of the pack."""
    pack = packs.get(task.pack, task.pack_hash)
    tools = [pack.tools[name] for name in dict.fromkeys(task.tools) if name in pack.tools]
    if not tools:
        raise Refused("unknown-tool", f"the pack {pack.name!r} has none of {', '.join(task.tools) or 'no tools given'}")
    chosen = (
        Chosen(assemble(task, pack, tools[0]), "rule")
        if len(tools) == 1
        else await _choose(task, pack, tools, llm, policy)
    )
    call = chosen.call
    if task.judge:
        read = await asyncio.to_thread(small.judge, task, pack, call)
        rung = "small" if read != call else chosen.rung
        return Result(read, cost=chosen.cost, rung=rung, prompt=chosen.prompt)
    if call.missing and conversation(task):
        better = await asyncio.to_thread(small.complete, task, pack, call)
        chosen = replace(chosen, call=better, rung="small") if better != call else chosen
    if chosen.call.missing and policy.seconds > 0 and conversation(task):
        chosen = await _with_model(task, pack, chosen, llm, policy)
    return Result(chosen.call, cost=chosen.cost, rung=chosen.rung, prompt=chosen.prompt)


async def _choose(task: AssembleCall, pack: Pack, tools: Sequence[Tool], llm: Llm, policy: ModelPolicy) -> Chosen:
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
    ranked_best = Chosen(_sure_by(assemble(task, pack, pack.tools[best]), min(1.0, 0.5 + (first - second))), rung)
    if first - second >= SURE_MARGIN or policy.seconds <= 0:
        return ranked_best
    said = await ask(llm, choosing.question(task, tools), Account.of(task, policy.seconds))
    if said.value is None or said.value.confidence < pack.thresholds.interpret:
        return replace(ranked_best, cost=said.cost, prompt=said.prompt)
    if said.value.tool == choosing.NONE:
        return Chosen(CallProposal(reason="no tool does it, says the model"), "large", said.cost, said.prompt)
    call = _sure_by(assemble(task, pack, pack.tools[said.value.tool]), min(MODEL_CAP, said.value.confidence))
    return Chosen(call, "large", said.cost, said.prompt)


def _sure_by(call: CallProposal, sure: float) -> CallProposal:
    return call.model_copy(update={"confidence": round(call.confidence * sure, 3)})


async def _with_model(task: AssembleCall, pack: Pack, chosen: Chosen, llm: Llm, policy: ModelPolicy) -> Chosen:
    said = await complete(task, pack, chosen.call, llm, policy.seconds)
    cost = chosen.cost + said.cost
    if said.value is None or said.value == chosen.call:
        return replace(chosen, cost=cost, prompt=said.prompt or chosen.prompt)
    return Chosen(said.value, "large", cost, said.prompt)


async def write_program(task: WriteProgram, packs: Packs, llm: Llm, policy: ModelPolicy, sandbox: Sandbox) -> Result:
    """A program by a model, or why there is none. Nothing is called for it yet."""
    tools = writing.tools_of(packs.get(task.pack, task.pack_hash), task.tools)
    if policy.write_s <= 0:
        return Result(ProgramWritten(reason="no model is asked for programs"))
    said = await ask(llm, writing.question(task, tools, sandbox), Account.of(task, policy.write_s))
    if said.value is None:
        nothing = ProgramWritten(reason=f"no program by a model: {said.why}"[:300])
        return Result(nothing, cost=said.cost, prompt=said.prompt)
    written = ProgramWritten(code=said.value.code, reason=said.value.reason)
    return Result(written, cost=said.cost, rung="large", prompt=said.prompt)


async def run_program(task: RunProgram, packs: Packs, sandbox: Sandbox) -> Result:
    """Where a program stands: at its next call, or at its end. Raises Refused if it is not what the pack declares, or a
    model's and not what may be in one."""
    pack = packs.get(task.pack, task.pack_hash)
    program = _program(task, pack)
    _fits(task.inputs, program.inputs, f"the inputs of {program.name}")
    found = await sandbox.run(program, task.inputs, task.calls, task.at)
    if isinstance(found, ProgramCall):
        writing.check_call(found, pack.tools)
    else:
        _fits(found.output, program.output, f"what {program.name} returns")
    return Result(found)


def _program(task: RunProgram, pack: Pack) -> Program:
    if task.script is not None:
        return writing.as_program(task.program, task.script, writing.tools_of(pack, task.script.tools))
    program = pack.programs.get(task.program)
    if program is None:
        raise Refused("unknown-program", f"the pack {pack.name!r} has no program {task.program!r}")
    return program


def _fits(value: dict[str, Json], schema: dict[str, Json], what: str) -> None:
    if schema and not is_valid(value, schema):
        raise Refused("program-value", f"{what} do not fit the schema")


HANDLERS: dict[type[Task], Handler] = {
    AssembleCall: assemble_call,
    WriteProgram: write_program,
    RunProgram: run_program,
}
