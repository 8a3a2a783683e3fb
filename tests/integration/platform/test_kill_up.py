"""The whole platform in one process, killed with -9 in mid-reset and started again: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tandem.redis import Redis
from tandem.settings import Settings
from tandem.wiring import Wiring
from tests.integration.platform.processes import ROOT, Cloud, Customer, Process, intent_is_written, processes


class Deployment:
    """A home, its business system, and `tandem up` on it, as often as needed."""

    def __init__(self, folder: Path, running: list[Process]) -> None:
        self.cloud = Cloud(folder)
        self.home = folder / "home"
        self._running = running
        self._log = folder / "up.log"
        self._env = {
            "TANDEM_HOME": str(self.home),
            "TANDEM_CALL_WINDOW_MS": "500",
            "TANDEM_GRACE_MS": "200",
            "CLOUD_API_URL": self.cloud.url,
        }

    async def up(self, *options: str, **env: str) -> Process:
        self._log.unlink(missing_ok=True)
        process = Process("tandem", "up", *options, env=self._env | env, log=self._log)
        self._running.append(process)
        await process.until_says("Tandem is up")
        return process

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Wiring]:
        """Another process's way to the bus of the home."""
        wiring = Wiring(Settings(home=self.home))
        wiring.bus()
        await wiring.start()
        try:
            yield wiring
        finally:
            await wiring.close()

    async def cli(self, *arguments: str) -> str:
        """What a command of another process says."""
        command, env = [sys.executable, "-m", "tandem", *arguments], {**os.environ, **self._env}
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=env, capture_output=True, check=True)
        return str(done.stdout.decode())

    async def show(self, conversation: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(await self.cli("ticket", "show", conversation, "--timeline", "--json"))
        return body


@pytest.mark.asyncio
@pytest.mark.parametrize("moment", ["before the answer", "in mid-call"])
async def test_a_reset_survives_the_death_of_everything(tmp_path: Path, moment: str) -> None:
    with processes() as running:
        deployment = Deployment(tmp_path, running)
        await deployment.cloud.start(running)
        first = await deployment.up()
        async with deployment.connected() as wiring:
            customer = Customer(wiring)
            await customer.says("I forgot my password")
            await customer.is_told("e-mail")
            await customer.says("alice@example.com, the code is 246810")
            await customer.is_told("shall I go ahead")
            if moment == "in mid-call":
                fault = {"operation": "reset_password", "kind": "slow", "delay_ms": 3_000}
                await asyncio.to_thread(deployment.cloud.post, "/_faults", fault)
                await customer.says("yes please")
                await intent_is_written(wiring.bus(), "reset_password")
            first.end(signal.SIGKILL)
            await deployment.up()
            if moment == "before the answer":
                await customer.says("yes please")
            await customer.is_told("on its way")
            told = [reply.text() for reply in await customer.replies()]
        assert len([text for text in told if "on its way" in text]) == 1
        assert len([text for text in told if "Shall I go ahead" in text]) == 1
        assert deployment.cloud.done("reset_password") == 1
        assert deployment.cloud.done("notify_owner") == 1
        shown = await deployment.show(customer.conversation)
    assert (shown["owner"], shown["status"]) == ("bot", "resolved")
    done = [
        event for event in shown["timeline"] if event["kind"] == "effect_done" and event["name"] == "reset_password"
    ]
    assert [(event["procedure"], event["sentence"]) for event in done] == [("password_reset", 4)]
    assert done[0]["effect"]
    assert shown["spent"]["calls"] >= 4
    assert shown["spent"]["micros"] > 0


@pytest.mark.asyncio
async def test_the_proof_in_the_readme(tmp_path: Path) -> None:
    """Everything by commands, and the business system dies too."""
    with processes() as running:
        deployment = Deployment(tmp_path, running)
        example = ("--example", "--example-port", deployment.cloud.url.rpartition(":")[2])
        first = await deployment.up(*example)
        assert "e-mail" in await deployment.cli("send", "I forgot my password", "--wait", "20")
        said = await deployment.cli("send", "alice@example.com, the code is 246810", "--wait", "20")
        assert "Shall I go ahead" in said
        sent = json.loads(await deployment.cli("send", "yes please", "--json"))
        first.end(signal.SIGKILL)
        await deployment.up(*example)
        async with deployment.connected() as wiring:
            customer = Customer(wiring)
            customer.conversation = sent["conversation"]
            await customer.is_told("on its way")
            assert len(await customer.replies()) == 3
        assert await asyncio.to_thread(deployment.cloud.done, "reset_password") == 1
        shown = await deployment.cli("ticket", "show", sent["conversation"], "--timeline")
    for word in ("resolved", "bot", "password_reset §4: Say what", "effect", "1 call"):
        assert word in shown


@pytest.mark.asyncio
async def test_redis_is_lost(tmp_path: Path) -> None:
    """Flushed while the customer is asked, killed while consent is asked: the log is the truth."""
    with processes() as running:
        deployment = Deployment(tmp_path, running)
        await deployment.cloud.start(running)
        await deployment.up()
        async with deployment.connected() as wiring:
            customer = Customer(wiring)
            await customer.says("I forgot my password")
            await customer.is_told("e-mail")
            redis = Redis(f"unix://{deployment.home}/redis.sock")
            await redis.call("FLUSHALL")
            await redis.close()
            await customer.says("alice@example.com, the code is 246810")
            await customer.is_told("shall I go ahead")
            os.kill(int((deployment.home / "redis.pid").read_text()), signal.SIGKILL)
            await customer.says("yes please")
            await customer.is_told("on its way")
            told = [reply.text() for reply in await customer.replies()]
        assert len(told) == 3
        assert deployment.cloud.done("reset_password") == 1
        assert deployment.cloud.done("notify_owner") == 1
        assert (await deployment.show(customer.conversation))["status"] == "resolved"
