"""memory as a service: events on the bus in, lines over gRPC out; the store lost in between."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import pytest_asyncio

from services.memory import figures
from services.memory.app import build
from services.memory.handlers import Projector
from services.memory.reader import EventsReader
from services.memory.settings import MemorySettings
from services.memory.store import MemoryStore
from tandem import telemetry
from tandem.bus.base import outgoing
from tandem.bus.consume import Delivery
from tandem.bus.local import LocalBus
from tandem.clock import SystemClock
from tandem.contracts.events import Event, TicketEvents
from tandem.contracts.message import Envelope
from tandem.contracts.ticket import Cost
from tandem.redis import Redis, private_redis
from tandem.rpc.clients import GrpcMemory
from tandem.wiring import Wiring

TOKEN = "a token of the tests"


@pytest_asyncio.fixture
async def bus():
    bus = LocalBus(None)
    await bus.start()
    yield bus
    await bus.stop()


@pytest_asyncio.fixture
async def redis(tmp_path):
    server = await private_redis(tmp_path)
    client = Redis(server.url, "test")
    yield client
    await client.close()
    await server.stop()


def ticket_events(version, found, at):
    return TicketEvents(
        tenant="acme",
        conversation="c1",
        ticket="t1",
        version=version,
        turn=1,
        at=at,
        owner="bot",
        status="working",
        cause="tandem.routed-message.v1",
        pack="counted",
        events=found,
    )


async def happen(bus, version, text):
    events = ticket_events(version, (Event(kind="message_received", text=text),), at=version)
    envelope = Envelope(
        id=f"e{version}", source="tandem/planner", type=TicketEvents.TYPE, time=version, subject="c1", tenant="acme"
    )
    await bus.publish([outgoing("ticket.events", "c1", events, envelope)])


def samples():
    """The figures of this process, which other tests raise too."""
    lines = (line for line in telemetry.metrics_text().decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


NOTED = Event(kind="noted", cost=Cost(tokens=30, micros=5))
FIGURES = [
    (Event(kind="resolved", status="done"), 'tandem_tickets_total{outcome="done",pack="counted"}', 1.0),
    (Event(kind="resolved", status="done"), 'tandem_ticket_cost_micros_total{outcome="done",pack="counted"}', 70.0),
    (Event(kind="resolved", status="done"), 'tandem_ticket_tokens_total{outcome="done",pack="counted"}', 9.0),
    (Event(kind="resolved", status="done"), 'tandem_ticket_seconds_sum{outcome="done",pack="counted"}', 4.0),
    (Event(kind="handed_over", text="refused:limit"), 'tandem_handovers_total{reason="refused"}', 1.0),
    (NOTED, 'tandem_ticket_tokens_total{outcome="noted",pack="counted"}', 30.0),
    (NOTED, 'tandem_ticket_cost_micros_total{outcome="noted",pack="counted"}', 5.0),
    (Event(kind="reopened"), 'tandem_reopened_total{pack="counted"}', 1.0),
    (
        Event(kind="closed", status="done", data={"independent": True}),
        'tandem_closed_total{independent="yes",outcome="done",pack="counted"}',
        1.0,
    ),
    (Event(kind="taken_over", name="ann"), 'tandem_expert_actions_total{action="taken_over",expert="ann"}', 1.0),
    (
        Event(kind="approved", name="bob", data={"kind": "suggestion"}),
        'tandem_suggestions_total{adopted="yes",pack="counted"}',
        1.0,
    ),
    (
        Event(kind="approval_rejected", name="bob", data={"kind": "suggestion"}),
        'tandem_suggestions_total{adopted="no",pack="counted"}',
        1.0,
    ),
]


@pytest.mark.asyncio
async def test_outcomes_are_counted_once_and_not_again_when_the_store_is_rebuilt(redis):
    """Said twice, and read again by the generation after: each figure rises once."""
    store, before = MemoryStore(redis), samples()
    found = tuple({id(event): event for event, *_ in FIGURES if event.kind != "resolved"}.values())
    for generation, since in (("g1", 5_000), ("g1", 5_000), ("g2", 6_000)):
        message = ticket_events(1, (FIGURES[0][0], *found), at=5_000).changed(
            opened_at=1_000, spent=Cost(tokens=9, micros=70)
        )
        envelope = Envelope(id="e", source="s", type=message.TYPE, time=5, subject="c1", tenant="acme")
        await Projector(store, generation, since)(Delivery(None, envelope, message, 1))
    after = samples()
    assert {name: after[name] - before.get(name, 0) for _, name, _ in FIGURES} == {name: by for _, name, by in FIGURES}


@pytest.mark.asyncio
async def test_experts_past_a_number_share_a_label(redis, monkeypatch):
    monkeypatch.setattr(figures, "MAX_EXPERTS", len(figures._experts) + 1)
    for name in ("eva", "fay", "eva"):
        figures.count(ticket_events(1, (Event(kind="taken_over", name=name),), at=1))
    text = telemetry.metrics_text().decode()
    assert 'expert="eva"} 2.0' in text
    assert 'expert="other"} 1.0' in text
    assert 'expert="fay"' not in text


async def said(memory, count):
    """The lines, once there are that many."""
    async with asyncio.timeout(10):
        while True:
            lines = await memory.conversation("acme", "c1", deadline=2)
            if len(lines) >= count:
                return [line.text for line in lines]
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_events_become_lines_that_are_read_over_grpc(bus, redis):
    settings = MemorySettings(http_port=None, memory_host="127.0.0.1", memory_port=0, service_token=TOKEN)
    service = build(settings, Wiring(settings, bus=bus, redis=redis))
    await service.start()
    assert await service.ready() == {}
    client = GrpcMemory(f"127.0.0.1:{service.components[1].port}", TOKEN)
    for version, text in enumerate(["hello", "are you there?"], 1):
        await happen(bus, version, text)
    assert await said(client, 2) == ["hello", "are you there?"]
    await client.close()
    await service.stop(2)


@pytest.mark.asyncio
async def test_a_lost_store_is_built_again_from_the_topic(bus, redis):
    store, ids = MemoryStore(redis), itertools.count()
    reader = EventsReader(bus, store, SystemClock(), make_id=lambda: f"g{next(ids)}", check_s=0.02)
    running = asyncio.create_task(reader.run())
    for version in (1, 2):
        await happen(bus, version, str(version))
    assert await said(store, 2) == ["1", "2"]
    await redis.call("FLUSHALL")
    await happen(bus, 3, "3")
    assert await said(store, 3) == ["1", "2", "3"]
    await reader.stop(2)
    await running
