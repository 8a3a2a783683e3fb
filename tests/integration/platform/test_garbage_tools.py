"""A business system that answers garbage: what was asked is done once or goes to a person, and is never lost."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tandem.cli.up import example_system
from tandem.embedded.case import Onlooker
from tandem.embedded.judge import judge
from tandem.embedded.platform import Platform
from tandem.embedded.player import Played, Player
from tandem.packs.scenarios import load_scenarios
from tandem.settings import Settings
from tests.integration.platform.processes import ROOT

PACK = ROOT / "packs" / "cloud_support"
FOR_EVER = 1_000
FALSE = "do not find|on its way|已完成|is stopped"
"""What nobody could know from garbage."""


@dataclass(frozen=True, slots=True)
class Garbled:
    """A conversation of the pack's tests, and how often an operation that it needs does its work and answers garbage."""

    scenario: str
    operation: str
    times: int


RECOVERED = [
    Garbled("a filing that needs something", "get_filing", 1),  # read: asked again
    Garbled("password forgotten", "reset_password", 1),  # idempotent: repeated with the same key
    Garbled("mailbox cancelled, approved by an expert", "cancel_order", 1),  # lookup: asks whether it was done
    Garbled("a refund asked twice in other words", "refund_order", 1),
]
# what a person is told, and how often it was done; each needs an operation of its own
TO_A_PERSON = [
    (Garbled("progress of a filing", "get_filing", FOR_EVER), "handover", "filing_not_looked_up", 0),
    (
        Garbled("忘记密码", "reset_password", FOR_EVER),
        "unknown_outcome",
        "the answer of reset_password: is not JSON",
        1,
    ),
    (Garbled("the instance is stopped", "diagnose_instance", FOR_EVER), "handover", "cause_not_found", 0),
]


class Desk:
    """The platform, the business system and its faults."""

    def __init__(self, platform: Platform, http: aiohttp.ClientSession, onlooker: Onlooker) -> None:
        self._platform = platform
        self._http = http
        self._player = Player(platform.wiring, onlooker, "demo", "acme")
        self._scenarios = {one.name: one for one in load_scenarios(PACK)}

    async def play(self, garbled: Garbled) -> Played:
        fault = {"operation": garbled.operation, "kind": "garbage", "times": garbled.times}
        await self._http.post("/_faults", json=fault)
        played = self._player.begin(self._scenarios[garbled.scenario])
        await self._player.play(played)
        return played

    async def effects(self, played: Played) -> list[dict[str, Any]]:
        async with self._http.get("/_effects") as answer:
            return [row for row in await answer.json() if row["key"] in played.case.effects]

    async def problems(self, played: Played) -> list[str]:
        wiring = self._platform.wiring
        return await judge(played, wiring.packs().get(PACK.name), "acme", await self.effects(played), wiring.vectors())


@contextlib.asynccontextmanager
async def _desk(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(example_system(home, 0, 200))
        monkeypatch.setenv("CLOUD_API_URL", url)
        settings = Settings(home=home, packs=ROOT / "packs")
        platform = await stack.enter_async_context(Platform(settings, call_window_ms=500, grace_ms=200))
        onlooker = Onlooker(platform.wiring, "test")
        await onlooker.start()
        stack.push_async_callback(onlooker.stop)
        yield Desk(platform, await stack.enter_async_context(aiohttp.ClientSession(url)), onlooker)


@pytest.mark.asyncio
async def test_one_garbled_answer_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _desk(tmp_path, monkeypatch) as desk:
        played = await asyncio.gather(*(desk.play(one) for one in RECOVERED))
        found = {one.scenario.name: await desk.problems(one) for one in played}
    assert found == {one.scenario: [] for one in RECOVERED}


@pytest.mark.asyncio
async def test_nothing_but_garbage_ends_at_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _desk(tmp_path, monkeypatch) as desk:
        all_played = await asyncio.gather(*(desk.play(garbled) for garbled, *_ in TO_A_PERSON))
        for played, (garbled, kind, reason, times) in zip(all_played, TO_A_PERSON, strict=True):
            tasks = [task for task in played.case.tasks.values() if task.state == "open"]
            assert [(task.kind, task.reason) for task in tasks] == [(kind, reason)]
            done = [row for row in await desk.effects(played) if row["operation"] == garbled.operation]
            assert len(done) == times
            assert played.case.status in ("handed_over", "awaiting_expert")
            assert not any(re.search(FALSE, reply.text()) for reply in played.case.replies)
