"""What the train dialogues say about a procedure's parameters: which question asks for each, which words customers use for its
values, and when a mention of one is meant for it. A procedure without train dialogues gets what its own words say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, name_words, normalise

OUTCOMES = frozenset(("query_success", "query_failure"))
FEW = 5
"""Cases below which counting says little."""

ALIAS_PRECISION = 0.85
ALIAS_SUPPORT = 3
SURE_PRECISION = 0.85
CUE_SUPPORT = 5
MAX_KNOWN = 60
MAX_ALIASES = 12
MAX_CUES = 12
KNOWN_SUPPORT = 3
MANY = 0.75
"""Share of a parameter's values that has a form."""

_TOKEN = re.compile(r"[a-z0-9]+(?:[:'/][a-z0-9]+)*")
_HOUR = re.compile(r"^(\d+) (am|pm)$")
_ORDINAL = re.compile(r"^(\d+)(?:st|nd|rd|th)$")
_DATE = r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}"
_DIGITS = r"\d{2,}"
_UNKNOWN = re.compile(
    r"(?:n'?t|not|unable to) (?:really |quite |seem to |even )?(?:know|remember|recall|sure|certain)|no idea|forgot",
    re.I,
)
_IDLE = frozenset(
    [
        "a",
        "an",
        "the",
        "i",
        "to",
        "for",
        "at",
        "on",
        "in",
        "of",
        "is",
        "my",
        "me",
        "please",
        "you",
        "it",
        "and",
        "or",
        "with",
        "by",
        "from",
        "yes",
        "no",
        "can",
        "be",
        "do",
    ]
)

Parameter = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Learnt:
    """Of one parameter."""

    words: Mapping[str, Sequence[str]]  # value → words for it; of a free one those often given
    cues: Sequence[str] = ()
    sure: bool = True  # a mention that nobody asked for is meant for it
    within: str | None = None  # form of a free value
    longest: int | None = None  # words of a free value


def parameters(api: Api) -> list[Parameter]:
    return [i for i in api.inputs if i["Type"] != REQUEST_TYPE]


def is_yes_no(parameter: Parameter) -> bool:
    """A parameter that is a yes or a no, whatever STAR calls its type."""
    return parameter["Type"] == "Boolean" or set(parameter.get("Categories") or ()) == {"Yes", "No"}


# Questions -------------------------------------------------------------------------------------------------------


def is_question(label: str, graph: Mapping[str, str]) -> bool:
    """Whether a step asks for a value: no confirmation, no report, no "more?" that the graph's yes and no answer."""
    answered_yes_no = label not in graph and "yes" in graph and label in graph.values()
    return "_ask_" in f"_{label}" and not re.search("confirm|inform|next", label) and not answered_yes_no


def link(raw: Mapping[str, Mapping[str, str]], api: Api, dialogues: Iterable[Dialogue]) -> dict[str, str]:
    """Which parameter each question asks for: by its words, and by what customers answered and was then called."""
    replies, graph = raw["replies"], raw["graph"]
    counted: Counter[tuple[str, str]] = Counter()
    asked: Counter[str] = Counter()
    for dialogue in dialogues:
        called = dialogue.queries[-1].params if dialogue.queries else {}
        for label, texts in dialogue.answers.items():
            said = normalise(texts[0].text)
            hits = [name for name, value in called.items() if mentioned(value, said)]
            asked[label] += bool(hits)
            counted.update((label, name) for name in hits)
    scores = [
        (
            _overlap(label, text, i) + 2 * counted[label, i["Name"]] / max(FEW, asked[label]) + (label in graph) / 4,
            label,
            i["Name"],
        )
        for label, text in replies.items()
        if is_question(label, graph)
        for i in parameters(api)
        if _overlap(label, text, i) or counted[label, i["Name"]] >= FEW
    ]
    linked: dict[str, str] = {}
    for _, label, name in sorted(scores, key=lambda one: -one[0]):
        if label not in linked and name not in linked.values():
            linked[label] = name
    return linked


