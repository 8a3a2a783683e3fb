"""What agents answer: each answer is taken once, checked, remembered, and the plan goes on."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ValidationError

from services.planner.decide import answering, customer, dispatch, programs, proposal, reading, reasoning, walk
from services.planner.decide.answers import Match
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import expert_task, handover, unknown_outcome
from services.planner.decide.questions import ask_again, pose, slot_text
from tandem.contracts.inbox import StepCompleted, StepFailed, StepProgress, TaskDeadLettered
from tandem.contracts.tasks import (
    Answer,
    CallProposal,
    Interpretation,
    PlanProposal,
    ProgramCall,
    ProgramOutput,
    ProgramWritten,
    ProposedStep,
    ToolResult,
    output_of,
)
from tandem.contracts.ticket import FREE, Plan, Question, Step, StepStatus
from tandem.contracts.values import Json
from tandem.packs.expressions import evaluate


def on_completed(draft: Draft, message: StepCompleted) -> None:
    """An agent's answer. A stale attempt's is ignored, but what it says of an effect is a fact at any time."""
    step = draft.step(message.step)
    try:
        output = output_of(message.output_type, message.output)
    except ValidationError as error:
        _failed(draft, message.step, message.attempt, f"unreadable {message.output_type}: {error.error_count()} errors")
        return
    if isinstance(output, ToolResult):
        _note_effect(draft, output)
    plan = draft.plan_of(message.step) if step else None
    late = isinstance(output, ToolResult) and output.status in ("done", "failed")
    if step is None or plan is None or not _awaited(step, message.attempt, late):
        draft.event("late_result_ignored", step=message.step, name=message.service)
        if isinstance(output, ToolResult):
            _conflict(draft, step, output)
        return
    if step.status is not StepStatus.UNKNOWN:
        dispatch.release(draft, step, message.cost)
    draft.disarm(f"step:{step.id}")
    draft.step_event(
        "step_completed",
        step,
        plan,
        status=output.status if isinstance(output, ToolResult) else None,
        cost=message.cost,
        rung=message.rung,
        took_ms=message.took_ms,
        data=_shown(output) | _asked(message),
    )
    step = draft.put_step(step, reserved=FREE)
    _take(draft, step, plan, output)


def _awaited(step: Step, attempt: int, late_definite: bool) -> bool:
    if step.status in (StepStatus.RUNNING, StepStatus.ASSEMBLING):
        return attempt == step.attempt or late_definite
    return step.status is StepStatus.UNKNOWN and late_definite


def _asked(message: StepCompleted) -> dict[str, Any]:
    """What a model was asked with, and what its calls took; nothing where none was."""
    told: dict[str, Any] = {"prompt": message.prompt} if message.prompt else {}
    return told | {"usage": message.usage.model_dump(mode="json")} if message.usage else told


def _shown(output: object) -> dict[str, Any]:
    """What of an answer belongs into an event: references and verdicts, no values."""
    match output:
        case ToolResult():
            return {"evidence": output.evidence, "repeated": output.repeated, "reason": output.reason}
        case Answer():
            return {"supported": output.supported, "confidence": output.confidence}
        case CallProposal():
            return {"tool": output.tool, "missing": [list(group) for group in output.missing]}
        case Interpretation():
            return {"kind": output.kind, "confidence": output.confidence}
        case ProgramCall():
            return {"tool": output.tool, "ordinal": output.ordinal}
    return {}


def _take(draft: Draft, step: Step, plan: Plan, output: object) -> None:
    match output:
        case ToolResult():
            _tool_result(draft, step, plan, output)
        case CallProposal() if step.name in reading.STEPS:
            _read(draft, step, plan, output)
        case CallProposal():
            _call_proposed(draft, step, plan, output)
        case Answer():
            _answered(draft, step, plan, output)
        case Interpretation():
            _interpreted(draft, step, plan, output)
        case PlanProposal():
            proposal.apply(draft, step, plan, output)
        case ProgramCall():
            walk.call_for_program(draft, step, plan, output)
        case ProgramOutput():
            save(draft, step, plan, output.output)
            reasoning.note(draft, step, plan, output.output)
            walk.complete(draft, programs.done(draft, step), result=output.output)
        case ProgramWritten():
            _program_written(draft, step, output)
        case _:
            fields = cast(dict[str, Json], getattr(output, "model_extra", None) or {})
            save(draft, step, plan, fields)
            walk.complete(draft, step, result=fields)


# Tools -----------------------------------------------------------------------------------------------------------


def _note_effect(draft: Draft, result: ToolResult) -> None:
    known = draft.effects.get(result.effect)
    if known and not (known.status in ("done", "failed") and result.status == "unknown"):
        status = "refused" if result.status in ("refused", "expired") else result.status
        draft.effects[result.effect] = known.changed(status=status)


def _conflict(draft: Draft, step: Step | None, result: ToolResult) -> None:
    """A definite result after a person has decided about the unknown one: that person gets the conflict."""
    if step is None or step.effect != result.effect or draft.facts.get(f"_decided:{result.effect}") is None:
        return
    decided = draft.facts[f"_decided:{result.effect}"]
    if bool(decided.value) != (result.status == "done"):
        text = f"{step.name}: decided as {'done' if decided.value else 'not done'}, reported as {result.status}"
        draft.ask_expert(expert_task(draft, "conflict", "late definite result", text))
        draft.event("conflict", step=step.id, name=step.name, effect=result.effect, text=text)


def _tool_result(draft: Draft, step: Step, plan: Plan, result: ToolResult) -> None:
    match result.status:
        case "done":
            _evidence(draft, step, result)
            reading.note_call(draft, step, result.output)
            save(draft, step, plan, result.output)
            reasoning.note(draft, step, plan, result.output)
            evidence = {"repeated": result.repeated, "evidence": result.evidence}
            draft.step_event("effect_done", step, plan, effect=result.effect, data=evidence)
            walk.complete(draft, step, result=result.output)
        case "failed":
            reading.note_call(draft, step, result.output)
            save(draft, step, plan, result.output)
            walk.fail(draft, step, result=result.output, error=result.error)
        case "refused":
            draft.event("refused", step=step.id, name=step.name, text=result.reason, effect=result.effect)
            draft.put_step(step, status=StepStatus.FAILED)
            handover(draft, f"refused:{result.reason}")
        case "expired":
            retry(draft, step, plan, "expired")
        case "unknown":
            unknown_outcome(draft, step, plan, result)


def _evidence(draft: Draft, step: Step, result: ToolResult) -> None:
    """Keep which step verified the customer, and which checked that they may: the executor asks for it before writes."""
    policies = draft.pack.policies
    scope = {"result": result.output}
    if step.name in policies.identity_tools and evaluate(policies.identity_when, scope):
        draft.know(dispatch.IDENTITY, True, "tool", step.id)
    if step.name in policies.authorisation_tools and evaluate(policies.authorisation_when, scope):
        draft.know(dispatch.AUTHORISED, True, "tool", step.id)


def save(draft: Draft, step: Step, plan: Plan, output: dict[str, Json]) -> None:
    """Turn a result into facts as the node says."""
    node = draft.node(step)
    for name, expression in node.save.items() if node else ():
        draft.know(name, evaluate(expression, draft.scope(plan, result=output)), "tool", step.id)


def _program_written(draft: Draft, step: Step, written: ProgramWritten) -> None:
    """A model's program is run; without one the step has failed."""
    kept = programs.keep(draft, step, written)
    if kept is not None:
        walk.run(draft, kept)
    else:
        walk.fail(draft, step, error=written.reason or "no program")


