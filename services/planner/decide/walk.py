"""Walking a plan: entering a flow's nodes, running steps, taking edges, finishing, and changing topics."""

from __future__ import annotations

from typing import Any, Literal

from services.planner.decide import dispatch, programs, reading, reasoning
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import OPEN, ask_approval, handover, masked, resolve, steps_in
from services.planner.decide.questions import build_choices, missing_slots, park, pose, slot_text
from tandem.contracts.tasks import ProgramCall
from tandem.contracts.ticket import FREE, MAX_PLANS, MAX_RECENT_TEXT, Plan, Route, Status, Step, StepKind, StepStatus
from tandem.contracts.values import Json, call_hash, call_identity, derive_id
from tandem.packs.expressions import evaluate
from tandem.packs.model import END, Edge, Node

MAX_STEPS = 60
"""Of one plan; a longer one has lost its way and goes to a person."""


# Starting and ending ---------------------------------------------------------------------------------------------


def start_plan(draft: Draft, intent: str | None, goal: str, route: Route) -> None:
    """Begin work on a topic: by its procedure, by the shortcut to the knowledge, or by asking the planner's model."""
    beneath = draft.plan
    if len(draft.plans) >= MAX_PLANS:
        handover(draft, "too_many_topics", say="busy")
        return
    if beneath is not None:
        park(draft, beneath)
        draft.event("topic_changed", name=intent, text=beneath.intent or "")
    flow = draft.pack.flow_of(intent)
    origin: Literal["procedure", "shortcut", "model"] = "procedure" if flow else "shortcut" if intent else "model"
    plan = Plan.made(
        id=derive_id("plan", draft.id, draft.version, len(draft.plans)),
        origin=origin,
        intent=intent,
        procedure=flow.procedure if flow else None,
        goal=goal[: MAX_RECENT_TEXT * 2],
        started_at=draft.now,
    )
    draft.plans.append(plan)
    draft.event("plan_started", name=intent, procedure=plan.procedure, status=origin, rung=route.rung)
    if flow:
        enter(draft, plan.id, flow.start)
    elif intent:
        run(draft, add_step(draft, plan.id, "agent", "rag_agent"))
    else:
        step = add_step(draft, plan.id, "agent", "planner")
        dispatch.make_plan(draft, step, _plan(draft, plan.id), route)


def finish_plan(draft: Draft, plan: Plan, outcome: str = "done") -> None:
    """A plan is done: go back to the one beneath, or resolve the ticket."""
    active = draft.plan
    was_active = active is not None and active.id == plan.id
    nodes: list[Json] = [step.node for known in draft.plans if known.id == plan.id for step in known.steps if step.node]
    draft.plans = [known for known in draft.plans if known.id != plan.id]
    draft.questions = [q for q in draft.questions if q.plan != plan.id]
    draft.event(
        "plan_finished",
        name=plan.intent,
        procedure=plan.procedure,
        status=outcome,
        data={"nodes": nodes} if nodes else {},
    )
    if draft.owner != "bot":
        return
    if not draft.plans:
        resolve(draft, outcome)
    elif was_active:
        resume(draft)


def drop_plan(draft: Draft, plan: Plan) -> None:
    """Forget a plan that nobody waits for any more: what is reserved for its steps is given back."""
    for step in steps_in(plan, *OPEN):
        dispatch.release(draft, step, FREE)
        draft.disarm(f"step:{step.id}")
    draft.plans = [known for known in draft.plans if known.id != plan.id]
    draft.questions = [q for q in draft.questions if q.plan != plan.id]
    draft.event("plan_dropped", name=plan.intent, procedure=plan.procedure)


def resume(draft: Draft, announce: bool = True) -> None:
    """Take up the active plan where it stood: run what waits, follow what was completed meanwhile."""
    plan = draft.plan
    if plan is None:
        return
    intent = draft.pack.intents.get(plan.intent or "")
    if announce and intent and intent.label:
        draft.say("resume", topic=draft.render(intent.label))
    draft.event("plan_resumed", name=plan.intent, procedure=plan.procedure)
    for step in plan.steps:
        current = draft.step(step.id)
        if current and current.status is StepStatus.WAITING:
            run(draft, current)
    _go_on(draft, plan.id)


