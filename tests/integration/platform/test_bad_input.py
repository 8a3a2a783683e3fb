"""Bad input through the whole platform: a dead letter with its original bytes and a reason, and nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml

from tandem.bus.base import Bus, NewRecord, Outgoing, Record
from tandem.channels import load_channels, write_channels
from tandem.cli.up import example_system
from tandem.contracts.inbox import RoutedMessage
from tandem.contracts.topics import DEAD_LETTERS, TICKET_INBOX
from tandem.contracts.values import conversation_id, partition_for
from tandem.embedded.platform import Platform
from tandem.settings import Settings
from tests.integration.platform.hostile import BAD, CASE, GHOST, GOES_THROUGH, MESSAGES, marked
from tests.integration.platform.processes import ROOT, Customer, read_all


@dataclass
class Seen:
    """What came of it all."""

    sent: dict[str, NewRecord] = field(default_factory=dict)
    letters: list[Record] = field(default_factory=list)
    alone_s: float = 0.0
    beside_s: float = 0.0
    answered: set[str] = field(default_factory=set)
    routed: list[RoutedMessage] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)
    redriven: list[int] = field(default_factory=list)
    ghost: list[str] = field(default_factory=list)

    def letter(self, name: str) -> Record:
        """The one dead letter of the record."""
        [found] = [letter for letter in self.letters if letter.header(CASE) == name.encode()]
        return found


@contextlib.asynccontextmanager
async def _platform(home: Path) -> AsyncIterator[Platform]:
    async with Platform(Settings(home=home, packs=ROOT / "packs"), call_window_ms=1_000, grace_ms=200) as platform:
        yield platform


async def _good(platform: Platform) -> tuple[Customer, float]:
    """A ticket's first answer, and the seconds it took."""
    customer, begun = Customer(platform.wiring), time.monotonic()
    await customer.says("I forgot my password")
    await customer.is_told("e-mail")
    return customer, time.monotonic() - begun


async def _send(bus: Bus, seen: Seen, beside: str) -> None:
    """Everything bad, on the partitions that the good one comes by."""
    for topic, record in ((BAD[name][0], record) for name, record in seen.sent.items()):
        await bus.publish([Outgoing(topic, record, partition_for(beside, bus.partitions(topic)))])


async def _letters(bus: Bus, count: int) -> list[Record]:
    """All dead letters, once there are so many."""
    found: list[Record] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(15):
            while len(found) < count:
                await asyncio.sleep(0.05)
                found = [record async for batch in bus.read(DEAD_LETTERS.name, 0, 0) for record in batch]
    return found


async def _cli(home: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "tandem", "dead-letters", *arguments]
    env = {**os.environ, "TANDEM_HOME": str(home)}
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=env, capture_output=True, check=True)
    return json.loads(done.stdout)


async def _replies_of(platform: Platform, tenant: str, thread: str, seconds: float = 20.0) -> list[str]:
    customer = Customer(platform.wiring, tenant)
    customer.conversation = conversation_id(tenant, "cli", thread)
    await customer.is_told(".", seconds)
    return [reply.text() for reply in await customer.replies()]


async def _first_life(home: Path, seen: Seen) -> None:
    async with _platform(home) as platform:
        bus, channels = platform.wiring.bus(), platform.wiring.channels()
        _, seen.alone_s = await _good(platform)
        seen.sent = {name: marked(name, make(channels)) for name, (_, make, _, _) in BAD.items()}
        customer = Customer(platform.wiring)
        await customer.says("Hello, I forgot my password")
        await customer.is_told("e-mail")
        await _send(bus, seen, customer.conversation)
        begun = time.monotonic()
        await customer.says("alice@example.com, the code is 246810")
        await customer.is_told("shall I go ahead")
        seen.beside_s = time.monotonic() - begun
        for said in GOES_THROUGH.values():
            await bus.publish([Outgoing(MESSAGES, said.record(channels))])
        for name, said in GOES_THROUGH.items():
            if await _replies_of(platform, "acme", said.thread):
                seen.answered.add(name)
        seen.letters = await _letters(bus, len(BAD))
        seen.routed = [m for m in await read_all(bus, TICKET_INBOX.name) if isinstance(m, RoutedMessage)]
        seen.listed = await _cli(home, "list", "--json")
        place = f"0-{seen.letter('broken JSON').offset}"
        seen.shown = await _cli(home, "show", place)


