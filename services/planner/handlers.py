"""The planner's worker role: plans and next steps by a model, and what a message answers. Nothing here holds up a mailbox."""

from __future__ import annotations

import logging

from services.planner import interpretation, planning, ranking
from services.planner.recalling import recalled
from tandem import telemetry
from tandem.agent import Handler, Result
from tandem.asking import Account, ask
from tandem.contracts.tasks import Interpret, MakePlan, Reason, Task
from tandem.errors import Unavailable
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm, Memory
from tandem.telemetry import SpanName

log = logging.getLogger(__name__)

PLAN_SECONDS = 30.0
INTERPRET_SECONDS = 8.0
EMBED_SECONDS = 2.0


async def make_plan(task: MakePlan, packs: Packs, llm: Llm, memory: Memory) -> Result:
    """A plan for a message that no procedure covers. Without a model the pack's trained policy may propose a step; else there
    is none, and a person takes over."""
    return await _propose(task, packs, llm, memory)


async def reason(task: Reason, packs: Packs, llm: Llm, memory: Memory) -> Result:
    """What comes next, after what the steps brought."""
    return await _propose(task, packs, llm, memory)


async def interpret(task: Interpret, packs: Packs, llm: Llm) -> Result:
    """Which open question a message answers: the cheapest rung that is sure."""
    pack = packs.get(task.pack, task.pack_hash)
    by_rule = interpretation.by_rule(task, pack)
    if by_rule is not None and by_rule.kind != "unsure":
        return Result(by_rule)
    question = interpretation.wants_meaning(task)
    if question is not None and by_rule is None:
        try:
            vectors = await llm.embed(
                [task.text, *(choice.label for choice in question.choices)], deadline=EMBED_SECONDS
            )
        except Unavailable:
            log.info("no embeddings, options are compared by words alone", extra={"ticket": task.ticket})
        else:
            near = interpretation.by_meaning(question, vectors)
            if near is not None:
                return Result(near, rung="small")
    said = await ask(llm, interpretation.question(task, pack), Account.of(task, INTERPRET_SECONDS))
    if said.value is None:
        return Result(interpretation.UNSURE, cost=said.cost, prompt=said.prompt)
    return Result(said.value, cost=said.cost, rung="large", prompt=said.prompt)


async def _propose(task: MakePlan | Reason, packs: Packs, llm: Llm, memory: Memory) -> Result:
    pack = packs.get(task.pack, task.pack_hash)
    with telemetry.span(SpanName.PLAN):
        question = planning.question(task, pack, await recalled(task, memory))
        said = await ask(llm, question, Account.of(task, PLAN_SECONDS))
    if said.value is None:
        ranked = await ranking.propose(task, pack, llm)
        rung = "small" if ranked else "rule"
        return Result(ranked or planning.refused(said.why), cost=said.cost, rung=rung, prompt=said.prompt)
    log.info("plan proposed", extra={"ticket": task.ticket, "steps": len(said.value.steps)})
    return Result(said.value, cost=said.cost, rung="large", prompt=said.prompt)


HANDLERS: dict[type[Task], Handler] = {MakePlan: make_plan, Reason: reason, Interpret: interpret}