def restart_shortcut(draft: Draft, plan: Plan, goal: str, route: Route) -> None:
    """The customer wrote more while a knowledge answer was prepared: answer both at once, before anything is said."""
    drop_plan(draft, plan)
    draft.event("messages_merged", name=plan.intent)
    start_plan(draft, plan.intent, goal, route)


# Steps -----------------------------------------------------------------------------------------------------------


def add_step(
    draft: Draft, plan_id: str, kind: StepKind, name: str, node: Node | None = None, visits: int | None = None
) -> Step:
    """Append a step to a plan. Step ids are never reused. `visits`: how often its node has been entered now."""
    plan = _plan(draft, plan_id)
    draft.steps_made += 1
    step = Step.made(
        id=f"s{draft.steps_made}",
        kind=kind,
        name=name,
        node=node.id if node else None,
        sentence=node.sentence if node else None,
    )
    steps = (*plan.steps, step)
    if node is None or visits is None:
        draft.put_plan(plan.changed(steps=steps))
    else:
        draft.put_plan(plan.changed(steps=steps, visits={**plan.visits, node.id: visits}))
    return step


def enter(draft: Draft, plan_id: str, node_id: str) -> None:
    """Enter a node of the flow: count the visit, forget what it says, make its step and run it."""
    plan = _plan(draft, plan_id)
    flow = draft.flow(plan)
    node = flow.nodes.get(node_id) if flow else None
    if node is None:
        handover(draft, "flow_changed", say="handover_failed")
        return
    done = {step.node for step in steps_in(plan, StepStatus.DONE)}
    if any(need not in done for need in node.needs):
        return
    visits = plan.visits.get(node_id, 0) + 1
    if visits > node.max_visits or len(plan.steps) >= MAX_STEPS:
        handover(draft, f"too_often:{node_id}", say="unsuccessful")
        return
    for fact in node.forget:
        draft.facts.pop(fact, None)
    name = node.tool or node.program or node.agent or node.id
    run(draft, add_step(draft, plan_id, node.kind, name, node, visits))


def run(draft: Draft, step: Step) -> None:
    """Do what a step says, as far as it can be done now; a plan beneath the active one waits for its turn."""
    plan = draft.plan_of(step.id)
    if plan is None or plan.id != (draft.plan.id if draft.plan else None) or draft.owner != "bot":
        return
    node = draft.node(step)
    if node and reading.due(draft, step, node):
        reading.begin(draft, step, add_step(draft, plan.id, "agent", reading.READER), node)
        return
    match step.kind:
        case "ask":
            _run_ask(draft, step, plan, node)
        case "tool":
            run_tool(draft, step, plan, node)
        case "program":
            programs.run(draft, step, plan, node)
        case "agent":
            dispatch.answer_question(draft, step, plan, step.name)
        case "approve":
            _run_approve(draft, step, plan, node)
        case "reply":
            _run_reply(draft, step, plan, node)
        case "handover":
            text = draft.render(node.text, plan) if node else step.text
            draft.put_step(step, status=StepStatus.DONE)
            handover(
                draft, (node.reason if node else None) or step.name, text=text, group=node.skill_group if node else None
            )


def _run_reply(draft: Draft, step: Step, plan: Plan, node: Node | None) -> None:
    text = draft.render(node.text, plan) if node else step.text
    if suggest(draft, step, plan, text):
        return
    draft.reply(text, step=step)
    complete(draft, step)


def suggest(draft: Draft, step: Step, plan: Plan, text: str) -> bool:
    """Under the autonomy `suggest` an expert sees the text first, and sends it by approving; False: say it."""
    intent = draft.pack.intents.get(plan.intent or "")
    if intent is None or intent.autonomy != "suggest":
        return False
    step = draft.put_step(step, status=StepStatus.APPROVING, text=text)
    ask_approval(draft, step, plan, "suggestion", "suggest", text)
    return True


def _run_ask(draft: Draft, step: Step, plan: Plan, node: Node | None) -> None:
    if any(question.plan == plan.id for question in draft.questions):
        return  # one question at a time; this step waits
    if node is None:
        asked = (step.arguments or {}).get("slots")
        pose(draft, step, plan, "slots", step.text, slots=asked if isinstance(asked, list) else ())
    elif node.choices:
        choices = build_choices(draft, plan, node)
        if choices:
            pose(draft, step, plan, "choice", draft.render(node.text, plan), choices=choices)
        else:
            fail(draft, step)
    elif node.consent:
        _ask_consent(draft, step, plan, node)
    elif node.confirm:
        pose(draft, step, plan, "consent", draft.render(node.text, plan))
    else:
        missing = missing_slots(draft, node)
        if not missing:
            complete(draft, step)
            return
        whole = len(missing) == len(node.slots) and node.text
        text = draft.render(node.text, plan) if whole else slot_text(draft, missing)
        pose(draft, step, plan, "slots", text, slots=missing)


