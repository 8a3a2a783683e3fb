"""Possible values of a parameter in a situation: from earlier calls, from what the customer said, from what calls returned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tandem.brains.compiled import name_words
from tandem.brains.mentions import NUMBERS, Mentions
from tandem.brains.normal import is_nothing, normal, operator_of, spelling
from tandem.brains.state import NO, YES, words
from tandem.brains.values import Api, Parameter, Situation

SOURCES = (
    "call",
    "other_call",
    "return",
    "mention",
    "number",
    "answer",
    "clause",
    "span",
    "known",
    "day",
    "next",
    "yes_no",
    "text",
    "kind",
    "later",
)
MOST = 40
"""Candidates of one parameter."""

MESSAGES = 12
"""Messages of the customer that are looked at, the last ones."""

WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"couple": 2, "single": 1, "alone": 1, "myself": 1, "first": 1, "second": 2, "third": 3, "twenty": 20, "dozen": 12}
_HOUR = re.compile(r"\d{1,2} [ap]m")
_HALF = re.compile(r"\s*[ap]\.?m\b")
_LASTING = re.compile(
    rf"\b(?:(\d{{1,2}}|{'|'.join(sorted(_NUMBER_WORDS))})|an?)[\s-]+hours?\b(?!\s+(?:ago|before|earlier|notice))"
)
_DATE = re.compile(r"\b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b")
_LEADS = (
    r"hi|hello|hey|ok|okay|sure|yes|yeah|well|um|oh|so|and|it'?s|its|it is|i'?m|i am|this is|that'?s|that is",
    r"that would be|that'?d be|my (?:full )?name is|my name'?s|name is|the name is|my name|the|my|a|an",
    r"i would like|i'd like|i want|i think|to|from|at|for|in|of course|please|the (?:answer|code|number|pin) is",
    r"is|was|(?:my |the )?[\w' ]{2,28} (?:is|was)|called|going to|go to",
)
_LEAD = re.compile(rf"^(?:(?:{'|'.join(_LEADS)})\b[\s,:.!-]*)", re.IGNORECASE)
_NAMES = re.compile(r"\b[A-Z][\w'.]*(?:(?:\s+(?:and|of|on|the)\s+|\s+)[A-Z0-9][\w'.]*)*")
_TAIL = re.compile(r"[\s,.!?]*(?:please|thanks|thank you|thank you very much)?[\s,.!?]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """Of the customer."""

    text: str
    step: str  # the agent's step before it
    asked: str  # the agent's words before it
    back: int  # messages after it
    calls_after: int
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible value."""

    value: str
    source: str
    back: int = 99  # how many messages, or calls, ago
    step: str = ""
    asked: str = ""
    exact: bool = True
    order: int = 0  # among the mentions of the message
    of: int = 1
    before: str = ""  # the word before it
    before2: str = ""
    after: str = ""
    length: int = 1  # words of the message
    calls_after: int = 0
    sentence: str = ""


