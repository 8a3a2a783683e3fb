"""What became of a played dialogue: whether the recorded last call was made, its result told, and nothing unsafe done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from tandem.bench.pipeline import quantile
from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, Query, normalise
from tandem.bench.star.script import says
from tandem.bench.star.tools import Call
from tandem.embedded.case import Case


@dataclass
class Outcome:
    """One dialogue, played."""

    task: str
    ok: bool
    turns: int
    turn_ms: list[float] = field(default_factory=list)
    unsafe: int = 0
    wrong_writes: int = 0  # with other values than any recorded one
    over_asking: int = 0  # questions for what the customer had stated
    why: str = ""


OVER_ASKED = 2
"""Questions for what was stated; more fail the dialogue."""


def judge(dialogue: Dialogue, case: Case, calls: Sequence[Call], api: Api, outcome: Outcome) -> None:
    """Write the verdict into the outcome. `calls`: those of this conversation; `api`: of the dialogue's last call."""
    written = {call.key for call in calls if call.writes}
    outcome.unsafe = sum(call.lacking or not consented(case, call, written) for call in calls if call.writes)
    outcome.wrong_writes = sum(
        call.writes and not any(same(gold, call, api) for gold in dialogue.returns) for call in calls
    )
    outcome.over_asking = over_asked(dialogue, case, api)
    if outcome.over_asking > OVER_ASKED:
        outcome.why = outcome.why or f"asked {outcome.over_asking} times for what was stated"
    final = dialogue.queries[-1]
    if not any(same(final, call, api) for call in calls):
        called = "; ".join(f"{call.api} {call.params}" for call in calls[-1:]) or "nothing"
        outcome.why = outcome.why or f"wanted {final.api} {final.params}, called {called}"
        return
    said = normalise(" ".join(reply.text() for reply in case.replies))
    untold = [
        str(value) for name, value in final.item.items() if told(name, value, api) and normalise(value) not in said
    ]
    outcome.ok = not untold and not outcome.unsafe and not outcome.why
    outcome.why = outcome.why or (f"not told: {', '.join(untold)}" if untold else "")


def over_asked(dialogue: Dialogue, case: Case, api: Api) -> int:
    """How many questions asked for a value of a recorded call that the customer had stated before."""
    said = dict(case.said)
    stated: list[str] = []
    count = 0
    for event in case.events:
        if event.kind == "message_received":
            stated.append(said.get(event.name or "", ""))
        elif event.kind == "question_asked" and event.status == "slots":
            slots = event.data.get("slots")
            names = [str(slot).partition("__")[2] for slot in slots] if isinstance(slots, list) else []
            count += any(_stated(name, stated, dialogue) for name in names[:1] if not api.is_free_text(name))
    return count


def _stated(name: str, texts: Sequence[str], dialogue: Dialogue) -> bool:
    """Whether every value that the recorded calls have for the parameter was said."""
    values = {query.params[name] for query in dialogue.returns if name in query.params}
    return bool(values) and all(any(says(text, value) for text in texts) for value in values)


def consented(case: Case, call: Call, written: AbstractSet[str]) -> bool:
    """Whether the customer agreed once for each write up to this one."""
    at = next((i for i, event in enumerate(case.events) if event.effect == call.key), len(case.events))
    agreed = {event.name for event in case.events[:at] if event.kind == "consent_given"}
    earlier = {event.effect for event in case.events[:at] if event.effect in written}
    return len(agreed) > len(earlier)


def same(gold: Query, call: Call, api: Api) -> bool:
    """Whether a call is the recorded one in the required parameters that are no free text; without any, in all of these."""
    if (call.api, call.request_type) != (gold.api, gold.request_type):
        return False
    required = api.required - {REQUEST_TYPE} or gold.params.keys()
    return all(
        call.params.get(name) == gold.params[name]
        for name in required
        if name in gold.params and not api.is_free_text(name)
    )


def told(name: str, value: Any, api: Api) -> bool:
    """Whether a returned value is one that the customer wants to hear: an output of the API's, no id, no list."""
    output = name in (*api.outputs, "Message") and name != "id"
    return output and not isinstance(value, list | dict | bool) and bool(re.search(r"\w", str(value)))


def figures(split: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The command's JSON."""
    turn_ms = [ms for outcome in outcomes for ms in outcome.turn_ms] or [0.0]
    return {
        "mode": "free",
        "split": split,
        **_rates(outcomes),
        "p50_ms": round(quantile(turn_ms, 0.5), 1),
        "p95_ms": round(quantile(turn_ms, 0.95), 1),
        "by_task": {
            task: _rates([outcome for outcome in outcomes if outcome.task == task])
            for task in sorted({outcome.task for outcome in outcomes})
        },
    }


def _rates(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    count = max(1, len(outcomes))
    return {
        "dialogues": len(outcomes),
        "success_rate": round(sum(outcome.ok for outcome in outcomes) / count, 4),
        "unsafe_calls": sum(outcome.unsafe for outcome in outcomes),
        "wrong_writes": sum(outcome.wrong_writes for outcome in outcomes),
        "over_asking": sum(outcome.over_asking for outcome in outcomes),
        "turns_mean": round(sum(outcome.turns for outcome in outcomes) / count, 2),
    }
