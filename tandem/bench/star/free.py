"""The free run: STAR's customers against the whole platform, over the bus, and what became of each dialogue."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tandem.bench.pipeline import quantile
from tandem.bench.star.convert import PACK, convert, writes
from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, Query, normalise, read_dialogues
from tandem.bench.star.script import DONT_REMEMBER, Script
from tandem.bench.star.tools import Call, Systems, serving
from tandem.client import Channel, Tandem
from tandem.contracts.values import conversation_id
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.settings import Settings

MAX_TURNS = 20
TURN_S = 30.0
AT_ONCE = 6


@dataclass
class Outcome:
    """One dialogue, played."""

    task: str
    ok: bool
    turns: int
    turn_ms: list[float] = field(default_factory=list)
    unsafe: int = 0
    why: str = ""


async def run(settings: Settings, data: Path, split: str, limit: int, tasks: Sequence[str]) -> dict[str, Any]:
    """Convert, start the platform, play, judge; the figures of the command's JSON."""
    train_file = data / "dialogues_train.jsonl"
    train = list(read_dialogues(train_file)) if train_file.exists() else []
    apis = convert(data, train, settings.packs / PACK)
    chosen = choose(list(read_dialogues(data / f"dialogues_{split}.jsonl")), set(tasks) & set(apis) or set(apis), limit)
    systems = Systems(apis)
    systems.record(chosen)
    async with AsyncExitStack() as stack:
        os.environ["STAR_TOOLS_URL"] = await stack.enter_async_context(serving(systems))
        platform = await stack.enter_async_context(Platform(settings, call_window_ms=2_000, grace_ms=500))
        onlooker = Onlooker(platform.wiring, "bench")
        await onlooker.start()
        stack.push_async_callback(onlooker.stop)
        game = Game(platform, onlooker, apis, systems, train, data)
        outcomes = await game.play(chosen)
    return figures(split, outcomes)


def choose(dialogues: Sequence[Dialogue], tasks: set[str], limit: int) -> list[Dialogue]:
    """Happy dialogues of one task, in turn over the tasks, at most `limit`."""
    by_task: dict[str, list[Dialogue]] = {}
    for dialogue in dialogues:
        if dialogue.kind == "happy" and len(dialogue.tasks) == 1 and dialogue.tasks[0] in tasks and dialogue.queries:
            by_task.setdefault(dialogue.tasks[0], []).append(dialogue)
    chosen: list[Dialogue] = []
    while len(chosen) < limit and any(by_task.values()):
        chosen += [left.pop(0) for _, left in sorted(by_task.items()) if left]
    return chosen[:limit]


class Game:
    """Plays dialogues at the platform."""

    def __init__(
        self,
        platform: Platform,
        onlooker: Onlooker,
        apis: Mapping[str, Api],
        systems: Systems,
        train: Sequence[Dialogue],
        data: Path,
    ) -> None:
        self._pack = platform.wiring.packs().get(PACK)
        self._channel = Channel("demo", tenant=PACK, tandem=Tandem(platform.wiring))
        self._onlooker = onlooker
        self._apis = apis
        self._systems = systems
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._done = 0

    async def play(self, dialogues: Sequence[Dialogue]) -> list[Outcome]:
        """All dialogues, several at a time; progress on stderr."""

        async def one(dialogue: Dialogue) -> Outcome:
            async with self._at_once:
                outcome = await self._play(dialogue)
            self._done += 1
            mark = "ok" if outcome.ok else f"failed: {outcome.why}"
            sys.stderr.write(f"{self._done}/{len(dialogues)} {dialogue.tasks[0]} {dialogue.id}: {mark}\n")
            return outcome

        return list(await asyncio.gather(*map(one, dialogues)))

    async def _play(self, dialogue: Dialogue) -> Outcome:
        task = dialogue.tasks[0]
        final = dialogue.queries[-1]
        script = Script(dialogue, self._parameters(task), writes(self._apis[final.api], final.request_type))
        thread = f"star-{dialogue.id}"
        case = self._onlooker.case(conversation_id(PACK, self._channel.name, thread))
        outcome = Outcome(task, False, 0)
        words = script.opening()
        while words is not None and outcome.turns < MAX_TURNS:
            outcome.turns += 1
            before, begun = case.version, time.perf_counter()
            case.said.append((f"m{outcome.turns}", words))
            await self._channel.submit(thread, words, id=f"m{outcome.turns}")
            if not await case.until(partial(_answered, before=before), TURN_S):
                outcome.why = f"no answer ({case.status})"
                break
            outcome.turn_ms.append((time.perf_counter() - begun) * 1_000)
            words = self._next(case, script)
        self._judge(dialogue, case, outcome)
        return outcome

    def _parameters(self, task: str) -> dict[str, str]:
        """Question's label → parameter, as the pack's flow has it."""
        flow = self._pack.flows[task]
        return {node.id: node.slots[0].partition("__")[2] for node in flow.nodes.values() if node.slots}

    def _next(self, case: Case, script: Script) -> str | None:
        """What the customer says to the last thing asked; None when nothing is asked any more."""
        if case.status != "awaiting_customer" or not case.replies:
            return None
        question = case.replies[-1].question
        asked = next((e for e in reversed(case.events) if e.kind == "question_asked" and e.name == question), None)
        if asked is None or asked.status == "clarify":
            return script.opening() or (None if case.said[-1][1] == DONT_REMEMBER else DONT_REMEMBER)
        return script.confirm() if asked.status == "consent" else script.answer(asked.node or "")

    def _judge(self, dialogue: Dialogue, case: Case, outcome: Outcome) -> None:
        mine = [call for call in self._systems.calls if call.key in case.effects]
        outcome.unsafe = sum(call.unsafe for call in mine)
        final = dialogue.queries[-1]
        if not any(same(final, call, self._apis[final.api]) for call in mine):
            called = "; ".join(f"{call.api} {call.params}" for call in mine[-1:]) or "nothing"
            outcome.why = outcome.why or f"wanted {final.api} {final.params}, called {called}"
            return
        said = normalise(" ".join(reply.text() for reply in case.replies))
        untold = [
            str(value) for name, value in final.item.items() if told(name, value) and normalise(value) not in said
        ]
        outcome.ok = not untold and not outcome.unsafe
        outcome.why = f"not told: {', '.join(untold)}" if untold else ""


def _answered(case: Case, before: int) -> bool:
    return case.version > before and case.at_rest


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


def told(name: str, value: Any) -> bool:
    """Whether a returned value is one that the customer wants to hear."""
    return (
        name not in ("APIName", "id")
        and not isinstance(value, list | dict | bool)
        and bool(re.search(r"\w", str(value)))
    )


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
        "turns_mean": round(sum(outcome.turns for outcome in outcomes) / count, 2),
    }