def mentioned(value: str, said: str) -> bool:
    """Whether a value stands in a text as words of its own."""
    return bool(value) and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", said) is not None


def _overlap(label: str, text: str, parameter: Parameter) -> float:
    asked = name_words(label.split("ask_")[-1]) | frozenset(re.findall(r"[a-z]+", text.lower()))
    named = name_words(parameter["Name"]) | frozenset(parameter["ReadableName"].lower().split())
    return len(asked & named) / len(named)


def failures(api: Api, graph: Mapping[str, str], dialogues: Iterable[Dialogue]) -> dict[str, dict[str, list[str]]]:
    """Request type → output → its values after which agents did not go on as after a success."""
    good = {graph.get(name) for name in ("available", "query_success")} | {
        target for label, target in graph.items() if label.startswith("query_") and label not in OUTCOMES
    }
    seen: dict[tuple[str, str, str], Counter[bool]] = defaultdict(Counter)
    for dialogue in dialogues:
        for query in dialogue.returns:
            for output, value in query.item.items():
                if query.then and output in (*api.outputs, "Message") and isinstance(value, str):
                    kind = next((one for one in api.request_types if one.lower() == query.request_type), "")
                    seen[kind, output, value][query.then in good] += 1
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    if good - {None}:
        for (kind, output, value), counts in sorted(seen.items()):
            if counts[False] > counts[True] and counts.total() >= FEW:
                found[kind][output].append(value)
    return found


def goes_on(label: str, dialogues: Iterable[Dialogue]) -> bool:
    """Whether customers who were told this often changed something and were served again."""
    said = [said.then_called for dialogue in dialogues for said in dialogue.answers.get(label, ())]
    return len(said) >= FEW and 3 * sum(said) >= len(said)


def denied(api: Api, linked: Mapping[str, str], dialogues: Sequence[Dialogue]) -> frozenset[str]:
    """Yes-or-no parameters for which agents mostly took "I don't remember" for a no."""
    labels = {name: label for label, name in linked.items()}
    found: set[str] = set()
    for name in (i["Name"] for i in parameters(api) if is_yes_no(i) and i["Name"] in labels):
        called = [
            dialogue.queries[-1].params.get(name, "")
            for dialogue in dialogues
            if dialogue.queries and any(_UNKNOWN.search(said.text) for said in dialogue.answers.get(labels[name], ()))
        ]
        if len(called) >= FEW and 2 * called.count("no") > len(called):
            found.add(name)
    return frozenset(found)


def returned(dialogues: Iterable[Dialogue]) -> tuple[str, ...]:
    """Names of what calls brought, besides the API's own."""
    found = {name for dialogue in dialogues for query in dialogue.returns for name in query.item}
    return tuple(sorted(found - {"APIName", "id", "Message"}))


# Values ----------------------------------------------------------------------------------------------------------


def learn(
    api: Api, linked: Mapping[str, str], dialogues: Sequence[Dialogue], secret: re.Pattern[str]
) -> dict[str, Learnt]:
    """What is known of each parameter of a procedure."""
    labels = {name: label for label, name in linked.items()}
    found: dict[str, Learnt] = {}
    for i in parameters(api):
        name, kind = i["Name"], i["Type"]
        cases = _cases(name, labels.get(name, ""), dialogues)
        if is_yes_no(i) or kind == "LongString":
            found[name] = Learnt({})
        elif kind.startswith("Categorical"):
            found[name] = _mentions(_aliases([str(c) for c in i["Categories"]], cases), cases, _rivals(api, i))
        elif kind == "Integer":
            found[name] = Learnt({}, _cues(cases, _numbers))
        else:
            found[name] = _free(cases, bool(secret.search(name)))
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """A dialogue, for one parameter: its value in each call that had it, the answer to its question, everything else said."""

    values: tuple[str, ...]
    spelt: str
    answer: str
    others: tuple[str, ...]
    called: str  # all values of all parameters


