"""What the rankers know of a procedure, and of each of its steps, in a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tandem.brains.compiled import GOOD, KINDS, Compiled, Floats, is_negative, name_words
from tandem.brains.habits import WAYS, Counts
from tandem.brains.linear import Scores
from tandem.brains.mentions import NUMBERS
from tandem.brains.state import GREETING, NO, THANKS, YES, State, plain, words
from tandem.brains.values import Vectors

LAST = ("", "customer", "agent", "call", "return")
NAN = float("nan")


@dataclass(frozen=True)
class Seen:
    """A state with what was embedded and scored of it."""

    state: State
    latest: Vectors  # of the customer's last words
    mean: Vectors  # of all the customer's messages
    free: Vectors | None  # of the agent's free words
    answer: Vectors | None  # of the return
    scores: Scores  # by the linear model
    usual: Sequence[Counts] = ()  # what came next in recorded moments alike, from coarse to fine

    @property
    def labels(self) -> Mapping[str, float]:
        return self.scores.labels

    @property
    def tasks(self) -> Mapping[str, float]:
        return self.scores.tasks

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(words(self.state.latest))

    @cached_property
    def all_words(self) -> frozenset[str]:
        return frozenset(word for text in self.state.said for word in words(text))

    @cached_property
    def said(self) -> str:
        return " \n ".join(self.state.said)

    @cached_property
    def best(self) -> float:
        return max(self.labels.values(), default=NAN)

    @cached_property
    def best_task(self) -> float:
        return max(self.tasks.values(), default=NAN)

    @cached_property
    def returned_text(self) -> str:
        return return_text(self.state)

    @cached_property
    def returned_words(self) -> frozenset[str]:
        return frozenset(words(self.returned_text))


def return_text(state: State) -> str:
    """The words of a return that came last of all."""
    values = [plain(value) for name, value in state.fresh.items() if name not in ("APIName", "id")]
    return " ".join(value for value in values if len(value) > 2 and not value[0].isdigit())[:160]


# Procedures ------------------------------------------------------------------------------------------------------


def procedure_features(seen: Seen, procedures: Sequence[Compiled], weights: Mapping[str, float]) -> Floats:
    """One row a procedure. `weights`: how telling a word is of a procedure."""
    rows = np.array([_of_procedure(seen, one, weights) for one in procedures], np.float32)
    relative = rows[:, :RELATIVE] - np.nanmax(np.nan_to_num(rows[:, :RELATIVE], nan=-9), axis=0)
    return np.hstack([rows, relative.astype(np.float32)])


RELATIVE = 15
"""So many of a procedure's features are also compared with the best procedure's."""


def _of_procedure(seen: Seen, one: Compiled, weights: Mapping[str, float]) -> list[float]:
    state = seen.state
    names = [act.name for act in state.steps]
    own = [name in one.index for name in names]
    calls = [name for name in names if name == one.procedure.api.name]
    last_call = next((name for name in reversed(names) if name in weights), "")
    known = [seen.labels[step.name] for step in one.steps if step.name in seen.labels]
    sims = one.texts @ seen.latest
    vocabulary = one.own_words
    weighted = [weights.get(f"w:{word}", 0.0) for word in seen.words if word in vocabulary]
    weighted_all = [weights.get(f"w:{word}", 0.0) for word in seen.all_words if word in vocabulary]
    return [
        seen.tasks.get(one.name, NAN),
        max(known, default=NAN),
        float(one.scope[0] @ seen.latest),
        float(one.scope[0] @ seen.mean),
        float(one.scope[1] @ seen.latest),
        float(one.scope[1] @ seen.mean),
        float(sims.max()),
        float((one.texts @ seen.mean).max()),
        sum(weighted),
        sum(weighted_all),
        float(len(one.mentions.named(state.latest)[1])),
        float(len(frozenset().union(*(one.mentions.named(text)[1] for text in state.said)))),
        sum(own) / max(1, len(own)),
        sum(own[-3:]) / 3,
        float(sum(weights.get(f"s:{name}", 0.0) for name, is_own in zip(names[-4:], own[-4:], strict=True) if is_own)),
        float(len(calls)),
        float(bool(names) and names[-1] in one.index),
        float(last_call == one.procedure.api.name),
        float(next((back for back, name in enumerate(reversed(names)) if name == one.procedure.api.name), 99)),
        float(len(state.said)),
        float(len(names)),
        float(LAST.index(state.last)),
        float(bool(state.returned) and state.returned.get("APIName", "") == one.procedure.api.name),
        float(len(seen.words)),
    ]


def telling(procedures: Sequence[Compiled]) -> dict[str, float]:
    """How telling words, steps and APIs are: the fewer procedures have one, the more."""
    count = len(procedures)
    found: dict[str, float] = {}
    for one in procedures:
        for key in (*(f"w:{word}" for word in one.own_words), *(f"s:{step.name}" for step in one.steps)):
            found[key] = found.get(key, 0.0) + 1
    weighted = {key: float(np.log(count / n)) for key, n in found.items()}
    return weighted | {one.procedure.api.name: 1.0 for one in procedures}


# Steps -----------------------------------------------------------------------------------------------------------


def step_features(seen: Seen, one: Compiled, procedure: Sequence[float]) -> Floats:
    """One row a step. `procedure`: what the procedures' ranker says of this one."""
    count = len(one.steps)
    parts = [
        _scores(seen, one),
        np.tile(np.array([*procedure, *_moment(seen, one)], np.float32), (count, 1)),
        _fixed(one),
        _history(seen.state, one),
        _questions(seen, one),
        _texts(seen, one),
        _usual(seen, one),
    ]
    return np.hstack(parts).astype(np.float32)


