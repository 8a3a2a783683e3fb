"""Every decision point of recorded dialogues, decided by the platform's small models, and compared with what was recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem.bench.pipeline import quantile
from tandem.bench.star.metrics import bleu4, macro_f1, rouge_l
from tandem.bench.star.points import Point, Recorded
from tandem.bench.star.rungs import Decided, Rung
from tandem.brains.learning.parameters import cold, is_right
from tandem.brains.normal import is_nothing, operator_of
from tandem.brains.rejection import OUT_OF_SCOPE
from tandem.brains.values import Api, Decision
from tandem.contracts.ticket import Cost

APART = frozenset(("trivia", "spaceship_access_codes", "spaceship_life_support", "weather", "trip_directions"))
"""Games and look-ups, which are no customer service: left out of `service_only`."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """How the parameters of one recorded call were filled."""

    right: int
    of: int
    exact: bool
    operators: int = 0
    wrong: tuple[tuple[str, str, str], ...] = ()  # parameter, recorded, filled


@dataclass(frozen=True, slots=True)
class Judged:
    """One decision point."""

    point: Point
    decision: Decision
    ms: float
    cpu_ms: float
    warm: Filled | None = None  # of calls: gold keys given
    cold: Filled | None = None
    own: bool = False  # own keys, and all right
    cost: Cost = field(default_factory=Cost)  # of a model
    rung: str = "small"

    @property
    def ok(self) -> bool:
        return self.decision.step == self.point.step


@dataclass
class Run:
    """All of them."""

    judged: list[Judged] = field(default_factory=list)
    routed: list[tuple[str, str]] = field(default_factory=list)  # predicted, recorded; after two messages
    tickets: int = 0


def run(brains: Rung, dialogues: Sequence[Recorded], progress: Progress) -> Run:
    done = Run()
    for number, dialogue in enumerate(dialogues):
        progress(number, len(dialogues))
        if len(dialogue.tasks) == 1:
            done.routed.append((brains.route(dialogue.start), dialogue.start_task))
        done.judged += [judge(brains, point) for point in dialogue.points]
        done.tickets += 1
    return done


def judge(brains: Rung, point: Point) -> Judged:
    begun, begun_cpu = time.perf_counter(), time.process_time()
    made = brains.decide(point.situation)
    ms, cpu = 1_000 * (time.perf_counter() - begun), 1_000 * (time.process_time() - begun_cpu)
    api = brains.apis.get(point.step) if point.kind == "call" else None
    warm, hidden, own = _filled(brains, point, api, made) if api else (None, None, False)
    return Judged(point, made.decision, ms, cpu, warm, hidden, own, made.cost, made.rung)


def _filled(brains: Rung, point: Point, api: Api, made: Decided) -> tuple[Filled, Filled | None, bool]:
    """Warm, cold, and whether its own keys are right. A rung that fills only as it decides has its own call compared."""
    given = [name for name, value in point.params.items() if not is_nothing(value)]
    filled = brains.fill(point.situation, api, given)
    if filled is None:
        mine = dict(made.decision.params) if made.decision.api == api.name else {}
        warm = compare(point, api, mine)
        return warm, None, mine.keys() == set(given) and warm.exact
    hidden = compare(point, api, brains.fill(cold(point.situation), api, given) or {})
    own = brains.fill(point.situation, api) or {}
    return compare(point, api, filled), hidden, own.keys() == set(given) and compare(point, api, own).exact


def compare(point: Point, api: Api, filled: dict[str, str]) -> Filled:
    """The recorded parameters that are plain values, against those filled in."""
    plain = [p for p in api.parameters if not is_nothing(point.params.get(p.name, ""))]
    operators = [p for p in plain if operator_of(point.params[p.name])]
    scored = [p for p in plain if p not in operators]
    wrong = tuple(
        (p.name, point.params[p.name], filled.get(p.name, ""))
        for p in scored
        if not is_right(p, filled.get(p.name, ""), point.params[p.name])
    )
    return Filled(len(scored) - len(wrong), len(scored), not wrong, len(operators), wrong)


# Figures ---------------------------------------------------------------------------------------------------------


def figures(done: Run, split: str, trained: Iterable[str]) -> dict[str, Any]:
    """The command's JSON."""
    known = set(trained)
    judged = done.judged
    unseen = [one for one in judged if one.point.task not in known]
    tasks = sorted({one.point.task for one in judged})
    timings = [one.ms for one in judged] or [0.0]
    return {
        "mode": "decisions",
        "split": split,
        **rates(judged),
        "routing_accuracy": share(a == b for a, b in done.routed),
        "p50_ms": round(quantile(timings, 0.5), 2),
        "p95_ms": round(quantile(timings, 0.95), 2),
        **per_ticket(done),
        "cpu_ms_per_decision": round(sum(one.cpu_ms for one in judged) / max(1, len(judged)), 2),
        "unseen": _unseen(unseen) if unseen else None,
        "service_only": rates([one for one in judged if one.point.task not in APART]),
        "by_task": {task: rates([one for one in judged if one.point.task == task]) for task in tasks},
    }


