"""What experts do: approve, reject, decide on an unknown outcome, take over, reply, give back."""

from __future__ import annotations

from services.planner.decide import dispatch, walk
from services.planner.decide.customer import first_time
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import close_expert_task, expert_task, handover, resolve
from services.planner.decide.questions import park
from services.planner.decide.results import save
from tandem.contracts.inbox import Approve, ExpertAction, ExpertReply, GiveBack, Reject, ResolveUnknown, TakeOver
from tandem.contracts.ticket import Approval, Status, StepStatus


def on_expert(draft: Draft, action: ExpertAction) -> None:
    """An expert's action, taken once."""
    if not first_time(draft, action.id):
        return
    match action:
        case TakeOver():
            _take_over(draft, action)
        case ExpertReply():
            _reply(draft, action)
        case GiveBack():
            _give_back(draft, action)
        case Approve():
            _approve(draft, action)
        case Reject():
            _reject(draft, action)
        case ResolveUnknown():
            _resolve_unknown(draft, action)


def _take_over(draft: Draft, action: TakeOver) -> None:
    """The expert owns the ticket: the turn is raised, so nothing the bot still says is shown. What another has stays theirs."""
    if draft.owner not in ("bot", f"expert:{action.expert}") and not action.even_so:
        owner = draft.owner.removeprefix("expert:")
        _refused(draft, action, f"{owner} has the ticket; with even-so you take it all the same")
        return
    if draft.owner == "bot":
        draft.turn += 1
        draft.seq = 0
        draft.helped += 1
        draft.say("taken_over", expert=action.expert, reason=action.reason)
    draft.owner = f"expert:{action.expert}"
    for plan in draft.plans:
        park(draft, plan)
    draft.questions = []
    draft.unread = []
    draft.status = Status.HANDED_OVER
    draft.outcome = None
    draft.disarm("burst", "question", "follow_up", "close")
    draft.event("taken_over", name=action.expert, text=action.reason)
    close_expert_task(draft, expert_task(draft, "handover", "").id, "handover")


def _owns(draft: Draft, action: ExpertAction) -> bool:
    if draft.owner == f"expert:{action.expert}":
        return True
    _refused(draft, action, f"the ticket belongs to {draft.owner}; take it over first")
    return False


def _refused(draft: Draft, action: ExpertAction, why: str) -> None:
    draft.event("action_refused", name=action.expert, text=why)


def _reply(draft: Draft, action: ExpertReply) -> None:
    if _owns(draft, action):
        draft.reply(action.text, author=draft.owner)


def _give_back(draft: Draft, action: GiveBack) -> None:
    """The platform goes on where it stood, or the matter is settled."""
    if not _owns(draft, action):
        return
    draft.owner = "bot"
    draft.turn += 1
    draft.seq = 0
    draft.experts_note = action.reason or None
    draft.status = Status.WORKING
    draft.outcome = None
    draft.event("given_back", name=action.expert, text=action.reason)
    draft.say("given_back", expert=action.expert, reason=action.reason)
    undecided = any(step.status is StepStatus.UNKNOWN for plan in draft.plans for step in plan.steps)
    if (action.resolved or not draft.plans) and not undecided:
        draft.plans = []
        resolve(draft, "resolved_by_expert")
    else:
        walk.resume(draft, announce=False)


def _approval(draft: Draft, action: Approve | Reject | ResolveUnknown) -> Approval | None:
    """The open approval an action names; a mismatch or expiry is refused, and said so."""
    found = next((a for a in draft.approvals if a.id == action.approval), None)
    problem = None
    if found is None:
        problem = "no such open approval; it may have been decided already"
    elif draft.now > found.expires:
        problem = "the approval has expired"
    elif not isinstance(action, Reject) and action.effect != found.effect:
        problem = "the effect id is not the one asked about"
    elif isinstance(action, Approve) and action.arguments_hash != found.arguments_hash:
        problem = "the arguments are not the ones asked about"
    if problem is None:
        return found
    draft.event("approval_refused", name=action.expert, text=problem, data={"approval": action.approval})
    draft.ask_expert(expert_task(draft, "conflict", f"approval refused: {problem}"))
    return None


def _decided(draft: Draft, approval: Approval) -> None:
    draft.approvals = [a for a in draft.approvals if a.id != approval.id]
    close_expert_task(draft, approval.id, approval.kind)


def _approve(draft: Draft, action: Approve) -> None:
    approval = _approval(draft, action)
    step = draft.step(approval.step) if approval else None
    if approval is None or step is None or step.status is not StepStatus.APPROVING:
        return
    _decided(draft, approval)
    draft.event(
        "approved",
        step=step.id,
        node=step.node,
        name=action.expert,
        effect=approval.effect,
        sentence=step.sentence,
        text=action.note,
        data={"kind": approval.kind},
    )
    if approval.kind == "suggestion":
        draft.reply(step.text, step=step)
        walk.complete(draft, step)
        return
    value = {"approval": approval.id, "expert": action.expert}
    draft.know(dispatch.approval_fact(approval.arguments_hash), {**value}, "expert", action.expert)
    if step.kind == "tool":
        walk.run(draft, draft.put_step(step, status=StepStatus.WAITING))
    else:
        walk.complete(draft, step)


def _reject(draft: Draft, action: Reject) -> None:
    approval = _approval(draft, action)
    step = draft.step(approval.step) if approval else None
    if approval is None or step is None:
        return
    _decided(draft, approval)
    draft.event(
        "approval_rejected",
        step=step.id,
        node=step.node,
        name=action.expert,
        text=action.note,
        data={"kind": approval.kind},
    )
    node = draft.node(step)
    plan = draft.plan_of(step.id)
    if approval.kind == "suggestion":
        draft.put_step(step, status=StepStatus.SKIPPED)
        handover(draft, "suggestion_rejected")
    elif node and node.kind == "approve":
        walk.fail(draft, step)
    elif plan:
        draft.put_step(step, status=StepStatus.FAILED)
        draft.say("approval_rejected")
        walk.finish_plan(draft, plan, "not_approved")


def _resolve_unknown(draft: Draft, action: ResolveUnknown) -> None:
    """A person has found out whether the effect happened; a late result that says otherwise becomes a conflict."""
    approval = _approval(draft, action)
    step = draft.step(approval.step) if approval else None
    if approval is None or step is None or step.status is not StepStatus.UNKNOWN:
        return
    _decided(draft, approval)
    draft.know(f"_decided:{approval.effect}", action.happened, "expert", action.expert)
    known = draft.effects.get(approval.effect)
    if known:
        status = "done" if action.happened else "failed"
        draft.effects[approval.effect] = known.model_copy(update={"status": status})
    draft.event(
        "outcome_decided",
        step=step.id,
        name=action.expert,
        effect=approval.effect,
        status="done" if action.happened else "failed",
        text=action.note,
    )
    plan = draft.plan_of(step.id)
    if plan is not None:
        save(draft, step, plan, action.output)
        dispatch.settle(draft, step, plan, action)
    if action.happened:
        walk.complete(draft, step, result=action.output)
    else:
        walk.fail(draft, step, result=action.output, error=action.note)
