"""A plan of the planner's own model goes on by what its steps brought: observed, thought over after a failure, and bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.planner.decide import dispatch
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import handover, masked
from tandem.contracts.tasks import Observation, ProposedStep
from tandem.contracts.ticket import Plan, Step, StepStatus
from tandem.contracts.values import Json, canonical_json

MAX_ROUNDS = 5
"""How often one plan may ask what comes next; past it a person does."""

MAX_OBSERVED = 8
MAX_RESULT = 1_500
"""Characters kept of what a step brought."""

_ROUNDS = "_reason"
_RESULT = "_result:"


def wanted(draft: Draft, plan: Plan) -> bool:
    """Whether a plan with nothing left open has brought something that the customer has not been told of."""
    if plan.origin != "model" or draft.owner != "bot":
        return False
    ended = [step for step in plan.steps if step.status in (StepStatus.DONE, StepStatus.FAILED)]
    told = [at for at, step in enumerate(ended) if step.kind == "reply" or step.name == "rag_agent"]
    return any(step.kind in ("tool", "program", "ask") for step in ended[told[-1] + 1 if told else 0 :])


def go_on(draft: Draft, step: Step, plan: Plan) -> None:
    """Ask what comes next; `step` is the one that asks."""
    rounds = plan.visits.get(_ROUNDS, 0) + 1
    if rounds > MAX_ROUNDS:
        draft.put_step(step, status=StepStatus.FAILED)
        handover(draft, "too_many_rounds", say="unsuccessful")
        return
    draft.put_plan(plan.changed(visits={**plan.visits, _ROUNDS: rounds}))
    dispatch.reason(draft, step, plan, _observations(draft, plan))


def note(draft: Draft, step: Step, plan: Plan, output: dict[str, Json]) -> None:
    """Keep what a step of a model's plan brought, for its next round; a procedure's node says itself what it keeps."""
    if plan.origin != "model" or step.caller:  # what a program called it tells itself
        return
    shown = masked(draft, output)
    text = canonical_json(shown)
    draft.know(f"{_RESULT}{step.id}", shown if len(text) <= MAX_RESULT else {"cut": text[:MAX_RESULT]}, "tool", step.id)
    kept = [name for name in draft.facts if name.startswith(_RESULT)]
    for name in kept[:-MAX_OBSERVED]:
        del draft.facts[name]


def set_back(draft: Draft, step: Step, plan: Plan, about: Mapping[str, Any]) -> bool:
    """A call of a model's plan failed: what was to follow is skipped, and the model thinks again. False: it may not."""
    failed = plan.origin == "model" and step.kind in ("tool", "program") and "error" in about
    if not failed or plan.visits.get(_ROUNDS, 0) >= MAX_ROUNDS:
        return False
    output: dict[str, Json] = {"error": str(about["error"])[:MAX_RESULT]}
    if step.calls:
        output["called"] = [{"tool": call.tool, "failed": bool(call.error)} for call in step.calls]
    note(draft, step, plan, output)
    for waiting in plan.steps:
        if waiting.status is StepStatus.WAITING:
            draft.put_step(waiting, status=StepStatus.SKIPPED)
    draft.event("set_back", step=step.id, name=step.name, text=str(about["error"])[:MAX_RESULT])
    return True


def repeats(plan: Plan, proposed: ProposedStep) -> bool:
    """Whether this very call was made in this plan before: asked again it brings nothing new."""
    wanted_call = (proposed.name, canonical_json(proposed.arguments))
    made = [step for step in plan.steps if step.kind == "tool" and step.status in (StepStatus.DONE, StepStatus.FAILED)]
    return any((step.name, canonical_json(step.arguments or {})) == wanted_call for step in made)


def has_spoken(plan: Plan) -> bool:
    """Whether the plan has told the customer anything."""
    return any(
        step.status is StepStatus.DONE and (step.kind in ("reply", "ask") or step.name == "rag_agent")
        for step in plan.steps
    )


def _observations(draft: Draft, plan: Plan) -> tuple[Observation, ...]:
    seen = []
    for step in plan.steps:
        fact = draft.facts.get(f"{_RESULT}{step.id}")
        if fact is not None and isinstance(fact.value, dict):
            seen.append(Observation(step=step.id, name=step.name, status=step.status.value, output=fact.value))
    return tuple(seen)
