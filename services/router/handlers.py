"""What the router does with what arrives on `customer.messages`: one message in, one out. It keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.router.classifier import Classifier
from services.router.extraction import Extraction, Extractor
from services.router.language import detect_language
from services.router.signals import Signals, complexity_of, sentiment_of, urgency_of
from tandem import telemetry
from tandem.bus.base import Outgoing, outgoing
from tandem.bus.consume import Delivery
from tandem.channels import Channels
from tandem.clock import Clock
from tandem.contracts.customer import CardActionPart, CustomerMessage, DeliveryReceipt, MessagePart
from tandem.contracts.inbox import InboxMessage, ReceiptForwarded, RoutedMessage
from tandem.contracts.message import Envelope
from tandem.contracts.ticket import Route, TypedValue
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import conversation_id, derive_id
from tandem.errors import InvalidMessage, Refused
from tandem.packs.model import Pack
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm

MAX_PACKS = 64
"""Versions of packs whose readers are kept."""


class Reader:
    """Reads customers' messages as one version of a pack does."""

    def __init__(self, pack: Pack, llm: Callable[[], Llm], clock: Clock) -> None:
        self.pack = pack
        self._extractor = Extractor(pack)
        self._signals = Signals(pack)
        self._classifier = Classifier(pack, llm, clock, self._extractor.gist)

    async def read(self, message: CustomerMessage) -> tuple[CustomerMessage, Route, tuple[TypedValue, ...]]:
        """The message with sensitive values masked, its route, and the values found in it."""
        text = message.text()
        found = self._extractor.extract(text, message.sent_at)
        masked = message.model_copy(
            update={"parts": tuple(self._masked(part, message.sent_at) for part in message.parts)}
        )
        route = Route()
        if not any(isinstance(part, CardActionPart) for part in message.parts):
            route = await self._classifier.classify(found)
        return masked, self._completed(route, text, found), found.values

    def _completed(self, route: Route, text: str, found: Extraction) -> Route:
        return route.model_copy(
            update={
                "wants_human": self._signals.wants_human(found.rest),
                "urgency": urgency_of(text),
                "sentiment": sentiment_of(text),
                "complexity": complexity_of(text),
                "language": detect_language(found.rest, self.pack.languages[0]),
            }
        )

    def _masked(self, part: MessagePart, sent_at: int) -> MessagePart:
        return (
            part.model_copy(update={"text": self._extractor.extract(part.text, sent_at).masked}) if part.text else part
        )


class Router:
    """Handles one delivery. What is not signed rightly, or not of its conversation, is refused."""

    def __init__(self, channels: Channels, packs: Packs, llm: Callable[[], Llm], clock: Clock) -> None:
        self._channels = channels
        self._packs = packs
        self._llm = llm
        self._clock = clock
        self._readers: dict[str, Reader] = {}

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        message = delivery.message
        if not isinstance(message, CustomerMessage | DeliveryReceipt):
            raise InvalidMessage("not-for-the-router", f"nobody routes {delivery.envelope.type!r}")
        self._check(message, delivery)
        telemetry.bind(conversation=message.conversation)
        if isinstance(message, DeliveryReceipt):
            return [self._to_mailbox(_forwarded(message), delivery)]
        if not message.text() and not any(isinstance(part, CardActionPart) for part in message.parts):
            raise InvalidMessage("empty-message", "no part has a text, a transcript or a pressed button")
        pack = self._packs.get(self._channels.pack_of(message.tenant))
        masked, route, values = await self._reader(pack).read(message)
        routed = RoutedMessage(
            tenant=message.tenant,
            conversation=message.conversation,
            id=derive_id(delivery.envelope.source, delivery.envelope.id),
            message=masked,
            route=route,
            values=values,
            pack=pack.name,
            pack_hash=pack.hash,
        )
        return [self._to_mailbox(routed, delivery)]

    def _check(self, message: CustomerMessage | DeliveryReceipt, delivery: Delivery) -> None:
        """The adapter's signature, and that the message is of the conversation it claims."""
        self._channels.verify(message.channel, message.tenant, delivery.record.headers, delivery.record.value or b"")
        envelope = delivery.envelope
        if message.conversation != conversation_id(message.tenant, message.channel, message.thread):
            raise Refused("wrong-conversation", "the conversation is not of this tenant, channel and thread")
        if envelope.tenant != message.tenant or envelope.subject != message.conversation:
            raise Refused("wrong-envelope", "the envelope names another tenant or conversation than the message")

    def _reader(self, pack: Pack) -> Reader:
        reader = self._readers.get(pack.hash)
        if reader is None:
            while len(self._readers) >= MAX_PACKS:
                self._readers.pop(next(iter(self._readers)))
            reader = self._readers[pack.hash] = Reader(pack, self._llm, self._clock)
        return reader

    def _to_mailbox(self, message: InboxMessage, delivery: Delivery) -> Outgoing:
        envelope = Envelope(
            id=derive_id("router", delivery.envelope.source, delivery.envelope.id),
            source="tandem/router",
            type=message.TYPE,
            time=self._clock.now(),
            subject=message.conversation,
            tenant=message.tenant,
            traceparent=telemetry.current_traceparent(),
        )
        return outgoing(TICKET_INBOX.name, message.conversation, message, envelope)


def _forwarded(receipt: DeliveryReceipt) -> ReceiptForwarded:
    return ReceiptForwarded(
        tenant=receipt.tenant,
        conversation=receipt.conversation,
        reply=receipt.reply,
        delivered_at=receipt.delivered_at,
    )