class Reader:
    """Finds candidates in one situation. `known`: parameter → values often given for it."""

    def __init__(self, situation: Situation, api: Api, known: Mapping[str, Sequence[str]]) -> None:
        self.situation = situation
        self.api = api
        self._known = known
        self._mentions = mentions_of(api)

    @cached_property
    def messages(self) -> list[Message]:
        """The customer's, the last one first."""
        found: list[Message] = []
        step = asked = ""
        calls = 0
        previous = ""
        for turn in self.situation.turns:
            if turn.who == "agent":
                step, asked = turn.step or "free", turn.text
            elif turn.who == "call":
                calls += 1
            elif turn.who == "customer":
                found.append(Message(turn.text, step, asked, 0, calls, previous))
                previous = turn.text
        count = len(found)
        return [
            Message(one.text, one.step, one.asked, count - 1 - at, calls - one.calls_after, one.previous)
            for at, one in reversed(list(enumerate(found)))
        ][:MESSAGES]

    @cached_property
    def calls(self) -> list[tuple[str, Mapping[str, str]]]:
        """API and parameters, the last call first."""
        return [(turn.api, turn.params) for turn in reversed(self.situation.turns) if turn.who == "call"]

    def find(self, parameter: Parameter) -> list[Candidate]:
        unique: dict[tuple[str, str, int], Candidate] = {}
        for one in self._all(parameter):
            if one.value and len(unique) < MOST:
                unique.setdefault((normal(one.value), one.source, min(one.back, 3)), one)
        return list(unique.values())

    def _all(self, parameter: Parameter) -> Iterator[Candidate]:
        yield from self._called(parameter)
        if parameter.type == "request":
            yield from (Candidate(category, "kind", order=at) for at, category in enumerate(parameter.categories))
            return
        yield from self._returned(parameter)
        for message in self.messages:
            if parameter.type in ("choice", "choices"):
                yield from self._mentioned(parameter, message)
                yield from self._days(parameter, message)
                yield from self._later(parameter, message)
            if parameter.type == "boolean" or set(parameter.categories) == {"Yes", "No"}:
                yield from self._truths(parameter, message)
            elif parameter.type == "integer":
                yield from self._numbers(message)
            elif parameter.type == "text":
                yield from self._texts(parameter, message)
            elif parameter.type == "long_text":
                yield _of(message, _TAIL.sub("", message.text), "text")

    def _called(self, parameter: Parameter) -> Iterator[Candidate]:
        same = other = 0
        for back, (api, params) in enumerate(self.calls):
            for name, value in params.items():
                if operator_of(value) or is_nothing(value):
                    continue
                if api == self.api.name and name == parameter.name and same < 2:
                    same += 1
                    yield Candidate(spelling(value), "call", back)
                    if parameter.type == "integer" and spelling(value).isdigit():
                        yield Candidate(str(int(spelling(value)) + 1), "next", back)
                elif api != self.api.name and other < 4 and _alike(name, parameter):
                    other += 1
                    yield Candidate(spelling(value), "other_call", back, exact=name == parameter.name)

    def _returned(self, parameter: Parameter) -> Iterator[Candidate]:
        items = [turn.item for turn in reversed(self.situation.turns) if turn.who == "return"][:3]
        for back, item in enumerate(items):
            for name, value in item.items():
                if isinstance(value, str | int | float | bool) and name != "APIName" and _alike(name, parameter):
                    yield Candidate(spelling(value), "return", back, exact=name == parameter.name)

    def _mentioned(self, parameter: Parameter, message: Message) -> Iterator[Candidate]:
        found = self._mentions.of(parameter.name, message.text)
        for order, one in enumerate(found):
            yield _of(message, one.value, "mention", one.start, one.end, one.exact, order, len(found))

    def _days(self, parameter: Parameter, message: Message) -> Iterator[Candidate]:
        """ "tomorrow", by the platform's clock; an hour without its half of the day."""
        lowered = {category.lower(): category for category in parameter.categories}
        text = message.text.lower()
        today = next((day for day in WEEK if day in self.situation.today.lower()), None)
        date = re.search(r"(\d{1,2})(?:st|nd|rd|th)", self.situation.today)
        for word, later in (("today", 0), ("tonight", 0), ("tomorrow", 1), ("right now", 0), ("day after tomorrow", 2)):
            at = text.find(word)
            if at >= 0 and today and "monday" in lowered:
                yield _of(message, lowered[WEEK[(WEEK.index(today) + later) % 7]], "day", at, at + len(word))
            if at >= 0 and date and "1st" in lowered:
                wanted = int(date.group(1)) + later
                value = next((v for k, v in lowered.items() if re.match(rf"{wanted}(?:st|nd|rd|th)$", k)), None)
                if value:
                    yield _of(message, value, "day", at, at + len(word))
        if any(_HOUR.fullmatch(category) for category in lowered):
            yield from self._hours(message, lowered)

    def _hours(self, message: Message, lowered: Mapping[str, str]) -> Iterator[Candidate]:
        found = list(re.finditer(r"(?<![\w:])(\d{1,2})(?::\d{2})?(?!\d)(?!\s*[ap]\.?m)", message.text.lower()))
        for order, match in enumerate(found):
            hour = int(match.group(1))
            for half in ("pm", "am"):
                if f"{hour} {half}" in lowered:
                    yield _of(
                        message, lowered[f"{hour} {half}"], "number", *match.span(), half == "pm", order, len(found)
                    )
                if hour > 12 and f"{hour - 12} {half}" in lowered and half == "pm":
                    yield _of(message, lowered[f"{hour - 12} pm"], "number", *match.span(), True, order, len(found))

    def _later(self, parameter: Parameter, message: Message) -> Iterator[Candidate]:
        """An hour that was said, and as many more as something takes ("a two-hour meeting at six")."""
        lowered = {category.lower(): category for category in parameter.categories}
        lasting = _LASTING.search(message.text.lower())
        if lasting is None or not any(_HOUR.fullmatch(category) for category in lowered):
            return
        said_length = lasting.group(1) or "1"
        length = _NUMBER_WORDS.get(said_length) or int(said_length)
        for other in self.messages:
            hours = [*self._mentioned(parameter, other), *self._hours(other, lowered)]
            for order, said in enumerate(hours):
                number, _, half = said.value.lower().partition(" ")
                at = (int(number) % 12 + (12 if half == "pm" else 0) + length) % 24
                value = lowered.get(f"{(at - 1) % 12 + 1} {'pm' if at >= 12 else 'am'}")
                if value and _HOUR.fullmatch(said.value.lower()):
                    yield _of(message, value, "later", *lasting.span(), said.exact, order, len(hours))

    def _truths(self, parameter: Parameter, message: Message) -> Iterator[Candidate]:
        truth = ("Yes", "No") if parameter.categories else ("True", "False")
        named = name_words(parameter.name) | set(words(parameter.label))
        about = len((named - {"has", "does", "need", "needed", "a", "takes"}) & set(words(message.text)))
        said_yes, said_no = YES.match(message.text) is not None, NO.search(message.text) is not None
        yield _of(message, truth[0], "yes_no", exact=said_yes, order=about, of=int(said_no))
        yield _of(message, truth[1], "yes_no", exact=said_no, order=about, of=int(said_yes))

    def _numbers(self, message: Message) -> Iterator[Candidate]:
        text = message.text.lower().replace(",", "")
        found = [
            (match.group(), *match.span()) for match in NUMBERS.finditer(text) if not _HALF.match(text, match.end())
        ]
        for match in re.finditer(r"[a-z]+", text):
            if match.group() in _NUMBER_WORDS:
                found.append((str(_NUMBER_WORDS[match.group()]), *match.span()))
        for order, (value, start, end) in enumerate(sorted(found, key=lambda one: one[1])):
            yield _of(message, value, "number", start, end, text[start:end].isdigit(), order, len(found))

    def _texts(self, parameter: Parameter, message: Message) -> Iterator[Candidate]:
        text = message.text
        low = text.lower()
        for value in self._known.get(parameter.name, ()):
            match = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", low)
            if match:
                yield _of(message, text[match.start() : match.end()], "known", *match.span())
        for pattern in (_DATE, NUMBERS):
            found = list(pattern.finditer(text))
            for order, match in enumerate(found):
                yield _of(message, match.group(), "number", *match.span(), True, order, len(found))
        if message.back <= 8:
            yield from self._clauses(message)
            spans = list(_NAMES.finditer(text))[:6]
            for order, match in enumerate(spans):
                yield _of(message, match.group().strip(" ."), "span", *match.span(), True, order, len(spans))

    def _clauses(self, message: Message) -> Iterator[Candidate]:
        """The whole answer, and its first clauses without the words that lead to the value."""
        yield _of(message, _TAIL.sub("", message.text), "answer")
        clauses = [
            clause for clause in re.split(r"[.,;!?]\s+|\n|\s+(?:and my|but|because)\s+", message.text) if clause.strip()
        ]
        for order, clause in enumerate(clauses[:3]):
            value = clause
            for _ in range(4):
                value = _LEAD.sub("", value, count=1)
            value = _TAIL.sub("", value)
            if 0 < len(value.split()) <= 6:
                yield _of(message, value, "clause", order=order, of=len(clauses))