def _call_proposed(draft: Draft, step: Step, plan: Plan, call: CallProposal) -> None:
    """function_agent's proposal: call it, or ask the customer for what is missing."""
    tool = draft.pack.tools.get(call.tool or "")
    if step.script is not None:
        problem = _not_chosen(step.script.tools, plan, call)
        if problem:
            walk.fail(draft, step, error=problem)
            return
        step = draft.put_step(step, name=str(call.tool), script=None)
    if tool is None or tool.name != step.name:
        handover(draft, f"no_call:{step.name}")
        return
    if not call.missing:
        step = draft.put_step(step, status=StepStatus.WAITING)
        walk.call(draft, step, plan, call.arguments, dict(call.origins))
        return
    slots = tuple(tool.slots.get(name, name) for group in call.missing for name in group)
    known = tuple(slot for slot in slots if slot in draft.pack.slots)
    tries = plan.visits.get(f"missing:{step.id}", 0)
    if not known or tries >= 3:
        handover(draft, f"missing_parameters:{step.name}")
        return
    current = draft.plan_of(step.id) or plan
    draft.put_plan(current.model_copy(update={"visits": {**plan.visits, f"missing:{step.id}": tries + 1}}))
    step = draft.put_step(draft.step(step.id) or step, task=None)
    first_of_groups = tuple(tool.slots.get(group[0], group[0]) for group in call.missing if group)
    pose(draft, step, plan, "slots", slot_text(draft, first_of_groups), slots=known)


def _not_chosen(tools: tuple[str, ...], plan: Plan, call: CallProposal) -> str:
    """Why none of several tools is called; empty: the one that was chosen is."""
    if call.tool not in tools:
        return call.reason or "none of the tools does it"
    if not call.missing and reasoning.repeats(
        plan, ProposedStep(kind="tool", name=call.tool, arguments=dict(call.arguments))
    ):
        return f"{call.tool!r} was called with these arguments before"
    return ""


def _read(draft: Draft, step: Step, plan: Plan, call: CallProposal) -> None:
    """The conversation has been read: what waited for it goes on with what was found."""
    reading.take(draft, call, step.id)
    question = next((q for q in draft.questions if q.plan == plan.id), None)
    draft.put_step(step, status=StepStatus.DONE)
    if question is None:
        walk.complete(draft, step)
    elif all(draft.known(slot) for slot in question.slots):
        answering.answer(draft, Match("answer", question))
    elif step.name == reading.GUESSER:
        answering.cannot_say(draft, question)
    else:
        customer.interpret(draft, plan, draft.recent[-1].text)


