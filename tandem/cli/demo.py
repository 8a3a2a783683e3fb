"""`tandem demo`: the example scenarios, played by customers and an expert against the whole platform."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
import uvloop
from rich.console import Console
from rich.live import Live

from tandem import telemetry
from tandem.cli.common import AsJson, print_json, quiet
from tandem.cli.up import example_system
from tandem.embedded import show
from tandem.embedded.case import Onlooker
from tandem.embedded.judge import judge, told_effects
from tandem.embedded.platform import Platform
from tandem.embedded.player import Played, Player
from tandem.errors import InvalidSettings
from tandem.packs.load import load_pack
from tandem.packs.model import Pack
from tandem.packs.scenarios import Scenario, load_scenarios
from tandem.settings import Settings, read_settings

AT_ONCE = 8
DIAGNOSIS_MS = 1_200
MOST_NAMED = 8
PACK = "cloud_support"


def command(
    only: Annotated[str, typer.Option(help="Only conversations whose name or scenario contains this.")] = "",
    home: Annotated[
        Path | None, typer.Option(help="Keep everything here; by default a new folder that is removed.")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Conversations played at the same time.")] = AT_ONCE,
    as_json: AsJson = False,
) -> None:
    """Play every conversation of packs/cloud_support. Exit code 0 only if each ended as expected."""
    play_all(PACK, only, home, at_once, example=True, as_json=as_json)


def play_all(pack: str, only: str, home: Path | None, at_once: int, *, example: bool, as_json: bool) -> None:
    """Play a pack's tests and exit: with 0 only if each ended as expected."""
    quiet()
    with contextlib.ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-demo-")))
        os.environ["TANDEM_HOME"] = str(folder)
        settings = read_settings(Settings)
        telemetry.configure_traces(settings, "tandem")
        stack.callback(telemetry.shutdown)
        ok = uvloop.run(Demo(settings, pack, only, at_once, example, as_json).run())
    raise SystemExit(0 if ok else 1)


class Demo:
    """One run."""

    def __init__(self, settings: Settings, pack: str, only: str, at_once: int, example: bool, as_json: bool) -> None:
        self._settings = settings
        self._pack = pack
        self._only = only
        self._example = example
        self._record: aiohttp.ClientSession | None = None
        self._at_once = asyncio.Semaphore(at_once)
        self._as_json = as_json
        self._console = Console(stderr=as_json)
        self._playing: list[Played] = []
        self._problems: dict[str, list[str]] = {}

    async def run(self) -> bool:
        """Play, show, report; True if all ended as expected."""
        begun = time.monotonic()
        scenarios = self._scenarios()
        beside = " and the example business system" if self._example else ""
        self._console.print(f"[dim]starting the platform{beside} …[/]")
        async with contextlib.AsyncExitStack() as stack:
            if self._example:
                api = await stack.enter_async_context(example_system(self._settings.home, 0, DIAGNOSIS_MS))
                os.environ["CLOUD_API_URL"] = api
                self._record = await stack.enter_async_context(aiohttp.ClientSession(api))
            platform = await stack.enter_async_context(Platform(self._settings, call_window_ms=2_000, grace_ms=1_000))
            self._console.print(f"[dim]up in {time.monotonic() - begun:.1f} s; {len(scenarios)} conversations[/]")
            played = await self._play(platform, scenarios)
        self._report(played, time.monotonic() - begun)
        return not any(self._problems.values())

    def _scenarios(self) -> list[Scenario]:
        folder = self._settings.packs / self._pack
        load_pack(folder)
        found = load_scenarios(folder)
        chosen = [one for one in found if self._only.lower() in f"{one.name} {one.scenario}".lower()]
        if not chosen:
            names = [repr(one.name) for one in found[:MOST_NAMED]] + ["…"][: len(found) > MOST_NAMED]
            known = ", ".join(names) or "none: write tests/*.yaml"
            raise InvalidSettings(f"no conversation is called like {self._only!r}; there are {known}")
        return chosen

    async def _play(self, platform: Platform, scenarios: list[Scenario]) -> list[Played]:
        wiring = platform.wiring
        tenant = next(name for name, entry in wiring.channels().tenants.items() if entry.pack == self._pack)
        pack = wiring.packs().get(self._pack)
        onlooker = Onlooker(wiring, "demo")
        await onlooker.start()
        player = Player(wiring, onlooker, "demo", tenant)
        played = [player.begin(scenario) for scenario in scenarios]
        live = Live(get_renderable=self._running, console=self._console, refresh_per_second=8, transient=True)
        with live if self._console.is_terminal else contextlib.nullcontext():
            async with asyncio.TaskGroup() as group:
                for one in played:
                    group.create_task(self._play_one(one, player, platform, pack, tenant))
        await onlooker.stop()
        return played

    async def _play_one(self, one: Played, player: Player, platform: Platform, pack: Pack, tenant: str) -> None:
        async with self._at_once:
            self._playing.append(one)
            await player.play(one)
            self._playing.remove(one)
        effects = await self._effects(one, pack)
        problems = await judge(one, pack, tenant, effects, platform.wiring.vectors())
        self._problems[one.scenario.name] = problems
        self._console.print(show.finished(one, pack, problems))

    async def _effects(self, one: Played, pack: Pack) -> list[dict[str, Any]]:
        """What was done: by the example business system's own record, else by the ticket's events."""
        if self._record is None:
            return told_effects(one.case, pack)
        async with self._record.get("/_effects") as answer:
            found: list[dict[str, Any]] = await answer.json()
            return found

    def _running(self) -> Any:
        return show.running(self._playing)

    def _report(self, played: list[Played], seconds: float) -> None:
        self._console.print(show.summary(played, self._problems))
        wrong = sum(bool(problems) for problems in self._problems.values())
        self._console.print(f"{len(played) - wrong} as expected, {wrong} not, in {seconds:.1f} s")
        if self._as_json:
            rows = [
                {
                    "name": one.scenario.name,
                    "language": one.scenario.language,
                    "outcome": one.case.status,
                    "ok": not self._problems[one.scenario.name],
                    **show.figures(one),
                    **({"problems": problems} if (problems := self._problems[one.scenario.name]) else {}),
                }
                for one in played
            ]
            print_json({"ok": wrong == 0, "scenarios": rows})
        sys.stdout.flush()