def _cases(name: str, label: str, dialogues: Iterable[Dialogue]) -> list[Case]:
    found: list[Case] = []
    for dialogue in dialogues:
        calls = [query for query in dialogue.returns if name in query.params]
        answers = [said.text for said in dialogue.answers.get(label, ())]
        others = tuple(text.lower() for text in dialogue.said if text not in answers)
        values = tuple(dict.fromkeys(query.params[name] for query in calls))
        spelt = calls[-1].spelt[name] if calls else ""
        called = " | ".join(value for query in dialogue.returns for value in query.params.values())
        found.append(Case(values, spelt, answers[0].lower() if answers else "", others, called))
    return found


def _free(cases: Sequence[Case], secret: bool) -> Learnt:
    """A short free value: its form, and, unless secret, those often given."""
    values = Counter(case.values[-1] for case in cases if case.values)
    total = sum(values.values())
    for form in (_DATE, _DIGITS):
        if total >= FEW and sum(n for v, n in values.items() if re.fullmatch(form, v)) >= MANY * total:
            return Learnt({}, within=form)
    longest = max([2, *(len(v.split()) for v, n in values.items() if n >= KNOWN_SUPPORT)])
    if secret:
        return Learnt({}, longest=longest)
    spelt = {case.values[-1]: case.spelt for case in reversed(cases) if case.values}
    often = [v for v, n in values.most_common(MAX_KNOWN) if n >= KNOWN_SUPPORT and len(v) > 1]
    learnt = _mentions({spelt[v]: [v] for v in often}, cases, rivals=True)
    return Learnt(learnt.words, learnt.cues, learnt.sure, longest=longest)


def _rivals(api: Api, parameter: Parameter) -> bool:
    """Whether another parameter of the call has values of the same form."""
    own = {str(c).lower() for c in parameter["Categories"]}
    others = [i for i in parameters(api) if i["Name"] != parameter["Name"]]
    return any(own & {str(c).lower() for c in i.get("Categories") or ()} for i in others)


def _aliases(categories: Sequence[str], cases: Sequence[Case]) -> dict[str, list[str]]:
    """Words for each category: itself, its parts that no other has, its forms, and what customers said for it."""
    lowered = {category.lower(): category for category in categories}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        if len(case.values) == 1 and case.values[0] in lowered:
            for phrase in set(_phrases(case.answer)):
                counts[phrase][case.values[0]] += 1
    learnt: dict[str, list[str]] = defaultdict(list)
    for phrase, values in counts.items():
        value, n = values.most_common(1)[0]
        if n >= ALIAS_SUPPORT and n >= ALIAS_PRECISION * values.total() and _telling(phrase, value, lowered):
            learnt[value].append(phrase)
    parts = Counter(part for category in lowered for part in set(_phrases(category)))
    misleading = _misleading({part for part, n in parts.items() if n == 1} - lowered.keys(), lowered, cases)
    return {
        category: list(
            dict.fromkeys(
                (
                    *forms(low),
                    *(p for p in _phrases(low) if parts[p] == 1 and len(p) > 3 and p not in misleading),
                    *sorted(learnt[low], key=len)[:MAX_ALIASES],
                )
            )
        )
        for low, category in lowered.items()
    }


def _misleading(parts: AbstractSet[str], categories: Mapping[str, str], cases: Iterable[Case]) -> set[str]:
    """Parts of categories that customers say of other things."""
    said: Counter[str] = Counter()
    meant: Counter[str] = Counter()
    for case in cases:
        for part in parts & set(_phrases(" | ".join((case.answer, *case.others)))):
            said[part] += 1
            meant[part] += mentioned(part, case.called)
    return {part for part, n in said.items() if n >= ALIAS_SUPPORT and meant[part] < ALIAS_PRECISION * n}


