"""Which open question does a message answer? By rules, then by meaning, then by a model; in doubt, unsure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tandem.asking import Output, Unfit, typed
from tandem.asking import Question as Prompted
from tandem.contracts.tasks import Interpret, Interpretation
from tandem.contracts.ticket import Choice, Question, TypedValue
from tandem.contracts.values import Json
from tandem.packs.model import Pack, Slot
from tandem.prompts import Data, Inputs, as_written, conversation, load
from tandem.text import is_cjk, stands_in, terms

T = TypeVar("T")

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


class InterpretInputs(Inputs):
    """The questions' own texts are the pack's, but what fills them is not."""

    conversation: Data
    questions: Data
    message: Data


class Meant(Output):
    """What a model takes a message for: the number of the question, and what answers it."""

    kind: Literal["answer", "other", "unsure"]
    confidence: float = Field(ge=0, le=1)
    question: int | None = None
    values: dict[str, str] = Field(default_factory=dict)
    choice: int | None = None


INTERPRET = load(Path(__file__).parent, "interpret", InterpretInputs)


def question(task: Interpret, pack: Pack) -> Prompted[InterpretInputs, Interpretation]:
    """Ask a model which question the message answers."""
    asked = "\n".join(_shown(number, one, pack) for number, one in enumerate(task.questions, start=1))
    inputs = InterpretInputs(conversation=conversation(task.recent), questions=asked, message=task.text)
    return Prompted(INTERPRET, inputs, _schema(task), partial(read, task=task))


def read(text: str, task: Interpret) -> Interpretation:
    """A model's answer, if it names what exists and every value stands in the message. Raises Unfit."""
    said = typed(Meant)(text)
    sure = min(0.85, said.confidence)
    if said.kind != "answer":
        return Interpretation(kind="other", confidence=sure) if said.kind == "other" else UNSURE
    number = 1 if said.question is None and len(task.questions) == 1 else said.question
    asked = _numbered(task.questions, number, "question")
    if asked.kind == "slots":
        return Interpretation(
            kind="answer", question=asked.id, values=_written(said.values, asked, task.text), confidence=sure
        )
    if asked.kind in ("consent", "follow_up"):
        return UNSURE  # a yes is never taken from a model
    return _chosen(asked, _numbered(asked.choices, said.choice, "choice"), sure)


def _shown(number: int, question: Question, pack: Pack) -> str:
    lines = [f"{number}. ({question.kind}) {question.text}"]
    for name in question.slots:
        slot = pack.slots.get(name)
        label = pack.say(slot.label, "en") if slot else ""
        lines.append(f"   value {name}: {label or name.replace('_', ' ')}")
    lines += [f"   option {place}: {choice.label}" for place, choice in enumerate(question.choices, start=1)]
    return "\n".join(lines)


def _schema(task: Interpret) -> dict[str, Any]:
    """The answer's shape, with these questions' numbers, slots and options. Of one question alone the number may be left out."""
    shape = Meant.shape()
    slots = sorted({name for question in task.questions for name in question.slots})
    options = max(len(question.choices) for question in task.questions)
    values = {name: {"type": "string"} for name in slots}
    shape["properties"] |= {
        "question": {"type": "integer", "minimum": 1, "maximum": len(task.questions)},
        "choice": {"type": "integer", "minimum": 1, "maximum": options},
        "values": {"type": "object", "additionalProperties": False, "properties": values},
    }
    if not options:
        del shape["properties"]["choice"]
    if len(task.questions) > 1:
        shape["required"] = [*shape["required"], "question"]
    return shape


def _written(values: Mapping[str, str], question: Question, text: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, said in values.items():
        value = as_written(said).strip()
        if name not in question.slots or not stands_in(value, text):
            raise Unfit(f"values.{name}: not asked for by this question, or not written in the message")
        found[name] = value
    if not found:
        raise Unfit("values: the question asks for values, and none is given")
    return found


def _numbered(items: Sequence[T], number: int | None, what: str) -> T:
    if number is None or not 1 <= number <= len(items):
        raise Unfit(f"{what}: a number from 1 to {len(items)}")
    return items[number - 1]