async def _second_life(home: Path, seen: Seen) -> None:
    """The operator has named the tenant's pack, and sends again what was refused for it."""
    path = home / "channels.yaml"
    body = yaml.safe_load(path.read_text())
    body["tenants"][GHOST] = {"pack": "cloud_support"}
    path.write_text(yaml.safe_dump(body))
    async with _platform(home) as platform:
        for options in (["--dry-run"], [], []):
            done = await _cli(home, "redrive", "--filter", "unknown-tenant", "--json", *options)
            seen.redriven.append(len(done["redriven"]))
        seen.ghost = await _replies_of(platform, GHOST, "hostile")


async def _live(home: Path) -> Seen:
    seen = Seen()
    write_channels(home / "channels.yaml", ["cli", "webhook"], {"acme": "cloud_support", GHOST: "cloud_support"})
    body = yaml.safe_load((home / "channels.yaml").read_text())
    del body["tenants"][GHOST]
    (home / "channels.yaml").write_text(yaml.safe_dump(body))
    assert GHOST not in load_channels(home / "channels.yaml").tenants
    async with example_system(home, 0) as url:
        os.environ["CLOUD_API_URL"] = url
        await _first_life(home, seen)
        await _second_life(home, seen)
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CLOUD_API_URL", "known once it runs")
        return uvloop.run(_live(tmp_path_factory.mktemp("bad")))


@pytest.mark.parametrize("name", BAD)
def test_it_is_a_dead_letter_with_its_bytes_and_a_reason(seen: Seen, name: str) -> None:
    topic, _, reason, service = BAD[name]
    letter, sent = seen.letter(name), seen.sent[name]
    assert letter.value == sent.value
    assert letter.key == (sent.key.encode() if isinstance(sent.key, str) else sent.key)
    assert letter.headers[: len(sent.headers)] == sent.headers
    assert letter.header("tandem-dead-reason") == reason.encode()
    assert letter.header("tandem-dead-service") == service.encode()
    assert (letter.header("tandem-dead-origin") or b"").startswith(f"{topic}/".encode())
    assert letter.header("tandem-dead-detail")


def test_nothing_else_is_a_dead_letter(seen: Seen) -> None:
    assert len(seen.letters) == len(BAD)


def test_a_ticket_beside_them_is_not_delayed(seen: Seen) -> None:
    assert seen.beside_s < seen.alone_s + 2.0


@pytest.mark.parametrize("name", GOES_THROUGH)
def test_what_is_only_strange_is_answered(seen: Seen, name: str) -> None:
    assert name in seen.answered


def test_unknown_fields_are_kept(seen: Seen) -> None:
    said = [message.message.model_dump() for message in seen.routed if message.message.thread == "g1"]
    assert [message.get("mood") for message in said] == [{"is": ["cheerful"]}]


def test_dead_letters_are_listed_and_shown(seen: Seen) -> None:
    assert sorted(row["reason"] for row in seen.listed) == sorted(reason for _, _, reason, _ in BAD.values())
    assert seen.shown["reason"] == "broken-json"
    assert seen.shown["record"]["headers"]["ce_source"] == "channel/cli"
    assert "tandem-signature" not in seen.shown["record"]["headers"]


def test_a_dead_letter_is_sent_again_once_and_answered(seen: Seen) -> None:
    assert seen.redriven == [1, 1, 0]
    assert len(seen.ghost) == 1
    assert "outside of what I can help with" in seen.ghost[0]
