"""The router on the local bus, over the channel's own client."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from services.router.app import build
from services.router.reading import Reader
from services.router.settings import RouterSettings
from tandem.bus.base import NewRecord, Outgoing
from tandem.bus.local import LocalBus
from tandem.channels import SIGNATURE, write_channels
from tandem.client import Channel, Tandem
from tandem.clock import SystemClock
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.values import conversation_id
from tandem.packs.load import load_pack
from tandem.packs.registry import Packs
from tandem.packs.scenarios import load_scenarios
from tandem.wiring import Wiring
from tests.unit.router.desk import NoLlm, WordLlm

PACKS = Path(__file__).parents[3] / "packs"


@contextlib.asynccontextmanager
async def running(tmp_path, llm):
    bus = LocalBus(None)
    await bus.start()
    channels = write_channels(tmp_path / "channels.yaml", ["web"], {"acme": "cloud_support"})
    settings = RouterSettings(http_port=None, home=tmp_path)
    wiring = Wiring(settings, bus=bus, channels=channels, packs=Packs(PACKS), llm=llm)
    service = build(settings, wiring)
    await service.start()
    try:
        yield wiring, Channel("web", tenant="acme", tandem=Tandem(wiring))
    finally:
        await service.stop(1.0)
        await bus.stop()


async def records(bus, topic, count):
    """The first records of a topic, once there are so many."""
    async with asyncio.timeout(10):
        while True:
            found = []
            for partition in range(bus.partitions(topic)):
                async for batch in bus.read(topic, partition, 0):
                    found += batch
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


def body(record):
    return read_body(read_envelope(record.headers).type, record.value)


@pytest.mark.asyncio
async def test_messages_reach_the_mailbox_in_order_and_forged_ones_the_dead_letters(tmp_path):
    async with running(tmp_path, WordLlm()) as (wiring, channel):
        bus = wiring.bus()
        for number in range(5):
            await channel.submit("room", f"please refund ORD-100{number}", id=f"m{number}")
        (original,) = [r for r in await records(bus, "customer.messages", 5) if body(r).id == "m0"]
        forged = tuple((n, b"0" * 64 if n == SIGNATURE else v) for n, v in original.headers)
        await bus.publish([Outgoing("customer.messages", NewRecord(original.key, original.value, forged))])
        mailbox = [body(record) for record in await records(bus, "ticket.inbox", 5)]
        (dead,) = await records(bus, "dead-letters", 1)
    assert [message.message.id for message in mailbox] == [f"m{number}" for number in range(5)]
    assert {message.route.intent for message in mailbox} == {"refund"}
    assert {message.conversation for message in mailbox} == {conversation_id("acme", "web", "room")}
    assert dead.header("tandem-dead-reason") == b"bad-signature"


@pytest.mark.asyncio
async def test_the_examples_are_embedded_beside_the_work(tmp_path):
    llm = WordLlm()
    async with running(tmp_path, llm), asyncio.timeout(10):
        await llm.asked.wait()
    assert llm.batches[0] > 100


@pytest.mark.asyncio
async def test_it_serves_without_an_encoder(tmp_path):
    async with running(tmp_path, NoLlm()) as (wiring, channel):
        await channel.submit("room", "how do I create a snapshot of a disk?", id="m1")
        (record,) = await records(wiring.bus(), "ticket.inbox", 1)
    assert body(record).route.intent == "ask_snapshots"


@pytest.mark.asyncio
async def test_the_conversations_of_the_pack_open_with_what_they_are_about():
    """Wordings the classifier was not given: by words alone most are found, none is taken for another matter."""
    pack = load_pack(PACKS / "cloud_support")
    reader = Reader(pack, NoLlm, SystemClock())
    found = []
    for scenario in load_scenarios(PACKS / "cloud_support"):
        if scenario.expect.intent is not None:
            turn = scenario.turns[0]
            route = (await reader.read(turn.say or turn.burst[-1], 0)).route
            if route.confidence >= pack.thresholds.intent:
                found.append((route.intent, scenario.expect.intent))
    assert all(intent == expected for intent, expected in found)
    assert len(found) >= 20
