"""A program's step: run up to a call, the call made like any other, and run again with what came of it.

Between two calls nothing of the program exists but the list of its calls in the step: it is run from its beginning and told
the same answers. So there is no state of an interpreter to keep, to sign or to lose.
"""

from __future__ import annotations

from typing import Any

from services.planner.decide import dispatch
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import OPEN, handover, steps_in
from tandem.contracts.tasks import ProgramCall
from tandem.contracts.ticket import Called, Plan, Step, StepStatus
from tandem.contracts.values import canonical_json
from tandem.packs.model import Node

MAX_CALLS_BYTES = 32_000
"""Of all calls and answers of one program: they are part of the ticket."""


def run(draft: Draft, step: Step, plan: Plan, node: Node | None) -> None:
    """Run the program on, unless a call of it is still open. Its inputs are bound once."""
    if step.name not in draft.pack.programs:
        handover(draft, f"unknown_program:{step.name}", say="handover_failed")
    elif not any(known.caller == step.id for known in steps_in(plan, *OPEN)):
        bound = dispatch.bound_arguments(draft, plan, node) if node else {}
        dispatch.run_program(draft, step, plan, bound if step.arguments is None else step.arguments)


def refusal(draft: Draft, step: Step, call: ProgramCall) -> str:
    """Why a call is not one that this program may make now; empty if it is."""
    program = draft.pack.programs.get(step.name)
    if program is None or call.tool not in program.tools or call.tool not in draft.pack.tools:
        return f"the program may not call {call.tool[:80]!r}"
    if call.ordinal != len(step.calls):
        return f"the program is at call {len(step.calls)}, not at {call.ordinal}"
    if call.ordinal >= program.max_calls:
        return f"the program may make {program.max_calls} calls"
    return ""


def returned(draft: Draft, child: Step, succeeded: bool, scope: dict[str, Any]) -> Step | None:
    """Write down at the program's step what came of its call; None if nothing waits for it."""
    caller = draft.step(child.caller)
    if caller is None or caller.status is not StepStatus.WAITING:
        return None
    result = scope.get("result")
    error = "" if succeeded else str(scope.get("error") or "failed")[:500]
    output = result if isinstance(result, dict) and succeeded else {}
    called = Called(tool=child.name, arguments=child.arguments or {}, output=output, error=error)
    return draft.put_step(caller, calls=(*caller.calls, called), needs=())


def fits(step: Step) -> bool:
    """Whether what the program has called may be kept in the ticket."""
    return sum(len(canonical_json(call.model_dump(mode="json"))) for call in step.calls) <= MAX_CALLS_BYTES


def origin(draft: Draft) -> str:
    """Where the arguments of a program's call came from: it has read tools, and perhaps what stands in the knowledge."""
    return "knowledge" if any(fact.origin == "knowledge" for fact in draft.facts.values()) else "tool"