# Answers, interpretations ----------------------------------------------------------------------------------------


def _answered(draft: Draft, step: Step, plan: Plan, answer: Answer) -> None:
    """A grounded answer; without support for one, a person. While a person owns the ticket it waits to be asked again."""
    if draft.owner != "bot":
        draft.put_step(step, status=StepStatus.WAITING)
        return
    node = draft.node(step)
    if not answer.supported:
        if node and node.on_failure:
            walk.fail(draft, step)
            return
        draft.put_step(step, status=StepStatus.FAILED)
        draft.say("no_answer")
        handover(draft, "no_answer")
        return
    if node and node.save:
        save(draft, step, plan, {"text": answer.text})
    elif walk.suggest(draft, step, plan, answer.text):
        return
    else:
        draft.reply(answer.text, answer.citations)
    walk.complete(draft, step, result={"text": answer.text})


def _interpreted(draft: Draft, step: Step, plan: Plan, found: Interpretation) -> None:
    """The planner's worker says which question a message answers. It may never give consent by itself."""
    draft.put_step(step, status=StepStatus.DONE)
    question = next((q for q in draft.questions if q.id == found.question), None)
    open_question = next((q for q in draft.questions if q.plan == plan.id), None)
    sure = found.kind == "answer" and found.confidence >= draft.pack.thresholds.interpret
    if question and sure and _answers(question, found):
        choice = next((c for c in question.choices if c.id == found.choice), None)
        answering.answer(draft, Match("answer", question, values=dict(found.values), yes=found.yes, choice=choice))
    elif open_question and draft.owner == "bot":
        ask_again(draft, open_question, "reask")


def _answers(question: Question, found: Interpretation) -> bool:
    if question.kind == "slots":
        return bool(found.values) and set(found.values) <= set(question.slots)
    if question.kind in ("choice", "clarify"):
        return any(choice.id == found.choice for choice in question.choices)
    return False


# Failures --------------------------------------------------------------------------------------------------------


def on_failed(draft: Draft, message: StepFailed) -> None:
    step, plan = draft.step(message.step), draft.plan_of(message.step)
    if step is None or plan is None or not _awaited(step, message.attempt, False):
        draft.event("late_result_ignored", step=message.step, name=message.service)
        return
    draft.event("step_failed", step=step.id, name=step.name, text=message.error, status=message.reason)
    if message.retryable:
        retry(draft, step, plan, message.reason)
    else:
        _give_up(draft, step, plan, message.error)


def on_dead_letter(draft: Draft, message: TaskDeadLettered) -> None:
    """A task about this ticket cannot be handled by anyone."""
    draft.event("dead_lettered", step=message.step, name=message.topic, text=message.reason)
    if message.step and message.attempt is not None:
        _failed(draft, message.step, message.attempt, message.reason)


def on_progress(draft: Draft, message: StepProgress) -> None:
    if draft.step(message.step):
        draft.event(
            "step_progress",
            step=message.step,
            text=message.line,
            status=message.state,
            data={"percent": message.percent},
        )


def retry(draft: Draft, step: Step, plan: Plan, reason: str) -> None:
    """Send a step again, a bounded number of times; an effect keeps its id, so the executor knows it."""
    by_a_model = step.kind == "agent" and step.name in ("interpret", "planner", *reading.STEPS)
    if step.attempt - len(step.calls) >= dispatch.MAX_ATTEMPTS or by_a_model:
        _give_up(draft, step, plan, reason)
        return
    dispatch.release(draft, step, step.reserved)  # what nobody knows counts as spent
    draft.event("step_retried", step=step.id, name=step.name, text=reason)
    assembling = step.status is StepStatus.ASSEMBLING
    step = draft.put_step(step, reserved=FREE, status=StepStatus.WAITING)
    if step.kind == "tool" and not assembling and step.arguments is not None:
        dispatch.execute(draft, step, plan, step.arguments, {})
    else:
        walk.run(draft, step)


def _failed(draft: Draft, step_id: str, attempt: int, error: str) -> None:
    step = draft.step(step_id)
    plan = draft.plan_of(step_id)
    if step is None or plan is None or not _awaited(step, attempt, False):
        return
    draft.event("step_failed", step=step.id, name=step.name, text=error)
    _give_up(draft, step, plan, error)


def _give_up(draft: Draft, step: Step, plan: Plan, reason: str) -> None:
    """No more attempts: ask the customer again, let a person decide about an effect, or hand over."""
    dispatch.release(draft, step, step.reserved)
    draft.disarm(f"step:{step.id}")
    step = draft.put_step(step, reserved=FREE)
    tool = draft.pack.tools.get(step.name)
    if step.name == "interpret":
        _interpreted(draft, step, plan, Interpretation(kind="unsure"))
    elif step.name in reading.STEPS:
        _read(draft, step, plan, CallProposal())
    elif tool and tool.writes and step.effect and step.status is StepStatus.RUNNING:
        unknown_outcome(draft, step, plan, None)
    else:
        save(draft, step, plan, {})  # what an earlier visit was told is no answer to this one
        walk.fail(draft, step, error=reason)
