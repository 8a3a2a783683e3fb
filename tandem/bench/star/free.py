"""The free run: STAR's customers against the whole platform, over the bus, and what became of each dialogue."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tandem.bench.star.convert import PACK, convert, writes
from tandem.bench.star.data import Api, Dialogue, read_dialogues
from tandem.bench.star.judge import Outcome, figures, judge
from tandem.bench.star.learn import parameters
from tandem.bench.star.models import CACHE, extractor
from tandem.bench.star.script import DONT_REMEMBER, Script
from tandem.bench.star.tools import Systems, lacks, serving
from tandem.brains import artefact
from tandem.client import Channel, Tandem
from tandem.contracts.values import Millis, conversation_id
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.errors import InvalidSettings
from tandem.packs.load import load_pack
from tandem.settings import Settings

MAX_TURNS = 20
TURN_S = 30.0
AT_ONCE = 6
SEEN_S = 2.0
"""How long a call waits for the event that says whose it is."""

ENOUGH = 100
"""Dialogues to learn from; with fewer the pack has no models, and rules serve."""

DAY_MS = 24 * 3_600 * 1_000


@dataclass(frozen=True)
class Wanted:
    """What to play."""

    data: Path
    split: str
    limit: int
    tasks: Sequence[str]
    models: Path | None = None
    cache: Path = CACHE


async def run(settings: Settings, wanted: Wanted) -> dict[str, Any]:
    """Convert, start the platform, play, judge; the figures of the command's JSON. Raises InvalidSettings."""
    data, split = wanted.data, wanted.split
    told = data / f"dialogues_{split}.jsonl"
    if not told.exists():
        raise InvalidSettings(f"{data} has no {told.name}; --data is STAR's folder, --split one of its splits")
    train_file = data / "dialogues_train.jsonl"
    train = list(read_dialogues(train_file)) if train_file.exists() else []
    apis = convert(data, train, settings.packs / PACK)
    unknown = sorted(set(wanted.tasks) - set(apis))
    if unknown:
        raise InvalidSettings(f"no procedure {', '.join(unknown)} in {data}; there are {', '.join(sorted(apis))}")
    if len(train) >= ENOUGH or wanted.models:
        pack = load_pack(settings.packs / PACK)
        models = wanted.models or extractor(data, pack, wanted.cache, _say)
        shutil.copytree(models, settings.packs / PACK / artefact.FOLDER)
    chosen = choose(list(read_dialogues(told)), set(wanted.tasks) or set(apis), wanted.limit)
    left_out = sorted(one.id for one in chosen if breaks_its_procedure(one, apis))
    chosen = [one for one in chosen if one.id not in left_out]
    owners = Owners()
    systems = Systems(apis, chosen, owners.whose)
    async with AsyncExitStack() as stack:
        os.environ["STAR_TOOLS_URL"] = await stack.enter_async_context(serving(systems))
        platform = await stack.enter_async_context(Platform(settings, call_window_ms=2_000, grace_ms=500))
        onlooker = Onlooker(platform.wiring, "bench")
        await onlooker.start()
        stack.push_async_callback(onlooker.stop)
        game = Game(platform, onlooker, owners, apis, systems)
        outcomes = await game.play(chosen)
    return figures(split, outcomes) | {"left_out": left_out}


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


def breaks_its_procedure(dialogue: Dialogue, apis: Mapping[str, Api]) -> bool:
    """Whether the recorded agent's last call lacks what its API requires, or all that says who the customer is."""
    final = dialogue.queries[-1]
    return final.api not in apis or lacks(apis[final.api], final.params)


class Owners:
    """Which dialogue a call belongs to, as its ticket's events say."""

    def __init__(self) -> None:
        self.cases: dict[int, Case] = {}

    async def whose(self, effect: str) -> int | None:
        """The dialogue of an effect; its event may arrive a little after the call. None if none does."""
        deadline = time.monotonic() + SEEN_S
        while time.monotonic() < deadline:
            for dialogue, case in self.cases.items():
                if effect in case.effects:
                    return dialogue
            await asyncio.sleep(0.005)
        return None


