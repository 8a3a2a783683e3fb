"""What comes from a channel, checked, masked and classified, goes into the conversation's mailbox."""

from __future__ import annotations

from collections.abc import Sequence

from services.router.masking import joined, mask_message
from services.router.reading import Readers, Reading
from services.router.second_opinion import SecondOpinion
from tandem import telemetry
from tandem.bus.base import Outgoing
from tandem.bus.consume import Delivery
from tandem.channels import Channels
from tandem.clock import Clock
from tandem.contracts.customer import MAX_TEXT, CardActionPart, CustomerMessage, DeliveryReceipt
from tandem.contracts.inbox import InboxMessage, ReceiptForwarded, RoutedMessage
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import conversation_id, derive_id
from tandem.errors import InvalidMessage, InvalidPack, Refused, Unavailable
from tandem.packs.model import Pack
from tandem.packs.registry import Packs
from tandem.sending import sent_by
from tandem.telemetry import Attribute, SpanName

NAME = "router"

FromChannel = CustomerMessage | DeliveryReceipt


class Router:
    """One record of `customer.messages` in, one of `ticket.inbox` out."""

    def __init__(
        self, channels: Channels, packs: Packs, readers: Readers, opinion: SecondOpinion, clock: Clock
    ) -> None:
        self._channels = channels
        self._packs = packs
        self._readers = readers
        self._opinion = opinion
        self._clock = clock

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        """Raises Refused for what no channel may say, InvalidMessage for what says nothing, Unavailable while the tenant's
        pack cannot be loaded."""
        message = delivery.message
        if not isinstance(message, FromChannel):
            raise InvalidMessage("unexpected-type", f"{delivery.envelope.type} on customer.messages")
        check_sender(delivery, message, self._channels)
        telemetry.bind(conversation=message.conversation)
        id_ = derive_id(delivery.envelope.source, delivery.envelope.id)
        if isinstance(message, DeliveryReceipt):
            return [self._send(id_, _forwarded(message))]
        return [self._send(id_, await self._routed(id_, message))]

    async def _routed(self, id_: str, message: CustomerMessage) -> RoutedMessage:
        pack = self._pack(message.tenant)
        with telemetry.span(f"{SpanName.AGENT} {NAME}", attributes={Attribute.AGENT_NAME: NAME}):
            reading = await self._read(pack, message)
            routed = RoutedMessage.made(
                id=id_,
                tenant=message.tenant,
                conversation=message.conversation,
                message=mask_message(message, reading.sensitive),
                route=reading.route,
                values=reading.values,
                pack=pack.name,
                pack_hash=pack.hash,
            )
            return await self._opinion.on(routed, pack)

    async def _read(self, pack: Pack, message: CustomerMessage) -> Reading:
        reader, text = self._readers.of(pack), joined(message)
        if len(text) > MAX_TEXT:
            raise InvalidMessage("too-long", f"{len(text)} characters in all parts; at most {MAX_TEXT}")
        if any(isinstance(part, CardActionPart) for part in message.parts):
            return reader.press(text, message.sent_at)
        if not text.strip():
            raise InvalidMessage("empty", "the message has no text and presses no button")
        return await reader.read(text, message.sent_at)

    def _pack(self, tenant: str) -> Pack:
        """A pack that cannot be loaded is the operator's to mend: the message waits."""
        try:
            return self._packs.get(self._channels.pack_of(tenant))
        except InvalidPack as error:
            raise Unavailable(str(error)) from error

    def _send(self, id_: str, message: InboxMessage) -> Outgoing:
        return sent_by(NAME, TICKET_INBOX.name, message, id_, self._clock.now())


def check_sender(delivery: Delivery, message: FromChannel, channels: Channels) -> None:
    """Raises Refused unless the channel signed the record, may speak for the tenant, and all names agree."""
    record, envelope = delivery.record, delivery.envelope
    channels.verify(message.channel, message.tenant, record.headers, record.value or b"")
    channels.pack_of(message.tenant)
    if envelope.source != f"channel/{message.channel}":
        raise Refused("channel-mismatch", "ce_source is not the message's channel: ids are derived from it")
    if envelope.tenant != message.tenant:
        raise Refused("tenant-mismatch", "ce_tenant is not the message's tenant")
    if message.conversation != conversation_id(message.tenant, message.channel, message.thread):
        raise Refused("conversation-mismatch", "the conversation is not that of the tenant, the channel and the thread")
    if envelope.subject != message.conversation or record.key != message.conversation.encode():
        raise Refused("conversation-mismatch", "ce_subject or the record's key is not the message's conversation")


def _forwarded(receipt: DeliveryReceipt) -> ReceiptForwarded:
    return ReceiptForwarded(
        tenant=receipt.tenant,
        conversation=receipt.conversation,
        reply=receipt.reply,
        delivered_at=receipt.delivered_at,
    )
