"""Which open question does a message answer? Rules first; unsure, the planner's worker is asked to interpret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from services.planner.decide.draft import Draft
from tandem.contracts.ticket import Choice, Question, TypedValue, Unread
from tandem.contracts.values import Json
from tandem.packs.model import Pack, Slot
from tandem.text import stands_in

CLEAR_YES_NO = 0.5
"""Confidence from which a recognised yes or no counts."""


@dataclass(frozen=True, slots=True)
class Match:
    """What the rules make of a message: an answer, one to a question no longer open, unsure, "I do not know", or none."""

    kind: Literal["answer", "stale", "unsure", "cannot", "other"]
    question: Question | None = None
    values: dict[str, Json] = field(default_factory=dict)
    yes: bool | None = None
    choice: Choice | None = None


def match(draft: Draft, messages: Sequence[Unread]) -> Match:
    """Match messages with the open questions; the newest question first, a pressed button by its question's id."""
    for message in messages:
        if message.action is not None:
            return _pressed(draft, message)
    if not draft.questions:
        return Match("other")
    values = tuple(value for message in messages for value in message.values)
    text = "\n".join(message.text for message in messages)
    sent_at = max(message.sent_at for message in messages)
    for question in reversed(draft.questions):
        found = _by_rule(draft, question, text, values, sent_at)
        if found.kind != "other":
            return found
    return Match("other")


def _pressed(draft: Draft, message: Unread) -> Match:
    question = next((q for q in draft.questions if q.id == message.question), None)
    if question is None:
        return Match("stale")
    if message.action in ("yes", "no") and not question.choices:
        return Match("answer", question, yes=message.action == "yes")
    choice = next((c for c in question.choices if c.id == message.action), None)
    return Match("answer", question, choice=choice) if choice else Match("unsure", question)


def _by_rule(draft: Draft, question: Question, text: str, values: tuple[TypedValue, ...], sent_at: int) -> Match:
    match question.kind:
        case "slots":
            return _slots(draft, question, text, values)
        case "consent" | "follow_up":
            return _yes_no(draft, question, values, sent_at)
        case "clarify" if _names_another(draft, question):
            return Match("other")
        case "choice" | "clarify":
            return _choice(question, text, values)


def _slots(draft: Draft, question: Question, text: str, values: tuple[TypedValue, ...]) -> Match:
    surest = sorted(values, key=lambda value: value.confidence)
    found = {value.slot: value.value for value in surest if value.slot in question.slots}
    if found:
        return Match("answer", question, values=found)
    by_type = _by_type(draft.pack, question.slots, values)
    if by_type:
        return Match("answer", question, values=by_type)
    if any(value.slot == "dont_know" for value in values):
        return Match("cannot", question)
    free = [draft.pack.slots[slot] for slot in question.slots if _free_text(draft.pack, slot)]
    if len(free) == 1 and text.strip() and (free[0].within or not _changes_topic(draft)):
        value = stated(text, free[0])
        return Match("answer", question, values={free[0].name: value}) if value else Match("other")
    if not question.slots and text.strip() and not _changes_topic(draft):
        return Match("answer", question, values={})
    return Match("other")


_LEAD_IN = re.compile(
    r"^(?:(?:my|the|our|his|her|its|their)\s+(?:[\w']+\s+){1,4}?(?:is|are|was)|it\s+(?:is|was)|it's|it’s|this\s+is|that\s+is"
    r"|that's|i\s+am|i'm|(?:his|her|its|their)(?=\s))\s+",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"^(?:(?:hi|hello|hey|yes|yeah|yep|sure|of course|certainly|ok|okay|well|oh|um|uh|no problem|please|sorry|thanks?)\b"
    r"(?: there)?[\s,.!-]*)+",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,;:!?\n，。；！？]+|\.(?=\s|$)")
_JOINED = re.compile(r"\s+(?:and|but)\s+", re.IGNORECASE)
_SHORT_ANSWER = 8
"""Words of a free answer that may begin with "my name is"; a longer one is a story and kept as it is. In a longer one "the last"
or "2" counts something else than the options."""


