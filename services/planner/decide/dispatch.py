"""Sending a step to the agent that does it, within the budget, under an effect id that survives every replay."""

from __future__ import annotations

from typing import Any

from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import handover, masked
from tandem.contracts.inbox import ResolveUnknown
from tandem.contracts.tasks import (
    AnswerQuestion,
    AssembleCall,
    Authority,
    ExecuteTool,
    Interpret,
    MakePlan,
    Observation,
    Reason,
    RunProgram,
    SettleEffect,
    Task,
)
from tandem.contracts.ticket import Cost, Effect, Line, Plan, Question, Route, Step, StepStatus, TypedValue
from tandem.contracts.topics import tasks_of
from tandem.contracts.values import Json, Millis, call_hash, call_identity, derive_id, once_key
from tandem.packs.expressions import bind, evaluate
from tandem.packs.model import Node, Tool

IDENTITY = "_identity"
AUTHORISED = "_authorised"
MAX_ATTEMPTS = 3
EXECUTOR_GRACE_MS = 15_000


def consent_fact(arguments_hash: str) -> str:
    return f"_consent:{arguments_hash}"


def approval_fact(arguments_hash: str) -> str:
    return f"_approval:{arguments_hash}"


def has_consent(draft: Draft, tool: Tool, arguments: dict[str, Json]) -> bool:
    """Whether the customer has agreed to exactly this call."""
    return consent_fact(call_hash(tool.name, arguments)) in draft.facts


def has_approval(draft: Draft, tool: Tool, arguments: dict[str, Json]) -> bool:
    """Whether an expert has approved exactly this call."""
    return approval_fact(call_hash(tool.name, arguments)) in draft.facts


def bound_arguments(draft: Draft, plan: Plan, node: Node) -> dict[str, Json]:
    """What the flow itself fixes of a call; parameters without a value are left out."""
    scope = draft.scope(plan)
    bound = {name: bind(value, scope) for name, value in node.args.items()}
    return {name: value for name, value in bound.items() if value is not None}


def complete_arguments(tool: Tool, arguments: dict[str, Json]) -> bool:
    """True if every required parameter, and one of each group of alternatives, is there."""
    return all(name in arguments for name in tool.required) and all(
        any(name in arguments for name in group) for group in tool.alternatives
    )


def needs_consent(draft: Draft, tool: Tool, plan: Plan) -> bool:
    """Whether the customer must agree to a call of this tool before it runs."""
    intent = draft.pack.intents.get(plan.intent or "")
    policies = draft.pack.policies
    asked_for = policies.consent == "customer_confirms" or (intent is not None and intent.autonomy == "confirm")
    return tool.writes and asked_for and tool.name not in policies.no_consent


def needs_approval(draft: Draft, tool: Tool, plan: Plan, arguments: dict[str, Json]) -> bool:
    """Whether an expert must approve a call of this tool before it runs."""
    intent = draft.pack.intents.get(plan.intent or "")
    if tool.writes and intent is not None and intent.autonomy == "suggest":
        return True
    return any(
        rule.tool == tool.name and (rule.when is None or evaluate(rule.when, {"args": arguments}))
        for rule in draft.pack.policies.approvals
    )


def reserve(draft: Draft, step: Step, cost: Cost) -> bool:
    """Set aside what a step may cost; without room for it the ticket goes to a person."""
    budget = draft.budget
    reserved = budget.reserved + cost
    if not (budget.spent + reserved).within(budget.limit):
        draft.put_step(step, status=StepStatus.FAILED)
        handover(draft, "budget", say="budget")
        return False
    draft.budget = budget.changed(reserved=reserved)
    return True


def _with_a_model(draft: Draft) -> Cost:
    """What a step may cost that may ask a model: as much as the pack allows and the budget has room for."""
    budget, least, most = draft.budget, draft.pack.reserve, draft.pack.reserve_model
    left = budget.limit - budget.spent - budget.reserved
    return Cost.made(
        calls=max(least.calls, min(most.calls, left.calls)),
        tokens=max(least.tokens, min(most.tokens, left.tokens)),
        micros=max(least.micros, min(most.micros, left.micros)),
    )


def release(draft: Draft, step: Step, spent: Cost) -> None:
    """Settle a step's reservation with what it really cost, capped by what was reserved in money terms."""
    budget = draft.budget
    draft.budget = budget.changed(spent=budget.spent + spent, reserved=budget.reserved - step.reserved)