def per_ticket(done: Run) -> dict[str, Any]:
    """What a ticket (a dialogue) takes: time, a model's tokens and money, and which rungs decided."""
    tickets, points = max(1, done.tickets), max(1, len(done.judged))
    rungs = sorted({one.rung for one in done.judged})
    return {
        "tickets": done.tickets,
        "ms_per_ticket": round(sum(one.ms for one in done.judged) / tickets, 1),
        "tokens_per_ticket": round(sum(one.cost.tokens for one in done.judged) / tickets, 1),
        "micros_per_ticket": round(sum(one.cost.micros for one in done.judged) / tickets, 1),
        "decided_by": {name: round(sum(one.rung == name for one in done.judged) / points, 4) for name in rungs},
    }


def rates(judged: Sequence[Judged]) -> dict[str, Any]:
    """The figures of some points. None: nothing to measure it on."""
    calls = [one for one in judged if one.point.kind == "call"]
    actions = [(one.decision.action, one.point.kind) for one in judged]
    texts = [(one.decision.text, one.point.text) for one in judged if one.point.kind != "call"]
    rejects = [one for one in judged if one.point.step == OUT_OF_SCOPE]
    others = [one for one in judged if one.point.step != OUT_OF_SCOPE]
    return {
        "points": len(judged),
        "next_action_accuracy": share(one.ok for one in judged),
        "action_type_accuracy": share(a == b for a, b in actions),
        "action_macro_f1": round(macro_f1(actions), 4),
        "api_accuracy": share(one.ok for one in calls),
        **_parameters("", [one.warm for one in calls if one.warm]),
        **_parameters("_cold", [one.cold for one in calls if one.cold]),
        "call_exact_own_keys": share(one.own for one in calls if one.warm and one.warm.of),
        "reject_recall": share(one.decision.step == OUT_OF_SCOPE for one in rejects),
        "false_reject_rate": share(one.decision.step == OUT_OF_SCOPE for one in others),
        "bleu4": round(bleu4(texts), 4),
        "rouge_l": round(rouge_l(texts), 4),
    }


def _parameters(suffix: str, filled: Sequence[Filled]) -> dict[str, float | None]:
    scored = [one for one in filled if one.of]
    count = sum(one.of for one in scored)
    return {
        f"parameter_accuracy{suffix}": round(sum(one.right for one in scored) / count, 4) if count else None,
        f"call_exact{suffix}": share(one.exact for one in scored),
    }


def _unseen(judged: Sequence[Judged]) -> dict[str, Any]:
    found = rates(judged)
    return {name: found[name] for name in ("points", "next_action_accuracy", "api_accuracy")}


def share(hits: Iterable[bool]) -> float | None:
    """The share of hits; None of nothing."""
    found = list(hits)
    return round(sum(found) / len(found), 4) if found else None