def _scores(seen: Seen, one: Compiled) -> Floats:
    own = np.array([seen.labels.get(step.name, NAN) for step in one.steps], np.float32)
    rank = np.array(sorted(seen.labels.values()), np.float32)
    place = len(rank) - np.searchsorted(rank, own, side="left") if len(rank) else np.full(len(own), NAN)
    place = np.where(np.isnan(own), NAN, np.minimum(place, 20))
    roles = seen.scores.roles
    role = roles[one.roles(last_place(seen.state, one))]
    behind = (roles > role[:, None]).sum(axis=1)
    return np.stack([own, own - seen.best, place, role, role - roles.max(), behind], axis=1)


def last_place(state: State, one: Compiled) -> int | None:
    """Of the last step that is one of the procedure's."""
    return next((one.index[act.name] for act in reversed(state.steps) if act.name in one.index), None)


def _moment(seen: Seen, one: Compiled) -> list[float]:
    """What is the same for all steps of a procedure."""
    state = seen.state
    latest = state.latest
    names = [act.name for act in state.steps]
    last = one.index.get(names[-1]) if names else None
    since = state.since
    return [
        NAN if last is None else float(one.kinds[last]),
        float(LAST.index(state.last)),
        float(len(since)),
        float(YES.match(latest) is not None),
        float(NO.search(latest) is not None),
        float(THANKS.search(latest) is not None),
        float(GREETING.match(latest) is not None),
        float("?" in latest),
        float(len(seen.words)),
        float(len(state.said)),
        float(len(names)),
        float(sum(name == one.procedure.api.name for name in names)),
        float(sum(name == one.procedure.api.name for name in since)),
        float(is_negative(seen.returned_text)) if state.last == "return" else NAN,
        float(len(state.fresh)),
        float(bool(state.free)),
        float("?" in state.free),
        float(one.scope[0] @ seen.latest),
        float(len(seen.labels) and seen.best),
        *_against_return(seen, len(since)),
        *against_call(state, one),
    ]


def against_call(state: State, one: Compiled) -> list[float]:
    """In how many parameters another call than the last of this procedure is asked for: by what the customer said since, and by
    the last words alone. Unknown before the first call."""
    turns, api = state.situation.turns, one.procedure.api.name
    called = next(
        (at for at in range(len(turns) - 1, -1, -1) if turns[at].who == "call" and turns[at].api == api), None
    )
    if called is None:
        return [NAN, NAN]
    given = {name: plain(value).lower() for name, value in turns[called].params.items()}
    said = [turn.text for turn in turns[called:] if turn.who == "customer"]
    news = [
        {name for name, value in one.mentions.whole(text) if value.lower() != given.get(name)}
        for text in (*said, state.latest if said else "")
    ]
    return [float(len(set[str]().union(*news))), float(len(news[-1]))]


def _against_return(seen: Seen, since: int) -> list[float]:
    """Whether the customer's last words say a value that the last call returned (the answer of a quiz); and how many parts of the
    longest list that it returned (the steps of a way) are still to be told."""
    state = seen.state
    if not state.returned:
        return [NAN, NAN, NAN]
    said = f" {' '.join(words(state.latest))} "
    values = [" ".join(words(plain(value))) for name, value in state.returned.items() if name != "APIName"]
    told = [value for value in values if value and len(value) < LONGEST_TOLD]
    called = max((at for at, turn in enumerate(state.situation.turns) if turn.who == "call"), default=0)
    longest = max((len(value) for value in state.returned.values() if isinstance(value, list)), default=0)
    agent = sum(turn.who == "agent" for turn in state.situation.turns[called:])
    return [
        float(any(f" {value} " in said for value in told)),
        max((_shared(value, said) for value in told), default=0.0),
        float(longest - agent) if longest else NAN,
    ]


LONGEST_TOLD = 60
"""Letters of a returned value that a customer may say."""


def _shared(value: str, said: str) -> float:
    parts = value.split()
    return sum(f" {part} " in said for part in parts) / len(parts)


def _fixed(one: Compiled) -> Floats:
    count = len(one.steps)
    own = np.array([bool(words) for words in one.placeholders], np.float32)
    order: Floats = (np.arange(count) / count).astype(np.float32)
    columns: list[Floats] = [one.kinds, one.depths, order, one.negative, own, np.full(count, count, np.float32)]
    return np.hstack([np.stack(columns, axis=1), one.targets])