def _about(draft: Draft, step: Step, plan: Plan, attempt: int, deadline: Millis) -> dict[str, Any]:
    """What every task says of its step."""
    return {
        "tenant": draft.base.tenant,
        "conversation": draft.base.conversation,
        "ticket": draft.id,
        "pack": draft.pack.name,
        "pack_hash": draft.pack.hash,
        "step": step.id,
        "attempt": attempt,
        "turn": draft.turn,
        "plan_version": plan.version,
        "deadline": deadline,
    }


def send_task(draft: Draft, step: Step, plan: Plan, service: str, make: type[Task], **fields: Any) -> bool:
    """Dispatch a step as a task to a service."""
    cost = draft.pack.reserve if make in (ExecuteTool, RunProgram) else _with_a_model(draft)
    tool = draft.pack.tools.get(step.name) if make is ExecuteTool else None
    if tool and tool.price_micros:
        cost = cost + Cost(micros=tool.price_micros)
    if not reserve(draft, step, cost):
        return False
    attempt = step.attempt + 1
    wait = draft.pack.timers.step
    deadline = draft.now + wait
    if tool:
        fields["expires"] = draft.now + wait
        deadline += tool.timeout_ms + EXECUTOR_GRACE_MS
    task_id = derive_id("task", draft.id, step.id, attempt)
    task = make.made(
        **_about(draft, step, plan, attempt, deadline),
        id=task_id,
        channel=draft.base.channel,
        thread=draft.base.thread,
        language=draft.language,
        reserved=cost,
        **fields,
    )
    status = StepStatus.ASSEMBLING if make is AssembleCall else StepStatus.RUNNING
    draft.put_step(step, status=status, attempt=attempt, deadline=deadline, reserved=cost, task=task_id)
    draft.timers[f"step:{step.id}"] = deadline
    key = _effect_key(tool, task) if isinstance(task, ExecuteTool) and tool else task_id
    draft.send(tasks_of(service), task, key)
    draft.step_event(
        "step_dispatched",
        step,
        plan,
        effect=task.effect if isinstance(task, ExecuteTool) else None,
        data={"service": service, "attempt": attempt, "arguments": masked(draft, getattr(task, "arguments", {}))},
    )
    return True


def _effect_key(tool: Tool, task: ExecuteTool) -> str:
    """One key serially: by what happens once, else by the effect."""
    if tool.once_per:
        return once_key(task.tenant, tool.name, [task.arguments.get(name) for name in tool.once_per])
    return task.effect


def assemble(draft: Draft, step: Step, plan: Plan, bound: dict[str, Json]) -> bool:
    """Ask function_agent for the arguments that the flow does not fix; and which of several tools it is."""
    return send_task(
        draft,
        step,
        plan,
        "function_agent",
        AssembleCall,
        tools=step.script.tools if step.script else (step.name,),
        goal=step.text if step.script else plan.goal,
        bound=bound,
        facts=_public(draft),
        recent=_recent(draft),
    )


def read(draft: Draft, step: Step, plan: Plan, tool: str, **more: Any) -> bool:
    """Ask function_agent which values of a tool stand in the conversation. `more`: calls, sent_at, sure."""
    return send_task(
        draft,
        step,
        plan,
        "function_agent",
        AssembleCall,
        tools=(tool,),
        goal=plan.goal,
        facts=_public(draft),
        recent=_recent(draft),
        judge=True,
        **more,
    )


def execute(draft: Draft, step: Step, plan: Plan, arguments: dict[str, Json], origins: dict[str, str]) -> bool:
    """Send a call to the executor. The effect id is held in the ticket: the same request is the same effect."""
    tool = draft.pack.tools[step.name]
    node = draft.node(step)
    n = plan.visits.get(step.node or "", 1) - 1 if node and node.repeat else 0
    effect, hash_ = call_identity(draft.id, tool.name, arguments, n)
    draft.effects[effect] = Effect.made(
        id=effect, tool=tool.name, step=step.id, n=n, status="pending", arguments_hash=hash_
    )
    step = step.changed(arguments=arguments, effect=effect)  # put into the plan by whatever becomes of it now
    return send_task(
        draft,
        step,
        plan,
        "executor",
        ExecuteTool,
        tool=tool.name,
        effect=effect,
        n=n,
        arguments=arguments,
        arguments_hash=hash_,
        authority=authority(draft, step, plan, hash_),
        origins=origins,
    )


