"""Timers: each is a message in the mailbox. A disarmed one is ignored, an early one is armed again."""

from __future__ import annotations

from services.planner.decide import results, walk
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import WEEK_MS, expert_task, resolve
from services.planner.decide.questions import ask_again, pose
from tandem.contracts.inbox import TimerFired
from tandem.contracts.ticket import Status


def on_timer(draft: Draft, fired: TimerFired) -> None:
    due = draft.timers.get(fired.name)
    if due is None or due != fired.due:
        return
    if draft.now < due:
        draft.timers[fired.name] = due + 1  # a new id: the owner sends each timer once
        return
    draft.disarm(fired.name)
    draft.event("timer_fired", name=fired.name)
    if fired.name.startswith("step:"):
        _step_late(draft, fired.name.removeprefix("step:"))
    elif fired.name == "question":
        _question_unanswered(draft)
    elif fired.name == "expert":
        _expert_late(draft, due)
    elif fired.name == "follow_up" and draft.status is Status.RESOLVED:
        pose(draft, None, None, "follow_up", draft.sentence("follow_up"))
    elif fired.name == "close":
        draft.status = Status.CLOSED
        draft.questions = []
        alone = draft.outcome in ("done", "confirmed") and not (draft.helped or draft.reopened)
        draft.event("closed", status=draft.outcome, data={"independent": alone})


def _step_late(draft: Draft, step_id: str) -> None:
    """Nobody answered in time. The same task is sent again; an effect keeps its id."""
    step, plan = draft.step(step_id), draft.plan_of(step_id)
    if step and plan and step.task:
        results.retry(draft, step, plan, "no answer in time")


def _question_unanswered(draft: Draft) -> None:
    """Remind once; then close the matter, unless an effect's outcome is unknown."""
    question = draft.questions[-1] if draft.questions else None
    if question and question.kind == "follow_up":
        draft.close_question(question)
    elif question and question.tries == 1:
        ask_again(draft, question, "reminder")
    elif draft.status is Status.AWAITING_CUSTOMER:
        draft.say("unanswered")
        for plan in list(draft.plans):
            walk.drop_plan(draft, plan)
        resolve(draft, "unanswered")


def _expert_late(draft: Draft, due: int) -> None:
    """A person has not acted: raise it again with high urgency, less and less often."""
    waited = draft.now - draft.base.created_at
    draft.arm("expert", min(max(draft.pack.timers.expert, waited), WEEK_MS))
    task = expert_task(draft, "handover", draft.outcome or "waits for an expert")
    draft.ask_expert(task.model_copy(update={"urgency": "high"}))
    draft.event("expert_reminded", data={"due": due})