def _history(state: State, one: Compiled) -> Floats:
    """What was done, and where that leads."""
    count = len(one.steps)
    names = [act.name for act in state.steps]
    places = [one.index[name] for name in names if name in one.index]
    done = np.bincount(places, minlength=count).astype(np.float32) if places else np.zeros(count, np.float32)
    back = np.full(count, NAN, np.float32)
    for distance, name in enumerate(reversed(names), 1):
        at = one.index.get(name)
        if at is not None and np.isnan(back[at]):
            back[at] = distance
    since = np.array([step.name in state.since for step in one.steps], np.float32)
    called = max((at for at, name in enumerate(names) if name == one.procedure.api.name), default=-1)
    after = set(names[called + 1 :])
    fresh = np.array([step.name in after for step in one.steps], np.float32)
    last = places[-1] if places else None
    edge = one.successors[last] if last is not None else np.zeros(count, np.float32)
    away = one.distances[last] if last is not None else np.full(count, NAN, np.float32)
    depths = one.depths
    reached = depths - (depths[last] if last is not None else 0)
    deepest = max((float(depths[at]) for at in places if not np.isnan(depths[at])), default=0.0)
    twice = edge @ one.successors if last is not None else edge
    return np.stack([done, back, since, fresh, edge, twice, away, reached, depths - deepest], axis=1)


def _questions(seen: Seen, one: Compiled) -> Floats:
    """Which questions are still open, and whether the call could be made."""
    count = len(one.steps)
    names = {act.name for act in seen.state.steps}
    filled = filled_parameters(seen, one)
    known = np.full(count, NAN, np.float32)
    for at, parameter in one.asked.items():
        known[at] = float(parameter.name in filled)
    open_ = [at for at in one.asks if one.steps[at].name not in names and known[at] != 1]
    place = np.full(count, NAN, np.float32)
    for number, at in enumerate(open_):
        place[at] = number
    asked = [at for at in one.asks if one.steps[at].name in names]
    ready = np.full(count, len(open_), np.float32)
    required = [p.name for p in one.procedure.api.parameters if p.required and p.type != "request"]
    share = sum(name in filled for name in required) / max(1, len(required))
    questions = {one.asked[at].name for at in asked if at in one.asked}
    sure = sum(name in filled or name in questions for name in required) / max(1, len(required))
    columns = [known, place, ready, np.full(count, share), np.full(count, sure), np.full(count, len(asked))]
    return np.stack(columns, axis=1)


def filled_parameters(seen: Seen, one: Compiled) -> frozenset[str]:
    """Parameters that a value stands for in the customer's words, or that were in a call."""
    found = set[str]().union(*(one.mentions.named(text)[0] for text in seen.state.said))
    for turn in seen.state.situation.turns:
        if turn.who == "call":
            found |= turn.params.keys()
    if NUMBERS.search(seen.said):
        found |= {p.name for p in one.procedure.api.parameters if p.type == "integer"}
    return frozenset(found)


def _texts(seen: Seen, one: Compiled) -> Floats:
    """How near the step's text is to what was said, and to what a call returned."""
    count = len(one.steps)
    latest = one.texts @ seen.latest
    mean = one.texts @ seen.mean
    free = one.texts @ seen.free if seen.free is not None else np.full(count, NAN, np.float32)
    answer = one.texts @ seen.answer if seen.answer is not None else np.full(count, NAN, np.float32)
    fresh = seen.state.fresh
    keys = frozenset().union(*map(name_words, fresh)) if fresh else frozenset()
    shared = np.full(count, NAN, np.float32)
    said = np.full(count, NAN, np.float32)
    if fresh:
        shared[:] = [len(own & keys) / len(own) if own else NAN for own in one.placeholders]
        said[:] = [len(own & seen.returned_words) for own in one.vocabulary]
    latest_words = np.array([len(own & seen.words) for own in one.vocabulary], np.float32)
    best = np.full(count, float(latest.max()), np.float32)
    return np.stack([latest, latest - best, mean, free, answer, shared, said, latest_words, best], axis=1)


def _usual(seen: Seen, one: Compiled) -> Floats:
    """How often the step came next in moments alike, and how many there were; unknown of a step that was never recorded."""
    columns: list[Floats] = []
    unknown = np.array([step.name not in seen.labels for step in one.steps])
    for counts in (*seen.usual, *({},) * (WAYS - len(seen.usual))):
        total = sum(counts.values())
        own = np.array([counts.get(step.name, 0) for step in one.steps], np.float32) / (total + 1)
        many = np.full(len(own), min(total, MANY) if total else NAN, np.float32)
        columns += [np.where(unknown | (total == 0), NAN, own), np.where(unknown, NAN, many)]
    return np.stack(columns, axis=1)


MANY = 50
"""Moments alike beyond which more of them say nothing new."""

__all__ = ["GOOD", "KINDS", "Seen", "procedure_features", "return_text", "step_features", "telling"]
