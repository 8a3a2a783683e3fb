"""A customer's message: taken in once, merged with its burst, matched with what was asked, or routed as a new topic."""

from __future__ import annotations

from collections.abc import Sequence

from services.planner.decide import answering, dispatch, reading, walk
from services.planner.decide.answers import Match, match
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import OPEN, busy, expert_task, handover, resolve, steps_in
from services.planner.decide.questions import ask_again, pose
from tandem.contracts.customer import CardActionPart
from tandem.contracts.inbox import RoutedMessage
from tandem.contracts.ticket import (
    MAX_SEEN,
    MAX_UNREAD,
    Choice,
    Plan,
    Question,
    Route,
    Status,
    StepStatus,
    TypedValue,
    Unread,
)
from tandem.contracts.values import digest

MAX_OPTIONS = 3
LIKELY = 0.05
"""Confidence from which an intent is offered as an option."""
MAX_BURST_FACTOR = 4
SURE = 0.5
"""Confidence from which a value counts though nobody asked for it."""
MAX_CLARIFICATIONS = 2


def first_time(draft: Draft, message_id: str) -> bool:
    """Whether this id is new to the ticket; adapters and experts' tools repeat themselves."""
    short = digest(message_id)
    if short in draft.seen:
        draft.event("duplicate_ignored", name=message_id)
        return False
    draft.seen = (*draft.seen, short)[-MAX_SEEN:]
    return True


def on_message(draft: Draft, routed: RoutedMessage) -> None:
    """Take a message in. Nothing is decided before its burst is over."""
    if not first_time(draft, routed.id):
        return
    message = routed.message
    text = message.text()
    press = next((part for part in message.parts if isinstance(part, CardActionPart)), None)
    draft.language = routed.route.language if routed.route.language in draft.pack.languages else draft.language
    draft.route = routed.route
    if routed.cost.calls:  # spent before there was a ticket
        draft.budget = draft.budget.changed(spent=draft.budget.spent + routed.cost)
    draft.remember("customer", text or (press.action if press else ""))
    draft.event(
        "message_received",
        text=text or (f"[{press.action}]" if press else ""),
        name=message.id,
        rung=routed.route.rung,
        cost=routed.cost if routed.cost.calls else None,
        data=_routing(routed.route),
    )
    if draft.owner != "bot" or draft.status is Status.HANDED_OVER:
        draft.answering = (message.id,)
        draft.ask_expert(expert_task(draft, "message", draft.outcome or "the customer wrote", text))
        return
    unread = Unread.made(
        id=message.id,
        text=text,
        route=routed.route,
        values=routed.values,
        sent_at=message.sent_at,
        received_at=draft.now,
        question=press.question if press else None,
        action=press.action if press else None,
    )
    if draft.status is Status.RESOLVED:
        draft.status = Status.WORKING
        draft.disarm("close", "follow_up")
    _take_in(draft, unread)
    if press is None:
        _wait_for_more(draft)


def _routing(route: Route) -> dict[str, object]:
    said: dict[str, object] = {
        "intent": route.intent,
        "confidence": round(route.confidence, 3),
        "scenario": route.scenario,
    }
    return said | ({"prompt": route.prompt} if route.prompt else {})


def _take_in(draft: Draft, unread: Unread) -> None:
    """Keep the message until it is acted on; past the cap it is joined to the last one, never dropped."""
    if len(draft.unread) < MAX_UNREAD:
        draft.unread.append(unread)
        return
    last = draft.unread[-1]
    joined = f"{last.text}\n{unread.text}"[-4_000:]
    draft.unread[-1] = unread.model_copy(update={"text": joined, "values": (*last.values, *unread.values)[-40:]})


def _wait_for_more(draft: Draft) -> None:
    """(Re)start the burst timer, but never keep the first message of a burst waiting for long."""
    window = draft.pack.timers.burst
    if window:
        latest = draft.unread[0].received_at + window * MAX_BURST_FACTOR
        draft.timers["burst"] = min(draft.now + window, latest)