class Game:
    """Plays dialogues at the platform."""

    def __init__(
        self, platform: Platform, onlooker: Onlooker, owners: Owners, apis: Mapping[str, Api], systems: Systems
    ) -> None:
        self._wiring = platform.wiring
        self._pack = platform.wiring.packs().get(PACK)
        self._channel = Channel("demo", tenant=PACK, tandem=Tandem(platform.wiring))
        self._onlooker = onlooker
        self._owners = owners
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
        task, final = dialogue.tasks[0], dialogue.queries[-1]
        script = Script(dialogue, self._parameters(task), writes(self._apis[final.api], final.request_type))
        thread = f"star-{dialogue.id}"
        case = self._onlooker.case(conversation_id(PACK, self._channel.name, thread))
        self._owners.cases[dialogue.id] = case
        outcome = Outcome(task, False, 0)
        words = script.opening()
        while words is not None and outcome.turns < MAX_TURNS:
            outcome.turns += 1
            before, begun = case.version, time.perf_counter()
            case.said.append((f"m{outcome.turns}", words))
            await self._channel.submit(thread, words, id=f"m{outcome.turns}", sent_at=self._clock(dialogue.today))
            if not await case.until(partial(_answered, before=before), TURN_S):
                outcome.why = f"no answer ({case.status})"
                break
            outcome.turn_ms.append((time.perf_counter() - begun) * 1_000)
            words = self._next(case, script)
        mine = [call for call in self._systems.calls if call.key in case.effects]
        judge(dialogue, case, mine, self._apis[final.api], outcome)
        del self._owners.cases[dialogue.id]
        return outcome

    def _clock(self, today: str) -> Millis:
        """The next time, from now on, that it is the day of the week which the dialogue names."""
        now = self._wiring.clock.now()
        days = (today_is(now + later * DAY_MS) for later in range(7))
        return now + DAY_MS * next((later for later, day in enumerate(days) if today and day in today), 0)

    def _parameters(self, task: str) -> dict[str, str]:
        """Question's label → the parameter it asks for, as the pack's flow has it."""
        asked = {
            node.id: node.slots[0].partition("__")[2] for node in self._pack.flows[task].nodes.values() if node.slots
        }
        known = {i["Name"] for i in parameters(self._apis[task])}
        return {label: name for label, name in asked.items() if name in known}

    def _next(self, case: Case, script: Script) -> str | None:
        """What the customer says to the last thing asked or told; None when there is no more to say."""
        if case.status == "resolved":
            return script.reply(self._told(case))
        if case.status != "awaiting_customer" or not case.replies:
            return None
        question = case.replies[-1].question
        asked = next((e for e in reversed(case.events) if e.kind == "question_asked" and e.name == question), None)
        if asked is None or asked.status == "clarify":
            words = script.more()
            return None if words == case.said[-1][1] == DONT_REMEMBER else words
        if asked.status == "consent":
            node = self._pack.flows[asked.procedure or ""].nodes.get(asked.node or "") if asked.procedure else None
            return script.more_of(node.id) if node and node.confirm else script.confirm()
        slots = asked.data.get("slots")
        slot = str(slots[0]) if isinstance(slots, list) and slots else ""
        return script.answer(asked.node or "", slot.partition("__")[2])

    def _told(self, case: Case) -> str:
        """The label of the last step that said something."""
        last = next((e for e in reversed(case.events) if e.kind == "reply_sent" and e.procedure and e.sentence), None)
        flow = self._pack.flows.get(last.procedure or "") if last else None
        nodes = flow.nodes.values() if flow and last else ()
        return next((node.id for node in nodes if last and node.sentence == last.sentence), "")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def today_is(at: Millis) -> str:
    return f"{datetime.fromtimestamp(at / 1_000, UTC):%A}"


def _answered(case: Case, before: int) -> bool:
    return case.version > before and case.at_rest
