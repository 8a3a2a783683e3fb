"""Channel on the local bus; the conformance suite on the example adapter."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from examples.webhook_adapter import WebhookAdapter
from tandem.bus.base import outgoing
from tandem.bus.kafka import KafkaBus
from tandem.bus.local import LocalBus
from tandem.channels import write_channels
from tandem.client import Channel, Tandem
from tandem.client.conformance import NotConforming, check
from tandem.contracts.customer import CustomerMessage, DeliveryReceipt, MediaPart, Reply, ReplyText
from tandem.contracts.message import Envelope, read_body, read_envelope
from tandem.contracts.topics import TOPICS
from tandem.contracts.values import conversation_id
from tandem.errors import InvalidMessage, Refused
from tandem.settings import Settings
from tandem.wiring import Wiring


@contextlib.asynccontextmanager
async def connection(tmp_path):
    bus = LocalBus(None)
    await bus.start()
    channels = write_channels(tmp_path / "channels.yaml", ["webhook", "cli"], {"acme": "p"})
    try:
        yield Tandem(Wiring(Settings(), bus=bus, channels=channels))
    finally:
        await bus.stop()


async def sent(bus):
    found = []
    for partition in range(bus.partitions("customer.messages")):
        async for batch in bus.read("customer.messages", partition, 0):
            found += [(record, read_body(read_envelope(record.headers).type, record.value)) for record in batch]
    return found


async def answer(bus, id, *, turn=1, state="final", thread="room", seq=1, after=None):
    conversation = conversation_id("acme", "webhook", thread)
    message = Reply(
        id=id,
        tenant="acme",
        channel="webhook",
        thread=thread,
        conversation=conversation,
        ticket="t1",
        turn=turn,
        seq=seq,
        state=state,
        after=after,
        parts=(ReplyText(text=f"text of {id}"),),
    )
    envelope = Envelope(id=id, source="tandem/planner", type=Reply.TYPE, time=1, subject=conversation, tenant="acme")
    await bus.publish([outgoing("customer.replies", conversation, message, envelope)])


async def take(channel, count, patience_s=10, **options):
    """The first replies shown, each with a clean exit."""
    texts = []
    async with asyncio.timeout(patience_s), contextlib.aclosing(channel.replies(**options)) as replies:
        async for reply in replies:
            async with reply:
                texts.append(reply.text.removeprefix("text of "))
            if len(texts) == count:
                return texts
    return texts


@pytest.mark.asyncio
async def test_a_message_is_on_the_bus_when_submit_returns(tmp_path):
    async with connection(tmp_path) as tandem, tandem.channel("webhook", tenant="acme") as channel:
        picture = MediaPart(kind="image", url="https://files.example/1.png")
        conversation = await channel.submit("room", "hello", id="m1", parts=[picture], sent_at=5)
        [(record, message)] = await sent(tandem.wiring.bus())
        tandem.wiring.channels().verify("webhook", "acme", record.headers, record.value)
    assert isinstance(message, CustomerMessage)
    assert (message.id, message.text(), message.sent_at, len(message.parts)) == ("m1", "hello", 5, 2)
    assert message.conversation == conversation == conversation_id("acme", "webhook", "room")
    envelope = read_envelope(record.headers)
    assert (envelope.id, envelope.source, envelope.subject) == ("m1", "channel/webhook", conversation)
    assert envelope.traceparent is None  # whoever records nothing leaves it to the router to decide


@pytest.mark.parametrize(
    ("thread", "text", "id"), [("room", "x" * 20_001, "m"), ("", "hi", "m"), ("room", "hi", ""), ("r" * 501, "hi", "m")]
)
@pytest.mark.asyncio
async def test_what_no_reader_would_accept_is_refused_before_it_is_sent(tmp_path, thread, text, id):
    async with connection(tmp_path) as tandem, tandem.channel("webhook", tenant="acme") as channel:
        with pytest.raises(InvalidMessage):
            await channel.submit(thread, text, id=id)
        assert await sent(tandem.wiring.bus()) == []


@pytest.mark.asyncio
async def test_an_unknown_channel_does_not_open(tmp_path):
    async with connection(tmp_path) as tandem:
        with pytest.raises(Refused, match="unknown-channel"):
            async with tandem.channel("pigeon", tenant="acme"):
                raise AssertionError("opened")


@pytest.mark.asyncio
async def test_drafts_are_for_those_who_ask(tmp_path):
    async with connection(tmp_path) as tandem:
        for id, state in (("d", "draft"), ("a", "final")):
            await answer(tandem.wiring.bus(), id, state=state)
        assert await take(Channel("webhook", tenant="acme", tandem=tandem), 1) == ["a"]
    async with connection(tmp_path) as tandem:
        for id, state in (("d", "draft"), ("a", "final")):
            await answer(tandem.wiring.bus(), id, state=state)
        assert await take(Channel("webhook", tenant="acme", tandem=tandem), 2, drafts=True) == ["d", "a"]


@pytest.mark.asyncio
async def test_after_a_restart_shown_replies_stay_shown_and_old_turns_void(tmp_path):
    async with connection(tmp_path) as tandem:
        bus = tandem.wiring.bus()
        for id in ("a", "b"):
            await answer(bus, id, turn=2)
        assert await take(Channel("webhook", tenant="acme", tandem=tandem), 2) == ["a", "b"]
        for id, turn in (("a", 2), ("late", 1), ("c", 2)):
            await answer(bus, id, turn=turn)
        assert await take(Channel("webhook", tenant="acme", tandem=tandem), 1) == ["c"]


@pytest.mark.asyncio
async def test_one_slow_conversation_delays_no_other(tmp_path):
    async with connection(tmp_path) as tandem:
        bus, shown = tandem.wiring.bus(), []
        for thread in ("slow", "quick"):
            await answer(bus, f"r-{thread}", thread=thread)
        channel = Channel("webhook", tenant="acme", tandem=tandem)
        async with asyncio.timeout(10), contextlib.aclosing(channel.replies()) as replies:
            held = []
            async for reply in replies:
                if reply.thread == "slow":
                    held.append(reply)
                else:
                    async with reply:
                        shown.append(reply.thread)
                if held and shown:
                    break
            async with held[0]:
                shown.append(held[0].thread)
    assert shown == ["quick", "slow"]


@pytest.mark.connected
@pytest.mark.asyncio
async def test_in_and_out_on_a_real_kafka(tmp_path, kafka_bootstrap):
    bus = KafkaBus(
        kafka_bootstrap, shards=2, work_partitions=2, prefix=f"channel-{uuid.uuid4().hex[:8]}", replication=1
    )
    await bus.create_topics(list(TOPICS.values()))
    await bus.start()
    channels = write_channels(tmp_path / "channels.yaml", ["webhook"], {"acme": "p"})
    tandem = Tandem(Wiring(Settings(bus="kafka"), bus=bus, channels=channels))
    channel = Channel("webhook", tenant="acme", tandem=tandem)
    await channel.submit("room", "hello", id="m1")
    [(record, message)] = await sent(bus)
    channels.verify("webhook", "acme", record.headers, record.value)
    assert message.text() == "hello"
    for id, turn in (("a", 1), ("b", 2), ("a", 1), ("late", 1), ("c", 2)):
        await answer(bus, id, turn=turn)
    assert await take(channel, 3, patience_s=60) == ["a", "b", "c"]
    await bus.stop()


@pytest.mark.connected
@pytest.mark.asyncio
async def test_on_a_real_kafka_late_drafts_are_dropped_and_none_needs_a_receipt(tmp_path, kafka_bootstrap):
    """Two producers, the agent's drafts and the owner's finals, on one partition: nothing rests on their order."""
    prefix = f"drafts-{uuid.uuid4().hex[:8]}"
    owner, agent = (KafkaBus(kafka_bootstrap, shards=2, work_partitions=2, prefix=prefix, replication=1) for _ in "oa")
    await owner.create_topics(list(TOPICS.values()))
    await owner.start()
    await agent.start()
    channels = write_channels(tmp_path / "channels.yaml", ["webhook"], {"acme": "p"})
    tandem = Tandem(Wiring(Settings(bus="kafka"), bus=owner, channels=channels))
    for seq in (1, 2, 2):
        await answer(agent, "d", state="draft", seq=seq, after=0)
    await answer(owner, "final")
    await answer(agent, "d", state="draft", seq=3, after=0)
    await answer(owner, "taken over", turn=2)
    await answer(agent, "e", state="draft", after=1)
    await answer(owner, "end", turn=2, seq=2)
    shown = await take(Channel("webhook", tenant="acme", tandem=tandem), 5, patience_s=60, drafts=True)
    assert shown == ["d", "d", "final", "taken over", "end"]
    receipts = [message.reply for _, message in await sent(owner) if isinstance(message, DeliveryReceipt)]
    assert "d" not in receipts
    assert receipts[:2] == ["final", "taken over"]
    await agent.stop()
    await owner.stop()


class WebhookHarness:
    """The example adapter with its outside: a client that posts, a server that takes replies."""

    def __init__(self):
        self._shown = []
        self._failures = 0

    async def start(self, tandem, tenant):
        outside = web.Application()
        outside.router.add_post("/replies", self._take)
        self._outside = TestServer(outside)
        await self._outside.start_server()
        self._session = aiohttp.ClientSession()
        adapter = self.make(tandem.channel("webhook", tenant=tenant), str(self._outside.make_url("/replies")))
        app = web.Application()
        app.router.add_post("/messages", adapter.receive)
        self._client = TestClient(TestServer(app))
        await self._client.start_server()
        self._replies = asyncio.create_task(adapter.send_replies(self._session))

    make = WebhookAdapter

    async def _take(self, request):
        body = await request.json()
        if self._failures:
            self._failures -= 1
            return web.Response(status=500)
        self._shown.append((body["thread"], body["text"]))
        return web.Response()

    async def stop(self):
        self._replies.cancel()
        await asyncio.gather(self._replies, return_exceptions=True)
        await self._session.close()
        await self._client.close()
        await self._outside.close()

    async def customer_writes(self, thread, text, id):
        response = await self._client.post("/messages", json={"thread": thread, "text": text, "id": id})
        assert response.status == 202

    def shown(self):
        return list(self._shown)

    def fail_next(self):
        self._failures = 1


class Careless(WebhookAdapter):
    """Takes every reply for shown, and makes up message ids."""

    async def receive(self, request):
        body = await request.json()
        await self._channel.submit(body["thread"], body["text"], id=str(id(body)))
        return web.Response(status=202)

    async def send_replies(self, session):
        async for reply in self._channel.replies():
            async with reply:
                await session.post(self._callback, json={"thread": reply.thread, "text": reply.text})


class CarelessHarness(WebhookHarness):
    make = Careless


@pytest.mark.asyncio
async def test_the_example_adapter_conforms():
    await check(WebhookHarness, "webhook")


@pytest.mark.asyncio
async def test_a_careless_adapter_does_not():
    with pytest.raises(NotConforming) as caught:
        await check(CarelessHarness, "webhook", patience_s=1.0)
    assert "what failed is shown again" in str(caught.value)
    assert "arrives, signed" in str(caught.value)
