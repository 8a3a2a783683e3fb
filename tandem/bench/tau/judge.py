"""What became of a task: the database in the end, the writes on the way there, what the customer was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.bench.tau.data import Arguments, Domain, Task
from tandem.bench.tau.office import Call, Office
from tandem.bench.tau.records import Refusal, Row
from tandem.contracts.values import canonical_json


@dataclass(frozen=True)
class Gold:
    """The author's actions, played on a fresh database."""

    changes: dict[tuple[str, str], Row]
    writes: tuple[Call, ...]
    errors: tuple[Call, ...]

    @property
    def incomplete(self) -> bool:
        """Whether a write of the author's own is refused: then nobody knows the database that was meant."""
        return any(call.writes for call in self.errors)


@dataclass(frozen=True)
class Run:
    """What an agent did about a task."""

    office: Office
    said: tuple[str, ...] = ()
    unsafe: int | None = None  # writes without identity, consent or a required value; None: there was no conversation
    ended: str = ""
    turns: int = 0
    asserted: bool | None = None  # whether the task's assertions hold; None: nobody judged them
    tokens: int = 0


@dataclass(frozen=True)
class Outcome:
    """One task, judged."""

    task: Task
    equal: bool
    writes: int
    wanted: int
    right: int  # writes that the author makes too
    errors: int
    told: bool
    run: Run

    @property
    def success(self) -> bool | None:
        """By all that counts for this task; None if something of it was not judged."""
        basis = self.task.basis
        held = [self.equal, self.told or "COMMUNICATE" not in basis]
        if "NL_ASSERTION" in basis and self.task.assertions:
            if self.run.asserted is None and all(held):
                return None
            held.append(bool(self.run.asserted))
        return all(held)


def play_gold(domain: Domain, task: Task) -> Gold:
    """Every action in order. A refused one changes nothing, and those after it are played."""
    office = Office(domain)
    for action in task.actions:
        try:
            office.call(action.name, action.arguments)
        except Refusal:
            continue
    calls = office.calls
    return Gold(
        office.db.changes, tuple(call for call in calls if call.writes), tuple(call for call in calls if call.error)
    )


def judge(task: Task, gold: Gold, run: Run) -> Outcome:
    made = [call for call in run.office.calls if call.writes]
    right = Counter(map(same, made)) & Counter(map(same, gold.writes))
    said = " ".join(run.said).replace(",", "").lower()
    return Outcome(
        task=task,
        equal=run.office.db.changes == gold.changes,
        writes=len(made),
        wanted=len(gold.writes),
        right=right.total(),
        errors=sum(bool(call.error) for call in run.office.calls),
        told=all(wanted.replace(",", "").lower() in said for wanted in task.communicate),
        run=run,
    )


def same(call: Call) -> str:
    """What two calls that do the same have in common: lists that belong together are in one order."""
    return canonical_json([call.name, _ordered(call.arguments)])


def _ordered(arguments: Arguments) -> Arguments:
    lists = {name: value for name, value in arguments.items() if isinstance(value, list) and _plain(value)}
    if len({len(value) for value in lists.values()}) != 1:
        return arguments
    rows = sorted(zip(*lists.values(), strict=True))
    return arguments | {name: [row[at] for row in rows] for at, name in enumerate(lists)}


def _plain(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def figures(domain: str, split: str, outcomes: Sequence[Outcome], left_out: Iterable[str]) -> dict[str, Any]:
    """The command's JSON, but for what is known of a model."""
    return {
        "domain": domain,
        "split": split,
        **_rates(outcomes),
        "without_writes": _share([not outcome.wanted for outcome in outcomes]),
        "left_out": list(left_out),
        "ended": dict(Counter(outcome.run.ended for outcome in outcomes).most_common()),
        "by_domain": {
            name: _rates([outcome for outcome in outcomes if outcome.task.domain == name])
            for name in sorted({outcome.task.domain for outcome in outcomes})
        },
        "items": {"database_equal": [float(outcome.equal) for outcome in outcomes]},
    }


def of_model(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What only a run with a model has."""
    judged = [outcome.success for outcome in outcomes]
    return {
        "name": name,
        "success": None if None in judged else _share([bool(one) for one in judged]),
        "unjudged": judged.count(None),
        "unplayed": sum(outcome.run.turns == 0 for outcome in outcomes),
        "communicated": _share([outcome.told for outcome in outcomes]),
        "turns_mean": round(sum(outcome.run.turns for outcome in outcomes) / max(1, len(outcomes)), 2),
        "tokens": sum(outcome.run.tokens for outcome in outcomes),
    }


def _rates(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    made, wanted, right = (sum(getattr(one, name) for one in outcomes) for name in ("writes", "wanted", "right"))
    unsafe = [outcome.run.unsafe for outcome in outcomes if outcome.run.unsafe is not None]
    return {
        "tasks": len(outcomes),
        "database_equal": _share([outcome.equal for outcome in outcomes]),
        "write_precision": round(right / made, 4) if made else None,
        "write_recall": round(right / wanted, 4) if wanted else None,
        "writes": made,
        "writes_wanted": wanted,
        "tool_errors": sum(outcome.errors for outcome in outcomes),
        "unsafe_calls": sum(unsafe) if unsafe else None,
    }


def _share(held: Sequence[bool]) -> float:
    return round(sum(held) / len(held), 4) if held else 0.0
