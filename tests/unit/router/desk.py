"""A small pack for the router, encoders that do as they are told, and messages as a channel signs them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from services.router.similarity import word_features
from tandem.bus.base import Record
from tandem.bus.consume import Delivery
from tandem.channels import ChannelEntry, Channels, TenantEntry, signed
from tandem.clock import SystemClock
from tandem.contracts.customer import CustomerMessage, MessagePart, TextPart
from tandem.contracts.message import Envelope, Message, to_headers
from tandem.contracts.values import conversation_id
from tandem.errors import Unavailable
from tandem.packs.model import Intent, Pack, Slot
from tandem.rpc.ports import ChatRequest, ChatResponse

KEY = "0123456789abcdef"
SENT_AT = 1_767_571_200_000
"""2026-01-05, a Monday."""

SLOTS = (
    Slot(name="order_id", pattern=r"O-\d{4}", label={"en": "order number", "zh": "订单号"}),
    Slot(name="code", pattern=r"\d{6}", sensitive=True, label={"en": "code", "zh": "验证码"}),
    Slot(name="account_email", type="email", label={"en": "e-mail"}),
    Slot(name="port", type="integer", label={"en": "port", "zh": "端口"}),
    Slot(name="size", type="choice", choices={"large": ["big", "xl", "大号"], "small": ["tiny", "小号"]}),
    Slot(name="nickname", label={"en": "nickname"}),
)
INTENTS = (
    Intent(
        name="refund",
        description="money back",
        scenario="operate",
        procedure="refund",
        patterns=[r"\bmoney back\b"],
        label={"en": "refunding an order", "zh": "订单退款"},
        examples={
            "en": ["I want a refund", "refund my order please", "return the payment for my order", "pay me back"],
            "zh": ["我要退款", "请把钱退给我", "订单退款"],
        },
    ),
    Intent(
        name="delivery",
        description="where an order is",
        examples={
            "en": ["where is my parcel", "when does my parcel arrive", "track the parcel", "the parcel is late"],
            "zh": ["我的包裹在哪里", "包裹什么时候到", "快递到哪了"],
        },
    ),
    Intent(
        name="opening_hours",
        description="when the shops are open",
        examples={"en": ["when do you open", "opening hours of the shop", "is the shop open on Sunday"]},
    ),
)


def pack(**changes: Any) -> Pack:
    fields: dict[str, Any] = {
        "name": "shop",
        "hash": "h1",
        "root": ".",
        "languages": ("en", "zh"),
        "slots": {slot.name: slot for slot in SLOTS},
        "intents": {intent.name: intent for intent in INTENTS},
        "human_patterns": {"en": [r"\bboss\b"]},
    }
    return Pack(**{**fields, **changes})


class WordLlm:
    """An encoder that hashes words into 384 dimensions."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.asked = asyncio.Event()
        self.wait: asyncio.Event | None = None

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        self.asked.set()
        if self.wait is not None:
            await self.wait.wait()
        return np.stack([_vector(text) for text in texts])

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        raise Unavailable("no model")


class NoLlm(WordLlm):
    """An encoder that cannot serve."""

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        self.asked.set()
        raise Unavailable("no encoder")


def _vector(text: str) -> NDArray[np.float32]:
    vector = np.zeros(384, dtype=np.float32)
    for word, weight in word_features(text).items():
        vector[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest()) % 384] += weight
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


class SetClock(SystemClock):
    def __init__(self) -> None:
        self.boot_s = 100.0

    def now(self) -> int:
        return SENT_AT

    def boot(self) -> float:
        return self.boot_s


CHANNELS = Channels(
    channels={"web": ChannelEntry(key=SecretStr(KEY), tenants=frozenset({"acme", "ghost"}))},
    tenants={"acme": TenantEntry(pack="shop")},
)


def said(*parts: MessagePart | str, **changes: Any) -> CustomerMessage:
    """A message of a customer of acme."""
    fields: dict[str, Any] = {
        "id": "m1",
        "tenant": "acme",
        "channel": "web",
        "thread": "room",
        "conversation": conversation_id("acme", "web", "room"),
        "parts": tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts),
        "sent_at": SENT_AT,
    }
    return CustomerMessage(**{**fields, **changes})


def delivered(message: Message, *, key: str = KEY, unsigned: bool = False, **changes: Any) -> Delivery:
    """As it lies in `customer.messages`. `changes`: fields of the envelope, and `record_key`."""
    subject = getattr(message, "conversation", "")
    record_key = changes.pop("record_key", subject)
    fields = {"id": "m1", "source": "channel/web", "type": message.TYPE, "time": SENT_AT, "subject": subject}
    envelope = Envelope(**{**fields, "tenant": getattr(message, "tenant", ""), **changes})
    body = message.model_dump_json().encode()
    headers = to_headers(envelope) if unsigned else signed(to_headers(envelope), body, key)
    record = Record("customer.messages", 0, 7, SENT_AT, record_key.encode(), body, headers)
    return Delivery(record, envelope, message, 1)
