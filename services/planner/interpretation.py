"""Which open question does a message answer? By rules, then by meaning, then by a model; in doubt, unsure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.planner.prompts import DATA_RULE, block, lines_block, read_object
from tandem.contracts.tasks import Interpret, Interpretation
from tandem.contracts.ticket import Choice, Question, TypedValue
from tandem.contracts.values import Json, derive_id
from tandem.packs.model import Pack, Slot
from tandem.rpc.ports import ChatRequest
from tandem.text import is_cjk, terms

UNSURE = Interpretation(kind="unsure")

_GENERAL: dict[str, tuple[str, ...]] = {
    "integer": ("integer",),
    "number": ("number", "integer", "amount"),
    "date": ("date",),
    "email": ("email",),
    "ip": ("ip",),
    "phone": ("phone",),
    "url": ("url",),
    "boolean": ("yes_no",),
}
_YES = re.compile(
    r"\b(?:yes|yeah|yep|yup|sure|ok|okay|of course|certainly|absolutely|definitely|correct|agreed?|confirm(?:ed)?|go ahead"
    r"|proceed|please do|do it|sounds good|that works|it did|it does|fine)\b"
    r"|是的|好的|可以|同意|确认|确定|没问题|没错|当然|行吧?$|^[是好对行嗯]+[的吧啊]?$",
    re.IGNORECASE,
)
_NO = re.compile(
    r"\b(?:no|nope|nah|don'?t|do not|not|never|cancel|stop|refuse|decline|didn'?t|doesn'?t|isn'?t|rather not|leave it)\b"
    r"|不|别|没有|取消|算了|否",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|not sure|unsure|i guess|i suppose|probably|possibly|might|depends|unless|if|but|wait|later|first"
    r"|before|hold on|let me|think about|both|either|neither)\b|[?？]"
    r"|也许|可能|不确定|不知道|等等|等一下|如果|除非|但是?|不过|考虑|先",
    re.IGNORECASE,
)
_NOT_NEGATIVE = re.compile(r"\bno problem\b|\bwhy not\b|\bno doubt\b|没问题|没错|对不起|不好意思", re.IGNORECASE)
_DIGIT = re.compile(r"(?<![\w.-])#?(\d{1,2})[.):]?(?![\w-]|\.\d)")
_CHOICE_SIMILARITY, _CHOICE_MARGIN = 0.5, 0.12

SYSTEM = f"""A customer of a support service was asked one or more questions and has written a message. Say which question the
message answers. {DATA_RULE}
kind: "answer" if it answers one of the questions, "other" if it is about something else, "unsure" if it cannot be told.
question: the number of the question. values: for a question that asks for values, each value exactly as the customer wrote it.
choice: the number of the chosen option. confidence: from 0 to 1."""


# Rules -----------------------------------------------------------------------------------------------------------


def by_rule(task: Interpret, pack: Pack) -> Interpretation | None:
    """What the words themselves say; None if they say nothing, unsure if they say two things."""
    found = [answer for question in task.questions if (answer := _answers(question, task, pack))]
    if len(found) > 1:
        return UNSURE
    if found:
        return found[0]
    elsewhere = task.route.intent is not None and task.route.confidence >= pack.thresholds.switch
    return Interpretation(kind="other", confidence=task.route.confidence) if elsewhere else None


def yes_or_no(text: str) -> bool | None:
    """A clear yes or no; None for a hedge, a question, a contradiction, or neither."""
    bare = _NOT_NEGATIVE.sub(" yes ", text)
    if _HEDGE.search(bare):
        return None
    yes, no = bool(_YES.search(bare)), bool(_NO.search(bare))
    if no and yes:
        return False if re.match(r"\W*(?:no|nope|nah|不)", bare, re.IGNORECASE) else None
    return True if yes else False if no else None


def _answers(question: Question, task: Interpret, pack: Pack) -> Interpretation | None:
    match question.kind:
        case "slots":
            return _slots(question, task, pack)
        case "choice" | "clarify":
            return _choice(question, task)
        case _:
            said = yes_or_no(task.text)
            if said is None:
                return (
                    UNSURE if _HEDGE.search(task.text) and (_YES.search(task.text) or _NO.search(task.text)) else None
                )
            return Interpretation(kind="answer", question=question.id, yes=said, confidence=0.9)


def _slots(question: Question, task: Interpret, pack: Pack) -> Interpretation | None:
    found: dict[str, Json] = {v.slot: v.value for v in task.values if v.slot in question.slots}
    sure = 0.95
    for name in question.slots:
        slot = pack.slots.get(name)
        value = _general(slot, question, task.values, pack) if slot and name not in found else None
        if value is not None:
            found[name], sure = value, 0.85
    if not found:
        return None
    return Interpretation(kind="answer", question=question.id, values=found, confidence=sure)


def _general(slot: Slot, question: Question, values: Sequence[TypedValue], pack: Pack) -> Json:
    """A value of the slot's type, if only this slot of the question takes it and only one was given."""
    if slot.pattern is not None:
        return None
    kinds = _GENERAL.get(slot.type, ())
    rivals = [name for name in question.slots if name in pack.slots and pack.slots[name].type == slot.type]
    given = [value.value for value in values if value.slot in kinds and not value.sensitive]
    return given[0] if len(rivals) == 1 and len(given) == 1 else None


def _choice(question: Question, task: Interpret) -> Interpretation | None:
    named = {choice.id: choice for choice in _named(question, task)}
    if not named:
        return None
    if len(named) > 1 or _HEDGE.search(task.text):
        return UNSURE
    if _NO.search(_NOT_NEGATIVE.sub(" ", task.text)):
        left = [choice for choice in question.choices if choice.id not in named]
        return _chosen(question, left[0], 0.7) if len(left) == 1 and len(question.choices) == 2 else UNSURE
    return _chosen(question, next(iter(named.values())), 0.9)