def read(draft: Draft) -> None:
    """Act on the unread messages, all at once. While a turn is prepared they wait, unless they change it."""
    messages = tuple(draft.unread)
    if busy(draft) and not draft.questions and not _interrupts(draft, messages):
        return
    draft.unread = []
    draft.turn += 1
    draft.seq = 0
    was_busy = busy(draft)
    draft.answering = tuple(message.id for message in messages)
    route = _best(messages)
    draft.route = route
    _keep_values(draft, messages)
    reading.note_messages(draft, messages)
    if route.wants_human >= draft.pack.thresholds.human:
        handover(draft, "customer_asked")
        return
    if draft.outcome is not None and not draft.questions:
        if _thanks(draft, messages, route):
            draft.say("welcome")
            resolve(draft, "confirmed")
            return
        answering.reopen(draft)
    found = match(draft, messages)
    if found.kind == "answer" and found.question:
        answering.answer(draft, found)
    elif found.kind == "cannot" and found.question:
        if not _read_first(draft, found.question, reading.GUESSER):
            answering.cannot_say(draft, found.question)
    elif found.kind == "stale":
        _stale(draft)
    elif draft.questions and not _new_topic(draft, route):
        _not_an_answer(draft, draft.questions[-1], messages, route)
    elif not (was_busy and draft.plan and draft.plan.origin == "shortcut" and _merge(draft, messages, route)):
        _route(draft, messages, route)


def _interrupts(draft: Draft, messages: Sequence[Unread]) -> bool:
    """Whether messages must be acted on though a turn is being prepared."""
    plan = draft.plan
    route = _best(messages)
    wants_human = route.wants_human >= draft.pack.thresholds.human
    pressed = any(message.action is not None for message in messages)
    shortcut = plan is not None and plan.origin == "shortcut"
    return wants_human or pressed or shortcut or _new_topic(draft, route)


def _merge(draft: Draft, messages: Sequence[Unread], route: Route) -> bool:
    """More was written while a knowledge answer is prepared: prepare one answer for both."""
    plan = draft.plan
    if plan is None or _new_topic(draft, route):
        return False
    goal = "\n".join([plan.goal, *(message.text for message in messages)])
    walk.restart_shortcut(draft, plan, goal, route)
    return True


def _best(messages: Sequence[Unread]) -> Route:
    """The route of a burst: its surest message says what it is about, the strongest wish for a person counts."""
    best = max((message.route for message in messages), key=lambda route: route.confidence)
    wants_human = max(message.route.wants_human for message in messages)
    return best.changed(wants_human=wants_human, language=messages[-1].route.language)


def _keep_values(draft: Draft, messages: Sequence[Unread]) -> None:
    """Values of the pack's slots become facts: asked for, or sure; beside what was asked for, a known other one stands."""
    asked = {slot for question in draft.questions for slot in question.slots}
    answered = any(value.slot in asked for message in messages for value in message.values)
    for message in messages:
        for value in sorted(message.values, key=lambda value: value.confidence):
            if value.slot not in draft.pack.slots:
                continue
            doubtful = value.confidence < SURE or (answered and draft.known(value.slot))
            if value.slot in asked or not doubtful:
                draft.know(value.slot, value.value, "customer", message.id, value.sensitive)


def _new_topic(draft: Draft, route: Route) -> bool:
    plan = draft.plan
    if route.intent is None or plan is None or route.intent == plan.intent:
        return False
    return route.confidence >= draft.pack.thresholds.switch


def _thanks(draft: Draft, messages: Sequence[Unread], route: Route) -> bool:
    """A kind word after the matter was settled is no new matter."""
    asks = any("?" in message.text or "？" in message.text or message.values for message in messages)
    return route.sentiment == "positive" and not asks and not _sure(draft, route)


def _stale(draft: Draft) -> None:
    """An answer to a question that is not open: not acted on; what is open is asked again."""
    draft.event("stale_answer_ignored")
    if draft.questions:
        ask_again(draft, draft.questions[-1], "consent_again")
    elif not busy(draft):
        draft.say("consent_again")
        if draft.plan is None:
            resolve(draft, "stale_answer")


