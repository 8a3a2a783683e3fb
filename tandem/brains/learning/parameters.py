"""Training of the parameter extractor, from recorded calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from tandem.brains.candidates import Candidate, Reader
from tandem.brains.compiled import Floats
from tandem.brains.extraction import Extractor, Learnt, candidate_rows, key, presence_row
from tandem.brains.learning.boosting import boost
from tandem.brains.normal import is_nothing, normal, operator_of, token_f1
from tandem.brains.values import Api, Parameter, Situation

SMOOTH = 2.0
FEW = 3
MOST_KNOWN = 80
EVERY = 2
EVERY_PRESENT = 5
EVERY_COUNTED = 3
EVERY_EARLY = 2
"""Of so many calls one is looked at: a call resembles those before it in its dialogue."""

FREE_TEXT_F1 = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded call: when, what of, and with which parameters, as they were written."""

    situation: Situation
    api: Api
    params: Mapping[str, str]


def cold(situation: Situation) -> Situation:
    """The situation without the parameters of earlier calls."""
    return replace(
        situation, turns=tuple(replace(turn, params={}) if turn.params else turn for turn in situation.turns)
    )


def early(situation: Situation, number: int) -> Situation:
    """The situation after one of the customer's messages, the first for number 0 and so on in turn: some values were not said
    yet, and nothing must be taken for one."""
    said = [at for at, turn in enumerate(situation.turns) if turn.who == "customer"] or [len(situation.turns)]
    return replace(situation, turns=tuple(situation.turns[: said[number % len(said)] + 1]))


def is_right(parameter: Parameter, value: str, gold: str) -> bool:
    """Whether a value counts as the recorded one."""
    if normal(value) == normal(gold):
        return True
    return parameter.type == "long_text" and token_f1(normal(value), normal(gold)) >= FREE_TEXT_F1


def plain_params(call: Call) -> list[tuple[Parameter, str]]:
    """The parameters with a value that is no operator."""
    return [
        (p, call.params[p.name])
        for p in call.api.parameters
        if p.name in call.params and not operator_of(call.params[p.name]) and not is_nothing(call.params[p.name])
    ]


def count(calls: Sequence[Call]) -> Learnt:
    """What recorded calls tell by counting."""
    values: dict[str, Counter[str]] = defaultdict(Counter)
    names: dict[str, Counter[str]] = defaultdict(Counter)
    of_api: Counter[str] = Counter()
    present: Counter[str] = Counter()
    for call in calls:
        of_api[call.api.name] += 1
        for parameter in call.api.parameters:
            present[key(call.api.name, parameter.name)] += not is_nothing(call.params.get(parameter.name, ""))
        for parameter, value in plain_params(call):
            values[key(call.api.name, parameter.name)][normal(value)] += 1
            if parameter.type == "text":
                names[parameter.name][normal(value)] += 1
    links, cues = _beside(calls[::EVERY_COUNTED])
    return Learnt(
        links,
        cues,
        {at: {v: n / found.total() for v, n in found.most_common(60)} for at, found in values.items()},
        {at: n / of_api[at.split(".")[0]] for at, n in present.items()},
        {
            name: [value for value, n in found.most_common(MOST_KNOWN) if n >= FEW and len(value) > 1]
            for name, found in names.items()
        },
    )


def _beside(calls: Iterable[Call]) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Which question's answers give which parameters; and which words stand beside a parameter's values."""
    answered: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    right: dict[str, Counter[str]] = defaultdict(Counter)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for call in calls:
        reader = Reader(cold(call.situation), call.api, {})
        total.update({message.step for message in reader.messages})
        for parameter, gold in plain_params(call):
            at = key(call.api.name, parameter.name)
            hits: set[str] = set()
            for candidate in reader.find(parameter):
                ok = is_right(parameter, candidate.value, gold)
                if candidate.source in ("mention", "number", "known", "span"):
                    marks = (candidate.before, candidate.before2, f"{candidate.after} …")
                    seen[at].update(marks)
                    right[at].update(marks if ok else ())
                hits |= {candidate.step} if ok and candidate.step and candidate.source != "yes_no" else set()
            answered_by = answered
            for step in hits:
                answered_by[step][at] += 1
    links = {
        step: {at: n / (total[step] + SMOOTH) for at, n in found.items() if n >= FEW}
        for step, found in answered.items()
    }
    cues = {
        at: {
            mark: log((right[at][mark] + 0.5) / (n - right[at][mark] + 0.5))
            for mark, n in found.items()
            if n >= FEW + 2
        }
        for at, found in seen.items()
    }
    return links, cues


@dataclass
class Table:
    """Rows for the trees, in the making."""

    rows: list[Floats]
    right: list[bool]


def fit(calls: Sequence[Call], groups: Sequence[int]) -> Extractor:
    """`groups`: of each call its part; what is counted for the rows of one part comes from the others, so that the trees see
    counts as reliable as they will be. A fifth of the APIs is left out of each count, so that they learn to do without."""
    parts = sorted(set(groups))
    apis = sorted({call.api.name for call in calls})
    table, presence = Table([], []), Table([], [])
    counted: list[tuple[Learnt, list[Call]]] = []
    for number, part in enumerate(parts):
        hidden = set(apis[number :: len(parts)])
        paired = list(zip(calls, groups, strict=True))
        learnt = count([call for call, group in paired if group != part and call.api.name not in hidden])
        counted.append((learnt, [call for call, group in paired if group == part]))
    for learnt, own in counted:
        for call in own[::EVERY]:
            _add(table, learnt, call)
            _add(table, learnt, replace(call, situation=cold(call.situation)))
        for number, call in enumerate(own[::EVERY_EARLY]):
            _add(table, learnt, replace(call, situation=early(call.situation, number // 2 if number % 2 else 0)))
    values = boost(np.concatenate(table.rows), np.array(table.right), rounds=140, leaves=48)
    for learnt, own in counted:
        for call in own[1::EVERY_PRESENT]:
            _add_presence(presence, Extractor(learnt, values, values), call)
    present = boost(np.concatenate(presence.rows), np.array(presence.right), rounds=100, leaves=24)
    return Extractor(count(calls), values, present)


def _add_presence(table: Table, extractor: Extractor, call: Call) -> None:
    reader = Reader(call.situation, call.api, extractor.learnt.known)
    best = extractor.best(reader, call.api.parameters)
    rows = [presence_row(reader, extractor.learnt, p, best.get(p.name)) for p in call.api.parameters]
    table.rows.append(np.array(rows, np.float32))
    table.right += [not is_nothing(call.params.get(p.name, "")) for p in call.api.parameters]


def _add(table: Table, learnt: Learnt, call: Call) -> None:
    reader = Reader(call.situation, call.api, learnt.known)
    for parameter, gold in plain_params(call):
        candidates: list[Candidate] = reader.find(parameter)
        if candidates:
            table.rows.append(candidate_rows(reader, learnt, parameter, candidates))
            table.right += [is_right(parameter, candidate.value, gold) for candidate in candidates]