def _ask_consent(draft: Draft, step: Step, plan: Plan, node: Node) -> None:
    """Ask whether a call may be made. The consent is for exactly that call: its subject is the call's hash."""
    target = _target(draft, plan, node.consent)
    subject = None
    if target and target.tool:
        arguments = dispatch.bound_arguments(draft, plan, target)
        subject = call_hash(target.tool, arguments)
    pose(draft, step, plan, "consent", draft.render(node.text, plan), subject=subject)


def _run_approve(draft: Draft, step: Step, plan: Plan, node: Node | None) -> None:
    target = _target(draft, plan, node.approve if node else None)
    if target is None or target.tool is None:
        fail(draft, step)
        return
    arguments = dispatch.bound_arguments(draft, plan, target)
    _wait_for_approval(draft, step, plan, target.tool, arguments, draft.render(node.text, plan) if node else "")


def _wait_for_approval(
    draft: Draft, step: Step, plan: Plan, tool: str, arguments: dict[str, Json], text: str = ""
) -> None:
    effect, hash_ = call_identity(draft.id, tool, arguments, 0)
    step = draft.put_step(step, status=StepStatus.APPROVING, arguments=arguments, effect=effect)
    ask_approval(draft, step, plan, "approve", text or f"approve {tool}", text, arguments, hash_)
    draft.say("approval_wait")


def run_tool(draft: Draft, step: Step, plan: Plan, node: Node | None) -> None:
    """Bind what the flow fixes; let function_agent choose and assemble the rest; then ask what the policies ask; then call."""
    tool = draft.pack.tools.get(step.name)
    if tool is None:
        handover(draft, f"unknown_tool:{step.name}", say="handover_failed")
        return
    if step.script is not None:
        dispatch.assemble(draft, step, plan, {})
        return
    arguments = (
        step.arguments if step.arguments is not None else dispatch.bound_arguments(draft, plan, node) if node else {}
    )
    if dispatch.complete_arguments(tool, arguments):
        call(draft, step, plan, arguments, _origins(draft, step, node, arguments))
    else:
        dispatch.assemble(draft, step, plan, arguments)


def call(draft: Draft, step: Step, plan: Plan, arguments: dict[str, Json], origins: dict[str, str]) -> None:
    """Call a tool once the customer has agreed and an expert has approved, where the policies ask for it."""
    tool = draft.pack.tools[step.name]
    if draft.owner != "bot":
        draft.put_step(step, arguments=arguments, status=StepStatus.WAITING)
    elif dispatch.needs_consent(draft, tool, plan) and not dispatch.has_consent(draft, tool, arguments):
        step = draft.put_step(step, arguments=arguments)
        shown = ", ".join(f"{name} {value}" for name, value in masked(draft, arguments).items())
        text = draft.sentence("confirm_call", tool=tool.description or tool.name, arguments=shown)
        pose(draft, step, plan, "consent", text, subject=call_hash(tool.name, arguments))
    elif dispatch.needs_approval(draft, tool, plan, arguments) and not dispatch.has_approval(draft, tool, arguments):
        _wait_for_approval(draft, step, plan, tool.name, arguments)
    else:
        dispatch.execute(draft, step, plan, arguments, origins)


def call_for_program(draft: Draft, step: Step, plan: Plan, wanted: ProgramCall) -> None:
    """A program stands at a call: make it a step like any other, for which the program waits."""
    problem = programs.refusal(draft, step, wanted)
    if problem:
        draft.event("program_refused", step=step.id, node=step.node, name=step.name, text=problem)
        fail(draft, step, error=problem)
        return
    child = add_step(draft, plan.id, "tool", wanted.tool)
    child = draft.put_step(child, arguments=wanted.arguments, caller=step.id, sentence=step.sentence)
    draft.put_step(step, status=StepStatus.WAITING, needs=(child.id,))
    run(draft, child)


