"""A program's step: run up to a call, the call made like any other, and run again with what came of it.

Between two calls nothing of the program exists but the list of its calls in the step: it is run from its beginning and told
the same answers. So there is no state of an interpreter to keep, to sign or to lose.
"""

from __future__ import annotations

from typing import Any

from services.planner.decide import dispatch
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import OPEN, handover, steps_in
from tandem.contracts.tasks import ProgramCall, ProgramWritten, RunProgram, WriteProgram
from tandem.contracts.ticket import Called, Plan, Script, Step, StepStatus
from tandem.contracts.values import Json, canonical_json
from tandem.packs.model import Node

MAX_CALLS_BYTES = 32_000
"""Of all calls and answers of one program: they are part of the ticket."""


MAX_STEPS = 60
"""Of one plan, the calls of its programs with them."""

MAX_CALLS = 20
"""Of a program that a model wrote."""

MAX_CODE = 4_000
MAX_INPUT = 1_000
"""Of one fact that such a program is run with; larger ones it does not get."""


def run(draft: Draft, step: Step, plan: Plan, node: Node | None) -> None:
    """Run the program on, unless a call of it is still open. Its inputs are bound once."""
    if step.script is not None:
        _run_script(draft, step, plan, step.script)
    elif step.name not in draft.pack.programs:
        handover(draft, f"unknown_program:{step.name}", say="handover_failed")
    elif not any(known.caller == step.id for known in steps_in(plan, *OPEN)):
        bound = dispatch.bound_arguments(draft, plan, node) if node else {}
        dispatch.run_program(draft, step, plan, bound if step.arguments is None else step.arguments)


def _run_script(draft: Draft, step: Step, plan: Plan, script: Script) -> None:
    """A model's own program: written first, then run as any other."""
    inputs = step.arguments if step.arguments is not None else {"inputs": _known(draft)}
    if any(known.caller == step.id for known in steps_in(plan, *OPEN)):
        return
    step = step.changed(arguments=inputs)
    about: dict[str, Any] = {"inputs": inputs, "at": plan.started_at}
    if script.code:
        about |= {"program": step.name, "calls": step.calls, "script": script}
        dispatch.send_task(draft, step, plan, "function_agent", RunProgram, **about)
    else:
        about |= {"inputs": inputs["inputs"], "tools": script.tools, "goal": step.text, "recent": tuple(draft.recent)}
        dispatch.send_task(draft, step, plan, "function_agent", WriteProgram, **about)


def _known(draft: Draft) -> dict[str, Json]:
    """What a model's program is run with: facts that are neither secret nor the platform's own, nor large."""
    public = {name: fact for name, fact in draft.facts.items() if not name.startswith("_") and not fact.sensitive}
    return {name: fact.value for name, fact in public.items() if len(canonical_json(fact.value)) <= MAX_INPUT}


def keep(draft: Draft, step: Step, written: ProgramWritten) -> Step | None:
    """Keep what a model wrote, to be run; None if there is nothing to keep."""
    if step.script is None or not 0 < len(written.code) <= MAX_CODE:
        draft.event("program_refused", step=step.id, name=step.name, text=written.reason[:500])
        return None
    draft.event(
        "program_written", step=step.id, name=step.name, text=written.code, data={"reason": written.reason[:500]}
    )
    return draft.put_step(step, script=step.script.changed(code=written.code), status=StepStatus.WAITING)


def done(draft: Draft, step: Step) -> Step:
    """A program has ended: what it was run with and what it called need not stay in the ticket."""
    return (
        draft.put_step(step, calls=())
        if step.script is None
        else draft.put_step(step, calls=(), script=None, arguments=None)
    )


def refusal(draft: Draft, step: Step, call: ProgramCall) -> str:
    """Why a call is not one that this program may make now; empty if it is."""
    allowed, most = _allowed(draft, step)
    plan = draft.plan_of(step.id)
    if call.tool not in allowed or call.tool not in draft.pack.tools:
        return f"the program may not call {call.tool[:80]!r}"
    if plan is None or len(plan.steps) >= MAX_STEPS:
        return f"a plan may have {MAX_STEPS} steps"
    if call.ordinal != len(step.calls):
        return f"the program is at call {len(step.calls)}, not at {call.ordinal}"
    if call.ordinal >= most:
        return f"the program may make {most} calls"
    return ""


def _allowed(draft: Draft, step: Step) -> tuple[tuple[str, ...], int]:
    """What a program may call, and how often."""
    if step.script is not None:
        return step.script.tools, MAX_CALLS
    program = draft.pack.programs.get(step.name)
    return (program.tools, program.max_calls) if program else ((), 0)


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
    """Where the arguments of a program's call came from: it has read tools, and perhaps what stands in the knowledge; what a
    model wrote itself is the model's."""
    if any(fact.origin == "knowledge" for fact in draft.facts.values()):
        return "knowledge"
    return "model" if draft.plan is not None and draft.plan.origin == "model" else "tool"