def _not_an_answer(draft: Draft, question: Question, messages: Sequence[Unread], route: Route) -> None:
    """No rule says what the message means for the open question."""
    plan = next((known for known in draft.plans if known.id == question.plan), None)
    if question.kind in ("clarify", "follow_up"):
        draft.close_question(question)
        if draft.outcome is not None:
            answering.reopen(draft)
        _route(draft, messages, route, tries=question.tries)
    elif plan is None:
        ask_again(draft, question, "reask")
    elif question.kind == "slots" and not question.slots:
        answering.answer(draft, Match("answer", question))  # an open question: any words answer it
    elif route.out_of_scope >= draft.pack.thresholds.out_of_scope:
        draft.say("reject")
        ask_again(draft, question, "")
    elif not _read_first(draft, question, reading.READER):
        text = "\n".join(message.text for message in messages)
        values: tuple[TypedValue, ...] = tuple(value for message in messages for value in message.values)
        interpret(draft, plan, text, values)


def _read_first(draft: Draft, question: Question, how: str) -> bool:
    """Have the models read what no rule understands, if they are to; False: they are not."""
    asking = draft.step(question.step)
    node, plan = (draft.node(asking), draft.plan_of(asking.id)) if asking else (None, None)
    if not (asking and node and plan and reading.due_for(draft, question) and reading.tool_for(draft, asking, node)):
        return False
    reading.begin(draft, asking, walk.add_step(draft, plan.id, "agent", how), node)
    return True


def interpret(draft: Draft, plan: Plan, text: str, values: tuple[TypedValue, ...] = ()) -> None:
    """Have the planner's worker say which question a message answers."""
    step = walk.add_step(draft, plan.id, "agent", "interpret")
    dispatch.interpret(draft, step, plan, text, values, draft.route or Route(), tuple(draft.questions))


def _route(draft: Draft, messages: Sequence[Unread], route: Route, tries: int = 0) -> None:
    """A matter of its own: a known intent is begun, a vague one is clarified, what is out of scope is refused. In a pack that
    names no intents everything is planned."""
    goal = "\n".join(message.text for message in messages)
    thresholds = draft.pack.thresholds
    if _sure(draft, route):
        _begin(draft, route, goal)
    elif route.out_of_scope >= thresholds.out_of_scope:
        draft.event("rejected")
        draft.say("reject")
        if draft.plan is None:
            resolve(draft, "rejected")
        elif draft.questions:
            ask_again(draft, draft.questions[-1], "")
    elif draft.plan is not None and steps_in(draft.plan, *OPEN):
        draft.event("absorbed")  # said while a turn was prepared; what that turn says answers it
        if steps_in(draft.plan, StepStatus.APPROVING):
            draft.say("approval_wait")
    elif tries >= MAX_CLARIFICATIONS:
        handover(draft, "not_understood")
    elif not route.candidates and (route.complexity == "complex" or not draft.pack.intents):
        walk.start_plan(draft, None, goal, route)
    else:
        _clarify(draft, route, tries)


def _sure(draft: Draft, route: Route) -> bool:
    thresholds = draft.pack.thresholds
    if route.intent is None or route.confidence < thresholds.intent:
        return False
    runner_up = max((c.confidence for c in route.candidates if c.intent != route.intent), default=0.0)
    return route.confidence - runner_up >= thresholds.margin


def _begin(draft: Draft, route: Route, goal: str) -> None:
    """Start on an intent; one that waits beneath is taken up again instead of being begun twice."""
    beneath = [plan for plan in draft.plans if plan.intent == route.intent]
    active = draft.plan
    if beneath and active and beneath[-1].id != active.id and not steps_in(active, *OPEN_EFFECTS):
        walk.drop_plan(draft, active)
        walk.resume(draft)
    elif beneath:
        draft.event("absorbed")
    else:
        walk.start_plan(draft, route.intent, goal, route)


OPEN_EFFECTS = (StepStatus.RUNNING, StepStatus.ASSEMBLING, StepStatus.UNKNOWN, StepStatus.APPROVING)


def _clarify(draft: Draft, route: Route, tries: int) -> None:
    """Ask which of the likeliest intents is meant."""
    likely = [c.intent for c in route.candidates[:MAX_OPTIONS] if c.confidence >= LIKELY]
    intents = [draft.pack.intents[name] for name in likely if name in draft.pack.intents]
    choices = tuple(
        Choice(id=intent.name, label=draft.render(intent.label) or intent.description, value=intent.name)
        for intent in intents
    )
    text = draft.sentence("clarify", options="; ".join(c.label for c in choices)) if choices else ""
    pose(draft, None, None, "clarify", text or draft.sentence("clarify_open"), choices=choices, tries=tries + 1)