def _back_to_program(draft: Draft, child: Step, succeeded: bool, scope: dict[str, Any]) -> None:
    plan = draft.plan_of(child.id)
    caller = programs.returned(draft, child, succeeded, scope)
    if plan is None or caller is None:
        return
    if programs.fits(caller):
        run(draft, caller)
    else:
        fail(draft, caller, error="the program's calls are too large to be kept")
    _go_on(draft, plan.id)


def _origins(draft: Draft, step: Step, node: Node | None, arguments: dict[str, Json]) -> dict[str, str]:
    """Argument → origin: of the fact it was bound to, or of the pack's rule (`system`); of an assembled one, of its fact, or
    the customer's words. What a program or a model has put there is theirs, and no rule's."""
    if step.caller or node is None:
        return dict.fromkeys(arguments, programs.origin(draft) if step.caller else "model")
    values: dict[str, str] = {}
    slots = draft.pack.tools[step.name].slots
    for name in arguments:
        raw = node.args.get(name, f"${slots.get(name, name)}")
        fact = draft.facts.get(raw[1:].split(".")[0]) if isinstance(raw, str) and raw.startswith("$") else None
        values[name] = fact.origin if fact else "system" if name in node.args else "customer"
    return values


def complete(draft: Draft, step: Step, **scope: Any) -> None:
    """A step is done: take its edges. While a person owns the ticket, the steps they lead to wait."""
    _end(draft, step, StepStatus.DONE, scope)


def fail(draft: Draft, step: Step, **scope: Any) -> None:
    """A step failed, or the customer or an expert said no: take its failure edges, or hand over."""
    _end(draft, step, StepStatus.FAILED, scope)


def _end(draft: Draft, step: Step, status: StepStatus, scope: dict[str, Any]) -> None:
    draft.disarm(f"step:{step.id}")
    step = draft.put_step(step, status=status)
    follow(draft, step, status is StepStatus.DONE, **scope)


def follow(draft: Draft, step: Step, succeeded: bool, **more: Any) -> None:
    """Take the edges out of a finished step; finish the plan when nothing of it is left open."""
    if step.caller:
        _back_to_program(draft, step, succeeded, more)
        return
    plan = draft.plan_of(step.id)
    if plan is None:
        return
    node = draft.node(step)
    edges = (node.next if succeeded else node.on_failure) if node else ()
    if not succeeded and not edges and not reasoning.set_back(draft, step, plan, more):
        handover(draft, f"failed:{step.name}", say="unsuccessful")
        return
    for target in _taken(draft, plan, edges, bool(node and node.all), more):
        if target != END:
            enter(draft, plan.id, target)
    _go_on(draft, plan.id)


def _go_on(draft: Draft, plan_id: str) -> None:
    """Run the plan's next waiting step; with none open, the plan is finished."""
    if draft.status is Status.HANDED_OVER or not any(plan.id == plan_id for plan in draft.plans):
        return
    plan = _plan(draft, plan_id)
    open_steps = steps_in(plan, *OPEN)
    if not open_steps and reasoning.wanted(draft, plan):
        step = add_step(draft, plan_id, "agent", "planner")
        reasoning.go_on(draft, step, _plan(draft, plan_id))
        return
    if not open_steps:
        finish_plan(draft, plan)
        return
    done = {step.id for step in steps_in(plan, StepStatus.DONE)}
    asked = any(question.plan == plan_id for question in draft.questions)
    for step in open_steps:
        if step.status is StepStatus.WAITING and set(step.needs) <= done and not (step.kind == "ask" and asked):
            run(draft, step)
            return


def _taken(draft: Draft, plan: Plan, edges: tuple[Edge, ...], every: bool, more: dict[str, Any]) -> list[str]:
    scope = draft.scope(plan, **more) if any(edge.when for edge in edges) else {}
    held = [edge.to for edge in edges if edge.when is None or evaluate(edge.when, scope)]
    return held if every else held[:1]


def _target(draft: Draft, plan: Plan, node_id: str | None) -> Node | None:
    flow = draft.flow(plan)
    return flow.nodes.get(node_id) if flow and node_id else None


def _plan(draft: Draft, plan_id: str) -> Plan:
    for plan in draft.plans:
        if plan.id == plan_id:
            return plan
    raise KeyError(plan_id)
