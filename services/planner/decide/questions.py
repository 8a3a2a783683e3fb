"""Asking the customer: at most one open question per plan, asked again a bounded number of times."""

from __future__ import annotations

from typing import Any

from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import handover
from tandem.contracts.customer import CardAction, CardPart, ReplyPart
from tandem.contracts.ticket import MAX_FACT_BYTES, Choice, Plan, Question, Step, StepStatus
from tandem.contracts.values import canonical_json, derive_id
from tandem.packs.expressions import evaluate, fill
from tandem.packs.model import Node

MAX_TRIES = 3
MAX_CHOICES = 10
MAX_CHOICE_ID = 100
"""A longer one could not come back from a card."""
YES_NO = {"en": ("Yes", "No"), "zh": ("是", "否")}


def missing_slots(draft: Draft, node: Node) -> tuple[str, ...]:
    """Slots of an ask node that are still unknown; none if one is enough and known."""
    missing = tuple(slot for slot in node.slots if not draft.known(slot))
    return () if node.any_of and len(missing) < len(node.slots) else missing


def slot_text(draft: Draft, slots: tuple[str, ...]) -> str:
    """The pack's questions for some slots."""
    texts = [draft.render(draft.pack.slots[slot].ask) for slot in slots if slot in draft.pack.slots]
    return " ".join(text for text in texts if text)


def build_choices(draft: Draft, plan: Plan, node: Node) -> tuple[Choice, ...]:
    """The options of a choice question, from a list fact; at most MAX_CHOICES."""
    spec = node.choices
    if spec is None:
        return ()
    items = evaluate(spec.items, draft.scope(plan))
    found: list[Choice] = []
    for item in items[:MAX_CHOICES] if isinstance(items, list) else []:
        scope = {"item": item}
        label = fill(draft.pack.say(spec.label, draft.language), scope)
        name = str(evaluate(spec.id, scope))
        if len(canonical_json(item)) <= MAX_FACT_BYTES and len(name) <= MAX_CHOICE_ID:
            found.append(Choice(id=name, label=label, value=item))
    return tuple(found)


def pose(draft: Draft, step: Step | None, plan: Plan | None, kind: str, text: str, **fields: Any) -> Question:
    """Ask a question. Yes-or-no questions and choices come as a card whose buttons name the question."""
    question = Question.model_validate(
        {
            "id": derive_id("question", draft.id, draft.version, len(draft.questions), draft.seq),
            "step": step.id if step else None,
            "plan": plan.id if plan else None,
            "kind": kind,
            "text": text,
            "asked_at": draft.now,
            "turn": draft.turn,
            **fields,
        }
    )
    draft.questions.append(question)
    draft.arm("question", draft.pack.timers.question)
    if step:
        draft.put_step(step, status=StepStatus.ASKING)
    draft.event(
        "question_asked",
        step=step.id if step else None,
        node=step.node if step else None,
        name=question.id,
        sentence=step.sentence if step else None,
        procedure=plan.procedure if plan else None,
        status=kind,
        data={"slots": list(question.slots)},
    )
    draft.reply(text, _card(draft, question), question=question.id, step=step)
    return question


def _card(draft: Draft, question: Question) -> tuple[ReplyPart, ...]:
    if question.kind in ("consent", "follow_up"):
        yes, no = YES_NO.get(draft.language, YES_NO["en"])
        actions: tuple[CardAction, ...] = (CardAction(id="yes", label=yes), CardAction(id="no", label=no))
    elif question.choices:
        actions = tuple(CardAction(id=choice.id, label=choice.label) for choice in question.choices)
    else:
        return ()
    fallback = "\n".join(f"{n}. {choice.label}" for n, choice in enumerate(question.choices, 1))
    card = CardPart(card=question.id, title="", state="asking", actions=actions, question=question.id, text=fallback)
    return (card,)


def ask_again(draft: Draft, question: Question, prefix: str) -> None:
    """Repeat a question that was not answered; after MAX_TRIES a person takes over."""
    if question.tries >= MAX_TRIES:
        handover(draft, "not_understood")
        return
    draft.close_question(question)
    text = f"{draft.sentence(prefix)} {question.text}" if prefix else question.text
    again = pose(
        draft,
        draft.step(question.step),
        next((plan for plan in draft.plans if plan.id == question.plan), None),
        question.kind,
        text,
        slots=question.slots,
        choices=question.choices,
        subject=question.subject,
        tries=question.tries + 1,
    )
    kept = again.model_copy(update={"text": question.text})
    draft.questions = [kept if q.id == again.id else q for q in draft.questions]


def park(draft: Draft, plan: Plan) -> None:
    """Withdraw a plan's open questions while another topic is on: an answer to them no longer counts."""
    for question in list(draft.questions):
        if question.plan == plan.id or question.plan is None:
            draft.close_question(question)
            step = draft.step(question.step)
            if step:
                draft.put_step(step, status=StepStatus.WAITING)
