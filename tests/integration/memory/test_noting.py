"""A ticket comes to an end, a model reads it, and what it cost and found comes back through the ticket's mailbox."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from services.memory.handlers import Projector
from services.memory.noting import LATE_S, NoteTaker
from services.memory.store import MemoryStore
from tandem.bus.consume import Delivery
from tandem.contracts.events import Event, TicketEvents
from tandem.contracts.inbox import TicketNoted
from tandem.contracts.message import Envelope, read_body
from tandem.contracts.ticket import Cost, SetAside
from tandem.redis import Redis, private_redis
from tests.unit.planner_worker.worker import FakeLlm

NOW = 1_000_000_000
ASKED = Event(kind="message_received", name="m1", text="Our servers stand in Frankfurt. How is a disk moved?")
TOLD = Event(kind="reply_sent", text="A disk is moved by a snapshot.")
DONE = Event(kind="resolved", status="done")
SECONDS = 5.0
NOTES = SetAside(id="n1", cost=Cost(calls=4, tokens=900), until=NOW + 60_000)
REGION = {"name": "region", "value": "Frankfurt", "line": 1, "keep": "week"}
NOTE = json.dumps({"summary": "The customer asked how a disk is moved.", "facts": [REGION]})


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.ms = NOW

    def now(self):
        return self.ms

    def boot(self):
        return self.ms / 1000

    async def sleep(self, seconds):
        self.ms += round(seconds * 1000)


@pytest_asyncio.fixture
async def redis(tmp_path):
    server = await private_redis(tmp_path)
    client = Redis(server.url, "test")
    yield client
    await client.close()
    await server.stop()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(redis, clock):
    return MemoryStore(redis, clock=clock)


def happened(*events, version=1, **fields):
    message = TicketEvents(
        tenant="acme", conversation="c1", ticket="t1", version=version, turn=1, at=NOW, owner="bot", status="resolved",
        cause="x", pack="p", notes=NOTES if DONE in events else None, events=events,
    ).changed(**fields)  # fmt: skip
    envelope = Envelope(id="e", source="s", type=message.TYPE, time=NOW, subject="c1", tenant="acme")
    return Delivery(None, envelope, message, 1)


async def project(store, *deliveries):
    await store.generation("g")
    for delivery in deliveries:
        await Projector(store, "g", 0)(delivery)


async def notes(store, clock, llm, delivery):
    """What goes to the mailbox."""
    sent = await NoteTaker(store, llm, clock, SECONDS)(delivery)
    return [read_body(TicketNoted.TYPE, one.record.value) for one in sent]


@pytest.mark.asyncio
async def test_notes_go_to_the_owner_and_come_back_by_its_events(store, clock):
    ended, llm = happened(ASKED, TOLD, DONE), FakeLlm(text=NOTE)
    await project(store, ended)
    (noted,) = await notes(store, clock, llm, ended)
    (fact,) = noted.facts
    assert (fact.name, fact.value, fact.message, fact.ticket) == ("region", "Frankfurt", "m1", "t1")
    assert (noted.cost, noted.prompt.partition("@")[0]) == (Cost(calls=1, tokens=7), "memory.note")
    assert noted.id == NOTES.id
    assert [one.id for one in await notes(store, clock, llm, ended)] == [noted.id]
    assert {request.limit for request in llm.asked} == {Cost(calls=4, tokens=900, micros=1)}  # zero would be no limit
    assert len({request.grant for request in llm.asked}) == 1  # paid once, told twice
    before = await store.customer("acme", "c1")
    assert before["known"] == []
    assert before["tickets"][0]["summary"].startswith("The customer wrote: Our servers")
    data = {"facts": [fact.model_dump(mode="json")]}
    await project(store, happened(Event(kind="noted", text=noted.summary, data=data), version=2))
    known = await store.customer("acme", "c1")
    assert known["known"] == [fact.model_dump(mode="json")]
    assert known["tickets"][0]["summary"] == noted.summary
    clock.ms = fact.until
    assert (await store.customer("acme", "c1"))["known"] == []


@pytest.mark.asyncio
async def test_what_a_customer_said_last_holds(store):
    def noted(ticket, value, at):
        fact = {
            "name": "region", "value": value, "ticket": ticket, "message": "m", "at": at, "until": NOW * 2,
        }  # fmt: skip
        return happened(Event(kind="noted", text="s", data={"facts": [fact]}), ticket=ticket, at=at)

    await project(store, noted("t2", "Berlin", NOW + 9), noted("t1", "Frankfurt", NOW))
    assert [fact["value"] for fact in (await store.customer("acme", "c1"))["known"]] == ["Berlin"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "delivery",
    [
        happened(ASKED, DONE, notes=None),
        happened(ASKED, DONE, notes=NOTES.changed(until=NOW + round((SECONDS + LATE_S) * 1000) - 1)),
        happened(TOLD, DONE),
    ],
    ids=["nothing set aside", "too late", "no word of the customer"],
)
async def test_nobody_is_asked(store, clock, delivery):
    llm = FakeLlm(text=NOTE)
    await project(store, delivery)
    assert await notes(store, clock, llm, delivery) == []
    assert llm.asked == []


@pytest.mark.asyncio
async def test_what_ill_notes_cost_is_told_and_nothing_else(store, clock):
    ended = happened(ASKED, DONE)
    await project(store, ended)
    (noted,) = await notes(store, clock, FakeLlm(text=NOTE.replace("Frankfurt", "Berlin")), ended)
    assert (noted.summary, noted.facts, noted.cost) == ("", (), Cost(calls=2, tokens=14))


@pytest.mark.asyncio
async def test_without_a_model_nothing_is_said_and_none_is_asked_for_a_while(store, clock):
    ended, llm = happened(ASKED, DONE), FakeLlm()
    await project(store, ended)
    taker = NoteTaker(store, llm, clock, SECONDS)
    assert [await taker(ended), await taker(ended)] == [[], []]
    assert len(llm.asked) == 1


@pytest.mark.asyncio
async def test_lines_that_never_come_are_given_up(store, clock):
    llm = FakeLlm(text=NOTE)
    await store.generation("g")
    assert await notes(store, clock, llm, happened(ASKED, DONE)) == []
    assert (llm.asked, clock.ms > NOW) == ([], True)
