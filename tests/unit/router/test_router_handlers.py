from __future__ import annotations

import pytest

from services.router.handlers import Router
from services.router.reading import Readers
from services.router.second_opinion import SecondOpinion
from tandem.contracts.customer import CardActionPart, DeliveryReceipt, MediaPart
from tandem.contracts.inbox import ReceiptForwarded, RoutedMessage
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.values import conversation_id, derive_id
from tandem.errors import InvalidMessage, InvalidPack, Refused, Unavailable
from tests.unit.router.desk import CHANNELS, SENT_AT, NoLlm, SetClock, delivered, pack, said

CONVERSATION = conversation_id("acme", "web", "room")


class OnePack:
    def get(self, name, hash=None):
        return pack()


class BrokenPack:
    def get(self, name, hash=None):
        raise InvalidPack(name, ["intents.yaml: no intent"])


def router(packs=None, llm=None):
    opinion = SecondOpinion(llm or NoLlm, SetClock(), seconds=1.0)
    return Router(CHANNELS, packs or OnePack(), Readers(NoLlm, SetClock()), opinion, SetClock())


async def routed(delivery):
    (out,) = await router()(delivery)
    envelope = read_envelope(out.record.headers)
    return out, envelope, read_body(envelope.type, out.record.value)


@pytest.mark.asyncio
async def test_one_message_in_one_out():
    message = said("I want my money back for O-1234, the code is 246810")
    out, envelope, result = await routed(delivered(message))
    assert isinstance(result, RoutedMessage)
    assert (out.topic, out.record.key) == ("ticket.inbox", CONVERSATION)
    assert (envelope.subject, envelope.tenant, envelope.time) == (CONVERSATION, "acme", SENT_AT)
    assert result.id == envelope.id == derive_id("channel/web", "m1")
    assert result.message.text() == "I want my money back for O-1234, the code is [code]"
    assert (result.route.intent, result.pack, result.pack_hash) == ("refund", "shop", "h1")
    assert {value.slot: value.value for value in result.values} == {"order_id": "O-1234", "code": "246810"}


@pytest.mark.asyncio
async def test_a_record_read_again_gives_the_same_ids():
    first = await routed(delivered(said("hello")))
    again = await routed(delivered(said("hello")))
    assert first[1].id == again[1].id
    assert first[2].id == again[2].id


@pytest.mark.asyncio
async def test_every_part_is_masked_and_cues_reach_over_parts():
    photo = MediaPart(kind="image", url="https://example.com/1.png", text="246810 and 4111 1111 1111 1111")
    _, _, result = await routed(delivered(said("  my password is", "hunter2", photo, "see above")))
    texts = [part.text for part in result.message.parts]
    assert texts == ["  my password is", "[password]", "[code] and [card_number]", "see above"]


@pytest.mark.asyncio
async def test_a_button_says_by_itself_what_it_is_about():
    press = CardActionPart(question="q1", action="yes", text="Yes")
    _, _, result = await routed(delivered(said(press)))
    assert result.message.parts == (press,)
    assert (result.route.intent, result.route.rung, result.route.language) == (None, "rule", "und")
    _, _, silent = await routed(delivered(said(CardActionPart(action="no"))))
    assert silent.route.intent is None


@pytest.mark.asyncio
async def test_a_receipt_is_forwarded():
    receipt = DeliveryReceipt(
        tenant="acme", channel="web", thread="room", conversation=CONVERSATION, reply="r1", delivered_at=5
    )
    out, envelope, result = await routed(delivered(receipt))
    assert result == ReceiptForwarded(tenant="acme", conversation=CONVERSATION, reply="r1", delivered_at=5)
    assert (out.record.key, envelope.id) == (CONVERSATION, derive_id("channel/web", "m1"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("message", "changes", "reason"),
    [
        (said("hi"), {"unsigned": True}, "unsigned"),
        (said("hi"), {"key": "another-key-of-16"}, "bad-signature"),
        (said("hi", channel="mail"), {}, "unknown-channel"),
        (said("hi", tenant="other"), {}, "tenant-not-allowed"),
        (said("hi", tenant="ghost", conversation=conversation_id("ghost", "web", "room")), {}, "unknown-tenant"),
        (said("hi"), {"source": "channel/mail"}, "channel-mismatch"),
        (said("hi"), {"tenant": "other"}, "tenant-mismatch"),
        (said("hi", conversation="c9"), {}, "conversation-mismatch"),
        (said("hi", thread="other"), {}, "conversation-mismatch"),
        (said("hi"), {"subject": "c9"}, "conversation-mismatch"),
        (said("hi"), {"record_key": "c9"}, "conversation-mismatch"),
    ],
)
async def test_what_no_channel_may_say(message, changes, reason):
    with pytest.raises(Refused) as error:
        await router()(delivered(message, **changes))
    assert error.value.reason == reason


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (said(), "empty"),
        (said("  \n "), "empty"),
        (said(MediaPart(kind="image", url="https://example.com/1.png")), "empty"),
        (said("x" * 15_000, "y" * 15_000), "too-long"),
        (ReceiptForwarded(tenant="acme", conversation=CONVERSATION, reply="r", delivered_at=1), "unexpected-type"),
    ],
)
async def test_what_says_nothing(message, reason):
    with pytest.raises(InvalidMessage) as error:
        await router()(delivered(message))
    assert error.value.reason == reason


@pytest.mark.asyncio
async def test_a_message_waits_for_a_pack_that_cannot_be_loaded():
    with pytest.raises(Unavailable, match="no intent"):
        await router(BrokenPack())(delivered(said("hi")))