def forms(category: str) -> list[str]:
    """Ways to write an hour or a day of the month; else the category itself, and without its full stops."""
    hour, ordinal = _HOUR.match(category), _ORDINAL.match(category)
    if hour:
        number, half = hour.groups()
        marks = (half, f"{half[0]}.m.", f"{half[0]}.m")
        return [
            category,
            *(f"{number}{minutes}{gap}{mark}" for minutes in ("", ":00") for gap in ("", " ") for mark in marks),
        ]
    return [category, ordinal.group(1)] if ordinal else [category, category.replace(".", "")]


def _phrases(text: str) -> Iterator[str]:
    tokens = _TOKEN.findall(text)
    for size in (1, 2, 3):
        for at in range(len(tokens) - size + 1):
            phrase = tokens[at : at + size]
            if not _IDLE.issuperset(phrase) and phrase[0] not in _IDLE and phrase[-1] not in _IDLE:
                yield " ".join(phrase)


def _telling(phrase: str, value: str, categories: Mapping[str, str]) -> bool:
    """Whether a phrase said for a value resembles it, and holds no other category: what else was said there is chance."""
    if any(mentioned(other, phrase) for other in categories if other != value):
        return False
    stems = {word[:3] for word in _TOKEN.findall(value)}
    return any(word[:3] in stems for word in _TOKEN.findall(phrase))


# Mentions --------------------------------------------------------------------------------------------------------


def _mentions(words: Mapping[str, Sequence[str]], cases: Sequence[Case], rivals: bool) -> Learnt:
    """Whether a mention that nobody asked for is meant for the parameter, and beside which words it is."""

    def find(text: str) -> Iterator[tuple[int, int, str]]:
        return _found(words, text)

    hits = [value in case.values for case in cases for text in case.others for _, _, value in find(text)]
    sure = sum(hits) >= SURE_PRECISION * len(hits) if len(hits) >= FEW else not rivals
    return Learnt(words, () if sure else _cues(cases, find), sure)


def _found(words: Mapping[str, Sequence[str]], text: str) -> Iterator[tuple[int, int, str]]:
    values = {word.lower(): value.lower() for value, said in words.items() for word in (*said, value)}
    if not values:
        return
    pattern = "|".join(re.escape(word) for word in sorted(values, key=len, reverse=True))
    for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text):
        yield match.start(), match.end(), values[match.group()]


def _numbers(text: str) -> Iterator[tuple[int, int, str]]:
    for match in re.finditer(r"(?<![\w.,:/])\d+(?![\w:/]|[.,]\d)", text):
        yield match.start(), match.end(), match.group()


def _cues(cases: Sequence[Case], find: Any) -> list[str]:
    """Words right before or after a mention that say it is the parameter's."""
    right: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for case in cases:
        for text in (*case.others, case.answer):
            for start, end, value in find(text):
                beside = set(_beside(text, start, end))
                seen.update(beside)
                right.update(beside if value in case.values else ())
    good = [cue for cue, n in right.items() if n >= CUE_SUPPORT and n >= SURE_PRECISION * seen[cue]]
    kept: list[str] = []
    for cue in sorted(good, key=lambda cue: (len(cue.split()), -right[cue], cue)):
        words = cue.replace("…", "").split()
        if not any(
            (cue.endswith(" …") and words[-1] == short[:-2]) or (cue.startswith("… ") and words[0] == short[2:])
            for short in kept
        ):
            kept.append(cue)
    return kept[:MAX_CUES]


def _beside(text: str, start: int, end: int) -> Iterator[str]:
    before = re.findall(r"[a-z']+", re.split(r"[.,;!?]", text[max(0, start - 40) : start])[-1])
    before = [word for word in before if word not in ("the", "a", "an", "my", "our")]
    after = re.findall(r"[a-z']+", re.split(r"[.,;!?]", text[end : end + 30])[0])
    for size in (1, 2):
        if len(before) >= size:
            yield " ".join(before[-size:]) + " …"
        if len(after) >= size:
            yield "… " + " ".join(after[:size])