def stated(text: str, slot: Slot) -> str:
    """The value of a free answer: what the slot says stands `within` it, or its first clause of few enough words, without "my
    name is", "it's" and the full stop. Empty if there is none of the slot's form."""
    text = text.strip()
    if slot.within is not None:
        match = re.search(slot.within, text)
        return match.group() if match else ""
    if slot.words is not None:
        return _first_of(text, slot.words) or _bare(text)
    return _bare(text) or text if len(text.split()) <= _SHORT_ANSWER else text


def _first_of(text: str, words: int) -> str:
    """The first clause that says something in at most so many words."""
    clauses = [_bare(clause) for clause in _CLAUSE.split(text)]
    clauses += [_bare(part) for clause in _CLAUSE.split(text) for part in _JOINED.split(clause)]
    return next((clause for clause in clauses if 0 < len(clause.split()) <= words), "")


def _bare(text: str) -> str:
    told = _OPENER.sub("", text.strip())
    return _LEAD_IN.sub("", told).strip(" .!\"'")


GENERAL: dict[str, tuple[str, ...]] = {
    "boolean": ("yes_no",),
    "integer": ("integer",),
    "number": ("number", "integer", "amount"),
    "date": ("date",),
    "email": ("email",),
    "ip": ("ip",),
    "phone": ("phone",),
    "url": ("url",),
}
"""Slot type → general values that answer a question for one slot of it."""


def _by_type(pack: Pack, slots: tuple[str, ...], values: tuple[TypedValue, ...]) -> dict[str, Json]:
    """The one value of the asked slot's type, if exactly one slot is asked for and the message has exactly one, be it that
    another slot of the type has taken it by a word beside it."""
    slot = pack.slots.get(slots[0]) if len(slots) == 1 else None
    if slot is None:
        return {}
    kinds = {*GENERAL.get(slot.type, ()), *(name for name, other in pack.slots.items() if _alike(slot, other))}
    found = {value.text: value.value for value in values if value.slot in kinds and value.confidence >= CLEAR_YES_NO}
    return {slot.name: next(iter(found.values()))} if len(found) == 1 else {}


def _alike(slot: Slot, other: Slot) -> bool:
    return other.type == slot.type in GENERAL and not (slot.pattern or other.pattern)


def _free_text(pack: Pack, slot: str) -> bool:
    known = pack.slots.get(slot)
    return known is not None and known.free_text


def _changes_topic(draft: Draft) -> bool:
    route, plan = draft.route, draft.plan
    if route is None or route.intent is None or plan is None:
        return False
    return route.intent != plan.intent and route.confidence >= draft.pack.thresholds.switch


def _yes_no(draft: Draft, question: Question, values: tuple[TypedValue, ...], sent_at: int) -> Match:
    """A written yes counts only after the question was asked, and only if it is the only one open."""
    answers = [value for value in values if value.slot == "yes_no" and value.confidence >= CLEAR_YES_NO]
    if not answers:
        return Match("other")
    if sent_at < question.asked_at:
        return Match("stale")
    said = {bool(value.value) for value in answers}
    if len(said) > 1 or len(draft.questions) > 1:
        return Match("unsure", question)
    return Match("answer", question, yes=said.pop())


def _names_another(draft: Draft, question: Question) -> bool:
    """Whether the message itself says surely what is meant, and it is none of the options ("yes, I need directions …")."""
    route = draft.route
    if route is None or route.intent is None or route.confidence < draft.pack.thresholds.switch:
        return False
    return all(choice.value != route.intent for choice in question.choices)


def _choice(question: Question, text: str, values: tuple[TypedValue, ...]) -> Match:
    named = [c for c in question.choices if stands_in(c.id, text) or stands_in(c.label, text)]
    if len(named) == 1:
        return Match("answer", question, choice=named[0])
    for value in values if len(text.split()) <= _SHORT_ANSWER else ():
        position = value.value
        if value.slot == "ordinal" and isinstance(position, int) and 1 <= abs(position) <= len(question.choices):
            return Match("answer", question, choice=question.choices[position - 1 if position > 0 else position])
    given = {str(value.value).lower() for value in values}
    hits = [c for c in question.choices if c.id.lower() in given]
    if len(hits) == 1:
        return Match("answer", question, choice=hits[0])
    yes = [bool(value.value) for value in values if value.slot == "yes_no"]
    if yes == [True] and len(question.choices) == 1:
        return Match("answer", question, choice=question.choices[0])
    return Match("unsure", question) if named else Match("other")