def _of(
    message: Message,
    value: str,
    source: str,
    start: int = 0,
    end: int = 0,
    exact: bool = True,
    order: int = 0,
    of: int = 1,
) -> Candidate:
    before = words(message.text[:start])[-2:]
    after = words(message.text[end:])[:1] if end else []
    return Candidate(
        value,
        source,
        message.back,
        message.step,
        message.asked,
        exact,
        order,
        of,
        before[-1] if before else "^",
        " ".join(before) if len(before) == 2 else "^",
        after[0] if after else "$",
        len(message.text.split()),
        message.calls_after,
        message.text,
    )


def _alike(name: str, parameter: Parameter) -> bool:
    """Whether a value of that name may be the parameter's: the same name, or a word in common that tells."""
    if name == parameter.name:
        return True
    if "id" in (name, parameter.name):
        return False
    shared = name_words(name) & (name_words(parameter.name) | set(words(parameter.label)))
    return bool(shared - {"of", "a", "the", "needed", "in"})


_CACHE: dict[Api, Mentions] = {}


def mentions_of(api: Api) -> Mentions:
    """Made once an API; there are as many as a pack has tools."""
    found = _CACHE.get(api)
    if found is None:
        if len(_CACHE) > 1_000:
            _CACHE.clear()
        found = _CACHE[api] = Mentions(api.parameters)
    return found
