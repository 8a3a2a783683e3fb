"""Which candidate is a parameter's value, and which parameters a call should have: scored by trees."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tandem.brains.candidates import SOURCES, WEEK, Candidate, Reader
from tandem.brains.compiled import Floats, is_negative, name_words
from tandem.brains.normal import normal
from tandem.brains.state import State, words
from tandem.brains.trees import Trees
from tandem.brains.values import Api, Parameter, Situation, Type

TYPES: tuple[Type, ...] = ("choice", "choices", "text", "long_text", "integer", "boolean", "request")
NAN = float("nan")


@dataclass(frozen=True)
class Learnt:
    """What was counted in recorded calls. Of a tool that was in none, only its schema speaks."""

    links: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict
    )  # step → parameter's key → share of its answers
    cues: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # parameter's key → word beside it → log odds
    priors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # key → value → share
    presence: Mapping[str, float] = field(default_factory=dict)  # key → share of calls that have it
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)  # parameter's name → values often given


def key(api: str, parameter: str) -> str:
    return f"{api}.{parameter}"


@dataclass(frozen=True)
class Extractor:
    """Fills the parameters of calls."""

    learnt: Learnt
    values: Trees
    presence: Trees
    threshold: float = 0.5

    def fill(self, situation: Situation, api: Api, keys: Sequence[str] | None = None) -> dict[str, str]:
        """The call's parameters: those of `keys`, or else those that the call should have."""
        reader = Reader(situation, api, self.learnt.known)
        chosen = [parameter for parameter in api.parameters if keys is None or parameter.name in keys]
        best = self.best(reader, chosen)
        if keys is not None:
            return {name: value for name, (value, _) in best.items()}
        rows = [presence_row(reader, self.learnt, parameter, best.get(parameter.name)) for parameter in chosen]
        if not rows:
            return {}
        scores = self.presence.predict(np.array(rows, np.float32))
        wanted = {p.name for p, score in zip(chosen, scores, strict=True) if score > 0}
        return {name: value for name, (value, _) in best.items() if name in wanted}

    def wants(self, reader: Reader, parameter: Parameter, best: tuple[str, float]) -> bool:
        """Whether a call at this moment should have the parameter."""
        row = presence_row(reader, self.learnt, parameter, best)
        return bool(self.presence.predict(np.array([row], np.float32))[0] > 0)

    def best(
        self, reader: Reader, parameters: Sequence[Parameter], sources: Collection[str] = SOURCES
    ) -> dict[str, tuple[str, float]]:
        """Of each parameter that has candidates from these sources the best, and its score in log odds."""
        scored = self.scored(reader, parameters, lambda _, one: one.source in sources)
        return {name: (found[0][0].value, found[0][1]) for name, found in scored.items()}

    def scored(
        self, reader: Reader, parameters: Sequence[Parameter], accept: Callable[[Parameter, Candidate], bool]
    ) -> dict[str, list[tuple[Candidate, float]]]:
        """Of each parameter that has any its accepted candidates, each with its score in log odds, the best first."""
        found = [(p, [one for one in reader.find(p) if accept(p, one)]) for p in parameters]
        rows = [candidate_rows(reader, self.learnt, p, candidates) for p, candidates in found if candidates]
        if not rows:
            return {}
        scores = self.values.predict(np.concatenate(rows))
        ranked: dict[str, list[tuple[Candidate, float]]] = {}
        at = 0
        for parameter, candidates in found:
            own = [float(score) for score in scores[at : at + len(candidates)]]
            at += len(candidates)
            if candidates:
                ranked[parameter.name] = sorted(zip(candidates, own, strict=True), key=lambda one: -one[1])
        return ranked


def candidate_rows(reader: Reader, learnt: Learnt, parameter: Parameter, candidates: Sequence[Candidate]) -> Floats:
    """One row a candidate."""
    at = key(reader.api.name, parameter.name)
    same = [p for p in reader.api.parameters if p.type == parameter.type and p.categories == parameter.categories]
    own = name_words(parameter.name) | set(words(parameter.label))
    normals = [normal(candidate.value) for candidate in candidates]
    previous = next((value for value, c in zip(normals, candidates, strict=True) if c.source == "call"), None)
    counts = {value: normals.count(value) for value in normals}
    newest = min(
        (c.back for c in candidates if c.source not in ("call", "other_call", "return", "next", "kind")), default=99
    )
    shared = [
        TYPES.index(parameter.type),
        float(parameter.required),
        float(len(same)),
        float(same.index(parameter)),
        float(len(candidates)),
        float(previous is not None),
        float(len(parameter.categories)),
        float(newest),
        float(len(reader.calls)),
        learnt.presence.get(at, NAN),
        *_moment(reader, parameter),
    ]
    return np.array(
        [
            [*shared, *_row(learnt, at, own, candidate, value, previous, counts[value])]
            for candidate, value in zip(candidates, normals, strict=True)
        ],
        np.float32,
    )


