"""What crosses the platform's edge: customers' messages in, replies out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from tandem.contracts.message import Message
from tandem.contracts.values import Json, Millis, Value

MAX_TEXT = 20_000
"""Characters of one text part; a longer message is dead-lettered, never cut silently."""


class TextPart(Value):
    kind: Literal["text"] = "text"
    text: str = Field(max_length=MAX_TEXT)


class MediaPart(Value):
    """An image, a file or an audio recording, by reference: the platform never carries the bytes."""

    kind: Literal["image", "file", "audio"]
    url: str = Field(max_length=2_000)
    name: str | None = Field(default=None, max_length=200)
    text: str = Field(default="", max_length=MAX_TEXT)  # fallback: caption or transcript


class CardActionPart(Value):
    """The customer pressed a button of a card: an answer that names its question exactly."""

    kind: Literal["card_action"] = "card_action"
    question: str | None = None  # id of the question the card asked
    action: str = Field(max_length=100)  # e.g. "yes", "no", "cancel", or a choice's id
    text: str = Field(default="", max_length=MAX_TEXT)


MessagePart: TypeAlias = Annotated[TextPart | MediaPart | CardActionPart, Field(discriminator="kind")]


class CustomerMessage(Message, name="customer-message"):
    """One message of a customer, as an adapter publishes it on `customer.messages`, signed."""

    id: str = Field(min_length=1, max_length=200)  # the channel's own id: an adapter that repeats itself repeats it
    tenant: str = Field(min_length=1, max_length=100)
    channel: str = Field(min_length=1, max_length=100)
    thread: str = Field(min_length=1, max_length=500)
    conversation: str = Field(min_length=1, max_length=100)  # conversation_id(tenant, channel, thread)
    parts: tuple[MessagePart, ...] = Field(max_length=20)
    sent_at: Millis  # when the customer wrote it, by the channel's clock

    def text(self) -> str:
        """All parts' text, in order."""
        return "\n".join(part.text for part in self.parts if part.text).strip()


class DeliveryReceipt(Message, name="delivery-receipt"):
    """An adapter has shown a reply to the customer."""

    tenant: str
    channel: str
    thread: str
    conversation: str
    reply: str  # Reply.id
    delivered_at: Millis


class ReplyText(Value):
    kind: Literal["text"] = "text"
    text: str


class CitationPart(Value):
    """Where a statement comes from. `passage` resolves in the tenant's collection."""

    kind: Literal["citation"] = "citation"
    passage: str
    title: str
    url: str | None = None
    quote: str = ""
    text: str = ""  # fallback, e.g. "[1] Open a port — Security groups"


class ImagePart(Value):
    kind: Literal["image"] = "image"
    url: str
    text: str = ""


class TablePart(Value):
    kind: Literal["table"] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: str = ""


class CardAction(Value):
    id: str
    label: str


class CardPart(Value):
    """A card with buttons, or a running tool's progress."""

    kind: Literal["card"] = "card"
    card: str  # stable id: a later message with the same id replaces the card
    title: str
    state: Literal["asking", "running", "done", "failed", "cancelled"]
    percent: int | None = Field(default=None, ge=0, le=100)
    log: tuple[str, ...] = Field(default=(), max_length=20)
    actions: tuple[CardAction, ...] = ()
    question: str | None = None
    text: str = ""  # fallback


ReplyPart: TypeAlias = Annotated[
    ReplyText | CitationPart | ImagePart | TablePart | CardPart, Field(discriminator="kind")
]


class Reply(Message, name="reply"):
    """What the customer is shown. Drafts (an answer while it is written, card progress) are void without the owner's final.

    A reader drops whatever belongs to a turn below the highest it has seen, and a draft whose `after` is below the seq of a
    final it has seen (`tandem.client` does both). Drafts of one id replace one another: each holds all that is written so far.
    """

    id: str
    tenant: str
    channel: str
    thread: str
    conversation: str
    ticket: str
    turn: int
    seq: int  # order inside the turn
    state: Literal["final", "draft"] = "final"
    after: int | None = None  # of a draft: the seq of the turn's last final before it; a later final makes it void
    author: str = "bot"  # or "expert:<id>"
    parts: tuple[ReplyPart, ...]
    question: str | None = None  # id of the question this reply asks
    answers: tuple[str, ...] = ()  # ids of the customer's messages this reply answers
    language: str = "en"
    meta: dict[str, Json] = Field(default_factory=dict)

    def text(self) -> str:
        """All parts' text, in order."""
        return "\n".join(part.text for part in self.parts if part.text).strip()


def text_reply_parts(text: str, *more: Any) -> tuple[ReplyPart, ...]:
    """A text part followed by others."""
    return (ReplyText(text=text), *more)
