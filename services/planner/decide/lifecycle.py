"""Where a ticket can end up: handed to a person, resolved, closed; and the timers that each status must have."""

from __future__ import annotations

from typing import Literal

from services.planner.decide.draft import MASK, Draft
from tandem.contracts.events import ExpertTask
from tandem.contracts.tasks import ToolResult
from tandem.contracts.ticket import Approval, Plan, Status, Step, StepStatus
from tandem.contracts.values import Json, derive_id

IN_FLIGHT = frozenset({StepStatus.RUNNING, StepStatus.ASSEMBLING})
OPEN = frozenset({StepStatus.WAITING, *IN_FLIGHT, StepStatus.ASKING, StepStatus.APPROVING, StepStatus.UNKNOWN})
WEEK_MS = 7 * 24 * 3600 * 1000


def steps_in(plan: Plan | None, *statuses: StepStatus) -> list[Step]:
    return [step for step in plan.steps if step.status in statuses] if plan else []


def busy(draft: Draft) -> bool:
    """True while a turn is being prepared: a step of the active plan is in flight."""
    return bool(steps_in(draft.plan, *IN_FLIGHT))


def handover(draft: Draft, reason: str, say: str = "handover", text: str = "", group: str | None = None) -> None:
    """Give the ticket to a person: tell the customer, put it into the experts' queue, and stop deciding."""
    if draft.status is Status.HANDED_OVER:
        return
    if text:
        draft.reply(text)
    else:
        draft.say(say)
    for question in list(draft.questions):
        draft.close_question(question)
        step = draft.step(question.step)
        if step:
            draft.put_step(step, status=StepStatus.WAITING)  # asked again if the ticket is given back
    draft.unread = []
    draft.status = Status.HANDED_OVER
    draft.helped += 1
    draft.outcome = reason
    draft.disarm("burst", "follow_up", "close")
    draft.event("handed_over", text=reason, status=draft.status.value)
    draft.ask_expert(expert_task(draft, "handover", reason, group=group))


def expert_task(
    draft: Draft,
    kind: Literal["approve", "unknown_outcome", "suggestion", "handover", "message", "conflict"],
    reason: str,
    text: str = "",
    group: str | None = None,
    state: Literal["open", "closed"] = "open",
) -> ExpertTask:
    """Work for a person on this ticket. There is one open hand-over per ticket: a later one replaces it."""
    base = draft.base
    intent = draft.pack.intents.get(draft.plan.intent or "") if draft.plan else None
    ordinal = "" if kind in ("handover", "message") else len(draft.outputs)
    return ExpertTask(
        id=derive_id("expert", draft.id, "handover" if kind == "message" else kind, ordinal and draft.version, ordinal),
        tenant=base.tenant,
        conversation=base.conversation,
        ticket=draft.id,
        kind=kind,
        state=state,
        skill_group=group or (intent.skill_group if intent else "general"),
        urgency=draft.route.urgency if draft.route else "normal",
        reason=reason,
        created_at=draft.now,
        text=text,
        recent=tuple(draft.recent),
        language=draft.language,
    )


def close_expert_task(
    draft: Draft, task: str, kind: Literal["approve", "unknown_outcome", "suggestion", "handover"]
) -> None:
    """Take a task out of the experts' queue."""
    closed = expert_task(draft, kind, "", state="closed")
    draft.ask_expert(closed.model_copy(update={"id": task, "recent": ()}))


def ask_approval(
    draft: Draft,
    step: Step,
    plan: Plan,
    kind: Literal["approve", "unknown_outcome", "suggestion"],
    reason: str,
    text: str = "",
    arguments: dict[str, Json] | None = None,
    arguments_hash: str = "",
) -> Approval:
    """Ask an expert to decide on a step: the approval names effect id and hash, and it expires."""
    task = expert_task(draft, kind, reason, text)
    expires = draft.now + draft.pack.timers.approval
    node = draft.node(step)
    tool = node.approve if node and node.approve else step.node
    approval = Approval(
        id=task.id,
        step=step.id,
        plan=plan.id,
        effect=step.effect or "",
        arguments_hash=arguments_hash,
        expires=expires,
        kind=kind,
    )
    draft.approvals.append(approval)
    draft.ask_expert(
        task.model_copy(
            update={
                "expires": expires,
                "tool": step.name if step.kind == "tool" else tool,
                "effect": step.effect,
                "arguments": masked(draft, arguments or {}),
                "arguments_hash": arguments_hash,
                "procedure": plan.procedure,
                "sentence": step.sentence,
            }
        )
    )
    draft.step_event("approval_asked", step, plan, text=reason, data={"approval": approval.id, "kind": kind})
    return approval


def masked(draft: Draft, arguments: dict[str, Json]) -> dict[str, Json]:
    """Arguments with sensitive facts' values hidden."""
    hidden = [fact.value for fact in draft.facts.values() if fact.sensitive]
    return {name: MASK if value in hidden else value for name, value in arguments.items()}


def resolve(draft: Draft, outcome: str) -> None:
    """The matter is done: watch for a follow-up, then close."""
    timers = draft.pack.timers
    draft.status = Status.RESOLVED
    draft.outcome = outcome
    draft.questions = []
    draft.disarm("question", "expert", "burst")
    draft.arm("close", timers.reopen)
    if timers.follow_up and outcome == "done":
        draft.arm("follow_up", timers.follow_up)
    draft.event("resolved", status=outcome)


def unknown_outcome(draft: Draft, step: Step, plan: Plan, result: ToolResult | None) -> None:
    """Nobody knows whether the effect happened: the step cannot be dropped, a person decides."""
    step = draft.put_step(step, status=StepStatus.UNKNOWN)
    draft.disarm(f"step:{step.id}")
    reason = result.error if result and result.error else "no answer from the executor"
    hash_ = draft.effects[step.effect].arguments_hash if step.effect in draft.effects and step.effect else ""
    ask_approval(draft, step, plan, "unknown_outcome", reason, arguments=step.arguments, arguments_hash=hash_)
    draft.say("handover_failed")


def settle(draft: Draft) -> None:
    """Derive the status from what is open, and see to it that a ticket that is not closed has an armed timer."""
    timers = draft.pack.timers
    if draft.status not in (Status.HANDED_OVER, Status.RESOLVED, Status.CLOSED):
        plan = draft.plan
        if draft.owner != "bot":
            draft.status = Status.HANDED_OVER
        elif busy(draft) or "burst" in draft.timers:
            draft.status = Status.WORKING
        elif draft.questions:
            draft.status = Status.AWAITING_CUSTOMER
        elif steps_in(plan, StepStatus.APPROVING, StepStatus.UNKNOWN):
            draft.status = Status.AWAITING_EXPERT
        elif plan is None:
            draft.status = Status.AWAITING_CUSTOMER
    waits_for_expert = draft.status in (Status.AWAITING_EXPERT, Status.HANDED_OVER)
    if not waits_for_expert:
        draft.disarm("expert")
    elif "expert" not in draft.timers:
        draft.arm("expert", timers.expert)
    if draft.status is Status.AWAITING_CUSTOMER and "question" not in draft.timers:
        draft.arm("question", timers.question)
    if draft.status is Status.CLOSED:
        draft.timers = {}
    elif not draft.timers:
        draft.arm("question" if draft.status is Status.AWAITING_CUSTOMER else "expert", timers.expert)