def _row(
    learnt: Learnt,
    at: str,
    own: frozenset[str] | set[str],
    candidate: Candidate,
    value: str,
    previous: str | None,
    count: int,
) -> list[float]:
    links, cues, priors = learnt.links.get(candidate.step), learnt.cues.get(at, {}), learnt.priors.get(at)
    asked = set(words(f"{candidate.asked} {candidate.step.replace('_', ' ')}")) if candidate.step else set()
    telling = own - {"of", "the", "a", "name", "number", "time", "in"}
    sentence = set(words(candidate.sentence))
    length = len(value.split())
    return [
        float(SOURCES.index(candidate.source)),
        float(candidate.back),
        float(candidate.exact),
        float(candidate.order),
        float(candidate.of),
        float(candidate.length),
        float(candidate.calls_after),
        NAN if links is None else links.get(at, 0.0),
        NAN if links is None else max(links.values(), default=0.0),
        float(len(own & asked)) / max(1, len(own)),
        float(len(telling & asked)),
        float(len(telling & sentence)),
        cues.get(candidate.before, 0.0) if cues else NAN,
        cues.get(candidate.before2, 0.0) if cues else NAN,
        cues.get(f"{candidate.after} …", 0.0) if cues else NAN,
        float(candidate.before in own or candidate.after in own),
        NAN if priors is None else priors.get(value, 0.0),
        NAN if previous is None else float(value == previous),
        float(count),
        float(length),
        float(len(value)),
        float(value.isdigit()),
        float(any(part.isdigit() for part in value)),
        float(candidate.value[:1].isupper()),
        float(candidate.before in _FROM) - float(candidate.before in _TO),
        float(bool(own & _BEGIN)) - float(bool(own & _END)),
        float(value in WEEK),
        float("?" in candidate.sentence),
    ]


_FROM = frozenset(["from", "at", "starting", "leaving", "between", "departing"])
_TO = frozenset(["to", "until", "till", "-", "for", "and", "towards"])
_BEGIN = frozenset(["start", "departure", "from", "begin", "starting"])
_END = frozenset(["end", "arrival", "to", "until", "destination"])


def _moment(reader: Reader, parameter: Parameter) -> list[float]:
    """What the request type, and whether a parameter belongs to the call, hang on."""
    state = State(reader.situation)
    names = [act.name for act in state.steps]
    last = names[-1] if names else ""
    own = [params for api, params in reader.calls if api == reader.api.name]
    kinds = [next((normal(v) for k, v in params.items() if k == "RequestType"), "") for params in own]
    message = " ".join(str(value) for value in state.returned.values() if isinstance(value, str))
    request = parameter.type == "request" and parameter.categories
    return [
        float(len(own)),
        float(bool(request) and bool(kinds) and kinds[0] == normal(parameter.categories[-1])),
        float(bool(request) and bool(kinds) and kinds[0] == normal(parameter.categories[0])),
        float(is_negative(message)) if message else NAN,
        float("confirm" in last or "available" in last) - float("unavailable" in last),
        float(last == reader.api.name),
        float(len(state.since)),
        float(len(state.said)),
    ]


def presence_row(reader: Reader, learnt: Learnt, parameter: Parameter, best: tuple[str, float] | None) -> list[float]:
    """Whether a call should have a parameter."""
    at = key(reader.api.name, parameter.name)
    own = [params for api, params in reader.calls if api == reader.api.name]
    asked = {message.step for message in reader.messages}
    linked = [links.get(at, 0.0) for step, links in learnt.links.items() if step in asked]
    named = name_words(parameter.name) | set(words(parameter.label))
    questions = [len(named & set(words(message.asked))) / max(1, len(named)) for message in reader.messages]
    return [
        float(TYPES.index(parameter.type)),
        float(parameter.required),
        learnt.presence.get(at, NAN),
        best[1] if best else NAN,
        float(bool(own)),
        float(parameter.name in own[0]) if own else NAN,
        float(any(parameter.name in params for params in own)),
        max(linked, default=0.0) if learnt.presence.get(at) is not None else NAN,
        max(questions, default=0.0),
        float(sum(p.required for p in reader.api.parameters)),
        float(len(reader.api.parameters)),
        float(len(reader.calls)),
        float(len(reader.messages)),
        *_moment(reader, parameter),
    ]
