"""Judges a played conversation by what crossed the platform's edges and by the business system's own record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tandem.contracts.events import Event
from tandem.embedded.case import Case
from tandem.embedded.player import Played, unmatched
from tandem.packs.model import Pack
from tandem.packs.scenarios import Expected, ExpectedCall
from tandem.vectors.base import Vectors

MASKED = "•••"


async def judge(
    played: Played, pack: Pack, tenant: str, effects: Sequence[dict[str, Any]], vectors: Vectors
) -> list[str]:
    """What of the expectations does not hold. `effects`: the business system's record."""
    expected, case = played.scenario.expect, played.case
    problems = list(played.problems)
    first = next((event.name for event in case.events if event.kind == "plan_started"), None)
    if expected.intent and first != expected.intent:
        problems.append(f"the first plan is for {first}, not {expected.intent}")
    if expected.outcome and case.status != expected.outcome:
        problems.append(f"the ticket is {case.status}, not {expected.outcome}")
    mine = [row for row in effects if row["key"] in case.effects]
    problems += _calls(expected, case.events, mine, pack)
    problems += _replies(played)
    if expected.citations:
        problems += await _citations(played, tenant, vectors)
    if expected.progress and not any(card.state == "done" for card in case.cards.values()):
        problems.append("no progress card was shown to its end")
    return problems


def told_effects(case: Case, pack: Pack) -> list[dict[str, Any]]:
    """What was done by the ticket's own events, in the form of a business system's record: for systems that show none."""
    asked = {event.effect: event for event in case.events if event.kind == "step_dispatched" and event.effect}
    done = {event.effect for event in case.events if event.kind == "effect_done"}
    return [
        {"key": effect, "operation": event.name, "request": event.data.get("arguments")}
        for effect, event in asked.items()
        if effect in done and (tool := pack.tools.get(event.name or "")) is not None and tool.writes
    ]


def _calls(expected: Expected, events: Sequence[Event], effects: Sequence[dict[str, Any]], pack: Pack) -> list[str]:
    problems: list[str] = []
    counted: set[int] = set()
    for call in expected.calls:
        tool = pack.tools.get(call.tool)
        if tool is not None and not tool.writes:
            asked = [e for e in events if e.kind == "step_dispatched" and e.name == call.tool and e.effect]
            if not any(_agrees(call, e.data.get("arguments")) for e in asked):
                problems.append(f"{call.tool} was not called with {call.args}")
            continue
        done = [i for i, row in enumerate(effects) if row["operation"] == call.tool and _agrees(call, row["request"])]
        counted |= set(done)
        if len(done) != call.times:
            problems.append(f"{call.tool} with {call.args} was done {len(done)} times, not {call.times}")
    extra = [row["operation"] for i, row in enumerate(effects) if i not in counted]
    return problems + [f"{name} was done and is not expected" for name in extra]


def _agrees(call: ExpectedCall, arguments: Any) -> bool:
    given = arguments if isinstance(arguments, dict) else {}
    return all(given.get(name) in (value, MASKED) for name, value in call.args.items())


def _replies(played: Played) -> list[str]:
    expected, case = played.scenario.expect, played.case
    texts = [reply.text() for reply in case.replies]
    problems = unmatched(expected.replies, texts)
    for pattern in expected.not_replies:
        problems += [f"a reply matches {pattern!r}" for text in texts if re.search(pattern, text, re.IGNORECASE)]
    own = [reply for reply in case.replies if reply.author == "bot"]
    if expected.max_replies is not None and len(own) > expected.max_replies:
        problems.append(f"{len(own)} replies, at most {expected.max_replies} expected")
    return problems


async def _citations(played: Played, tenant: str, vectors: Vectors) -> list[str]:
    cited = [part for reply in played.case.replies for part in reply.parts if part.kind == "citation"]
    if not cited:
        return ["no reply cites a passage"]
    lost = [part.passage for part in cited if await vectors.passage(tenant, part.passage) is None]
    return [f"citation {passage} leads nowhere" for passage in lost]
