"""Real processes for acceptance tests, and a customer who sees only what crosses the bus."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tandem.bus.base import Bus
from tandem.cli.scan import read
from tandem.client import Channel, Tandem
from tandem.contracts.customer import Reply
from tandem.contracts.log import Intent
from tandem.contracts.message import Message
from tandem.contracts.topics import CUSTOMER_REPLIES, EFFECTS
from tandem.wiring import Wiring

ROOT = Path(__file__).parents[3]
WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A program that is ended with the test."""

    def __init__(self, *arguments: str, env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONWARNINGS": "default", **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    async def until_says(self, pattern: str, seconds: float = WAIT_S) -> None:
        """Wait until its output matches."""
        async with asyncio.timeout(seconds):
            while not re.search(pattern, self.output):
                assert self._process.poll() is None, self.output[-3_000:]
                await asyncio.sleep(0.05)

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    async def is_dead(self) -> None:
        """Wait until it has ended by itself."""
        async with asyncio.timeout(WAIT_S):
            while self._process.poll() is None:
                await asyncio.sleep(0.05)

    def end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(timeout=40)


@contextmanager
def processes() -> Iterator[list[Process]]:
    """Whatever is put in the list is ended, in reverse order."""
    running: list[Process] = []
    try:
        yield running
    finally:
        for process in reversed(running):
            process.end(signal.SIGKILL)


class Cloud:
    """The example business system in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder

    async def start(self, running: list[Process]) -> None:
        port = self.url.rpartition(":")[2]
        running.append(
            Process(
                "examples.cloud_api",
                *("--port", port, "--db", str(self._folder / "cloud.sqlite"), "--diagnosis-ms", "500"),
                env={},
                log=self._folder / "cloud.log",
            )
        )
        async with asyncio.timeout(WAIT_S):
            while not await asyncio.to_thread(self._answers):
                await asyncio.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.get("/_effects")
        except OSError:
            return False
        return True

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def done(self, operation: str) -> int:
        """How often it happened, by the business system's own record."""
        return len(self.get(f"/_effects?operation={operation}"))


class Customer:
    """Writes through a channel; reads every reply of the conversation off the bus, each copy of it."""

    def __init__(self, wiring: Wiring, tenant: str = "acme") -> None:
        self._wiring = wiring
        self._channel = Channel("cli", tenant=tenant, tandem=Tandem(wiring))
        self._thread = uuid.uuid4().hex
        self.conversation = ""

    async def says(self, text: str) -> None:
        self.conversation = await self._channel.submit(self._thread, text, id=uuid.uuid4().hex)

    async def replies(self) -> list[Reply]:
        """Final replies, one for each id: readers drop a second copy."""
        found = [m for m in await read_all(self._wiring.bus(), CUSTOMER_REPLIES.name) if isinstance(m, Reply)]
        mine = [r for r in found if r.conversation == self.conversation and r.state == "final"]
        return list({reply.id: reply for reply in mine}.values())

    async def is_told(self, pattern: str, seconds: float = WAIT_S) -> None:
        """Wait until a reply matches."""
        said: list[str] = []
        try:
            async with asyncio.timeout(seconds):
                while not any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for text in said):
                    await asyncio.sleep(0.05)
                    said = [reply.text() for reply in await self.replies()]
        except TimeoutError:
            raise AssertionError(f"nothing said matches {pattern!r}: {said}") from None


async def read_all(bus: Bus, topic: str) -> list[Message]:
    """Every readable message of a topic."""
    found = [
        read(record)
        for partition in range(bus.partitions(topic))
        async for records in bus.read(topic, partition, 0)
        for record in records
    ]
    return [pair[1] for pair in found if pair is not None]


async def intent_is_written(bus: Bus, tool: str) -> None:
    """Wait until a call of the tool is about to be made."""
    async with asyncio.timeout(WAIT_S):
        while not any(isinstance(m, Intent) and m.tool == tool for m in await read_all(bus, EFFECTS.name)):
            await asyncio.sleep(0.02)