def settle(draft: Draft, step: Step, plan: Plan, action: ResolveUnknown) -> None:
    """Tell the executor what a person has found out about a call: what may happen once only is judged by its log."""
    tool, effect = draft.pack.tools.get(step.name), draft.effects.get(action.effect)
    if tool is None or effect is None:
        return
    about = _about(draft, step, plan, step.attempt, draft.now + draft.pack.timers.step)
    call = ExecuteTool(
        **about,
        id=step.task or effect.id,
        tool=tool.name,
        effect=effect.id,
        n=effect.n,
        arguments=step.arguments or {},
        arguments_hash=effect.arguments_hash,
        expires=draft.now,
    )
    task = SettleEffect(
        **about,
        id=derive_id("settle", draft.id, effect.id),
        call=call,
        happened=action.happened,
        output=action.output,
        expert=action.expert,
    )
    draft.send(tasks_of("executor"), task, _effect_key(tool, call))


def run_program(draft: Draft, step: Step, plan: Plan, inputs: dict[str, Json]) -> bool:
    """Let function_agent run a program from its beginning to its next call; what it has called already it is told."""
    step = step.changed(arguments=inputs)
    return send_task(
        draft,
        step,
        plan,
        "function_agent",
        RunProgram,
        program=step.name,
        inputs=inputs,
        calls=step.calls,
        at=plan.started_at,
    )


def authority(draft: Draft, step: Step, plan: Plan, arguments_hash: str) -> Authority:
    """The evidence that permits a call, from what the ticket itself recorded."""
    consent = draft.facts.get(consent_fact(arguments_hash))
    approval = draft.facts.get(approval_fact(arguments_hash))
    identity, allowed = draft.facts.get(IDENTITY), draft.facts.get(AUTHORISED)
    approved = approval.value if approval and isinstance(approval.value, dict) else {}
    return Authority.made(
        identity=identity.ref if identity else None,
        authorisation=allowed.ref if allowed else None,
        consent=str(consent.value) if consent else None,
        consent_subject=arguments_hash if consent else None,
        approval=str(approved["approval"]) if approved else None,
        approved_by=str(approved["expert"]) if approved else None,
        approval_hash=arguments_hash if approved else None,
        sentence=step.sentence,
        procedure=plan.procedure,
    )


def answer_question(draft: Draft, step: Step, plan: Plan, service: str) -> bool:
    after = draft.seq if _answer_is_reply(draft, step, plan) else None
    return send_task(
        draft, step, plan, service, AnswerQuestion, question=plan.goal, recent=_recent(draft), drafts_after=after
    )


def _answer_is_reply(draft: Draft, step: Step, plan: Plan) -> bool:
    """Whether the customer will be told the answer as it is: nobody sees it before, and it is not kept for a later step."""
    node, intent = draft.node(step), draft.pack.intents.get(plan.intent or "")
    kept = node is not None and bool(node.save)
    return draft.owner == "bot" and not kept and (intent is None or intent.autonomy != "suggest")


def make_plan(draft: Draft, step: Step, plan: Plan, route: Route) -> bool:
    return send_task(
        draft, step, plan, "planner", MakePlan, goal=plan.goal, route=route, facts=_public(draft), recent=_recent(draft)
    )


def reason(draft: Draft, step: Step, plan: Plan, observations: tuple[Observation, ...]) -> bool:
    """Ask the planner's model what to do next, with what the plan's steps brought."""
    return send_task(
        draft,
        step,
        plan,
        "planner",
        Reason,
        goal=plan.goal,
        facts=_public(draft),
        recent=_recent(draft),
        observations=observations,
    )


def interpret(
    draft: Draft,
    step: Step,
    plan: Plan,
    text: str,
    values: tuple[TypedValue, ...],
    route: Route,
    questions: tuple[Question, ...],
) -> bool:
    return send_task(
        draft,
        step,
        plan,
        "planner",
        Interpret,
        text=text,
        values=values,
        route=route,
        questions=questions,
        recent=_recent(draft),
    )


def _public(draft: Draft) -> dict[str, Any]:
    """Facts that agents may see: not the platform's own evidence."""
    return {name: fact for name, fact in draft.facts.items() if not name.startswith("_")}


def _recent(draft: Draft) -> tuple[Line, ...]:
    return tuple(draft.recent)
