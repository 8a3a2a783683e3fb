"""Acting on the answer to an open question: facts, consent, a choice, whether it worked."""

from __future__ import annotations

from services.planner.decide import dispatch, walk
from services.planner.decide.answers import Match
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import handover, resolve
from services.planner.decide.questions import ask_again
from tandem.contracts.ticket import Choice, Question, Route, StepStatus


def reopen(draft: Draft) -> None:
    """The customer is back though the matter was resolved."""
    draft.outcome = None
    draft.reopened += 1
    draft.event("reopened")


def cannot_say(draft: Draft, question: Question) -> None:
    """The customer does not know it: the flow may say what then; otherwise it is asked again, and then a person."""
    step = draft.step(question.step)
    node = draft.node(step) if step else None
    if step is None or node is None or not node.on_failure:
        ask_again(draft, question, "")
        return
    draft.close_question(question)
    draft.event("not_known", step=step.id, node=step.node, name=question.id)
    walk.fail(draft, step)


def answer(draft: Draft, found: Match) -> None:
    """Act on the answer to an open question."""
    question = found.question
    if question is None:
        return
    draft.close_question(question)
    draft.event("question_answered", step=question.step, name=question.id, status=question.kind)
    if question.kind == "follow_up":
        _followed_up(draft, bool(found.yes))
    elif question.kind == "clarify":
        _clarified(draft, found.choice)
    else:
        _answer_step(draft, question, found)


def _answer_step(draft: Draft, question: Question, found: Match) -> None:
    step = draft.step(question.step)
    plan = draft.plan_of(step.id) if step else None
    if step is None or plan is None:
        return
    ref = draft.answering[-1] if draft.answering else question.id
    if question.kind == "slots":
        _answer_slots(draft, question, found, ref)
    elif question.kind == "consent":
        _answer_consent(draft, question, found, ref)
    elif found.choice:
        node = draft.node(step)
        if node and node.choices:
            draft.know(node.choices.save, found.choice.value, "tool", question.id)
        walk.complete(draft, step)
    else:
        ask_again(draft, question, "reask")


def _answer_slots(draft: Draft, question: Question, found: Match, ref: str) -> None:
    step = draft.step(question.step)
    if step is None:
        return
    for slot, value in found.values.items():
        known = draft.pack.slots.get(slot)
        draft.know(slot, value, "customer", ref, known.sensitive if known else False)
    if step.kind == "ask":
        node = draft.node(step)
        walk.run(draft, step) if node else walk.complete(draft, step)
    else:
        draft.put_step(step, status=StepStatus.WAITING)
        plan = draft.plan_of(step.id)
        if plan:
            walk.run_tool(draft, step, plan, draft.node(step))


def _answer_consent(draft: Draft, question: Question, found: Match, ref: str) -> None:
    step = draft.step(question.step)
    if step is None:
        return
    node = draft.node(step)
    if node and node.confirm:
        draft.know(node.confirm, bool(found.yes), "customer", ref)
        walk.complete(draft, step)
        return
    draft.event("consent_given" if found.yes else "consent_refused", step=step.id, node=step.node, name=question.id)
    if not found.yes:
        _declined(draft, question)
    elif step.kind == "tool":
        _consent(draft, question)
        walk.run(draft, draft.put_step(step, status=StepStatus.WAITING))
    else:
        _consent(draft, question)
        walk.complete(draft, step)


def _consent(draft: Draft, question: Question) -> None:
    if question.subject:
        draft.know(dispatch.consent_fact(question.subject), question.id, "customer", question.id)


def _declined(draft: Draft, question: Question) -> None:
    """The customer said no: the flow may say what then; by default nothing is changed and the matter ends."""
    step = draft.step(question.step)
    node = draft.node(step) if step else None
    plan = draft.plan_of(step.id) if step else None
    if step is None or plan is None:
        return
    if node and node.kind == "ask" and node.on_failure:
        walk.fail(draft, step)
        return
    draft.put_step(step, status=StepStatus.SKIPPED)
    draft.say("declined")
    walk.finish_plan(draft, plan, "declined")


def _followed_up(draft: Draft, worked: bool) -> None:
    if worked:
        draft.say("confirmed")
        resolve(draft, "confirmed")
    else:
        reopen(draft)
        handover(draft, "not_solved")


def _clarified(draft: Draft, choice: Choice | None) -> None:
    if choice is None:
        return
    goal = "\n".join(line.text for line in draft.recent if line.who == "customer")
    walk.start_plan(draft, str(choice.value), goal, draft.route or Route())