def _chosen(question: Question, choice: Choice, confidence: float) -> Interpretation:
    return Interpretation(kind="answer", question=question.id, choice=choice.id, confidence=confidence)


def _named(question: Question, task: Interpret) -> Iterator[Choice]:
    text, choices = task.text.lower(), question.choices
    by_id = [choice for choice in choices if re.search(rf"(?<!\w){re.escape(choice.id.lower())}(?!\w)", text)]
    if by_id:
        yield from by_id
        return
    places = [value.value for value in task.values if value.slot == "ordinal" and isinstance(value.value, int)]
    places = places or [int(number) for number in _DIGIT.findall(text)]
    by_place = [choices[place - 1 if place > 0 else place] for place in places if place and abs(place) <= len(choices)]
    if by_place:
        yield from by_place
        return
    yield from _by_words(choices, task.text)


def _by_words(choices: Sequence[Choice], text: str) -> list[Choice]:
    """Choices of which the message says a word that no other has; those that say most of it."""
    said = set(terms(text))
    labels = {choice.id: set(terms(choice.label)) for choice in choices}
    shared = {key: sum(key in words for words in labels.values()) for words in labels.values() for key in words}
    own = {key: {word for word in words & said if shared[word] == 1} for key, words in labels.items()}
    most = max((len(words) for words in own.values()), default=0)
    return [choice for choice in choices if most and len(own[choice.id]) == most]


# Meaning ---------------------------------------------------------------------------------------------------------


def wants_meaning(task: Interpret) -> Question | None:
    """The choice question whose options can be compared with the message by meaning, if there is exactly one."""
    open_ = [question for question in task.questions if question.choices]
    short = 0 < len(task.text.strip()) <= 300 and not is_cjk(task.text)
    negated = _NO.search(task.text) or _HEDGE.search(task.text)
    return open_[0] if len(open_) == 1 and len(task.questions) == 1 and short and not negated else None


def by_meaning(question: Question, vectors: NDArray[np.float32]) -> Interpretation | None:
    """The option nearest to the message, if it is near and the others are not. Vectors: the message, then the options."""
    similar = [float(vectors[0] @ vectors[position]) for position in range(1, len(question.choices) + 1)]
    order = sorted(range(len(similar)), key=lambda position: -similar[position])
    runner_up = similar[order[1]] if len(order) > 1 else 0.0
    if similar[order[0]] < _CHOICE_SIMILARITY or similar[order[0]] - runner_up < _CHOICE_MARGIN:
        return None
    return _chosen(question, question.choices[order[0]], round(min(0.9, similar[order[0]] + 0.1), 3))


# A model ---------------------------------------------------------------------------------------------------------


def request(task: Interpret, pack: Pack) -> ChatRequest:
    """Ask a model which question the message answers."""
    asked = "\n".join(_shown(number, question, pack) for number, question in enumerate(task.questions, start=1))
    text = "\n".join((lines_block(task.recent), "Open questions:", asked, block("message", task.text)))
    return ChatRequest(
        tenant=task.tenant,
        system=SYSTEM,
        messages=(("user", text),),
        schema=_schema(task),
        max_tokens=200,
        grant=derive_id("grant", task.id, task.attempt, "interpret"),
        limit=task.reserved,
        ticket=task.ticket,
    )


def accept(task: Interpret, text: str) -> Interpretation:
    """A model's answer, if it names what exists and every value stands in the message; otherwise unsure."""
    said = read_object(text)
    confidence = said.get("confidence")
    sure = min(0.85, float(confidence)) if isinstance(confidence, int | float) and 0 <= confidence <= 1 else 0.0
    if said.get("kind") == "other":
        return Interpretation(kind="other", confidence=sure)
    question = _numbered(task.questions, said.get("question"))
    if said.get("kind") != "answer" or question is None:
        return UNSURE
    if question.kind == "slots":
        values = _written(said.get("values"), question, task.text)
        return Interpretation(kind="answer", question=question.id, values=values, confidence=sure) if values else UNSURE
    choice = _numbered(question.choices, said.get("choice"))
    return _chosen(question, choice, sure) if choice else UNSURE  # a yes is never taken from a model


def _shown(number: int, question: Question, pack: Pack) -> str:
    lines = [f"{number}. ({question.kind}) {block('question', question.text)}"]
    for name in question.slots:
        slot = pack.slots.get(name)
        label = pack.say(slot.label, "en") if slot else ""
        lines.append(f"   value {name}: {label or name.replace('_', ' ')}")
    lines += [
        f"   option {place}: {block('option', choice.label)}" for place, choice in enumerate(question.choices, start=1)
    ]
    return "\n".join(lines)


def _schema(task: Interpret) -> dict[str, Any]:
    slots = sorted({name for question in task.questions for name in question.slots})
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "confidence"],
        "properties": {
            "kind": {"enum": ["answer", "other", "unsure"]},
            "question": {"type": "integer", "minimum": 1, "maximum": len(task.questions)},
            "values": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: {"type": "string"} for name in slots},
            },
            "choice": {"type": "integer", "minimum": 1},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        },
    }


def _written(values: Any, question: Question, text: str) -> dict[str, Json]:
    found = values if isinstance(values, dict) else {}
    return {
        name: value.strip()
        for name, value in found.items()
        if name in question.slots and isinstance(value, str) and value.strip() and value.strip().lower() in text.lower()
    }


def _numbered(items: Sequence[Any], number: Any) -> Any:
    valid = isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= len(items)
    return items[number - 1] if valid else None
