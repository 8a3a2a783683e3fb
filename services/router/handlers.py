"""One message in, one message out, into the ticket's mailbox."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.router.admission import admit, check_content
from services.router.reading import Reader
from tandem import telemetry
from tandem.bus.base import Outgoing, outgoing
from tandem.bus.consume import Delivery
from tandem.channels import Channels
from tandem.clock import Clock
from tandem.contracts.customer import CustomerMessage, DeliveryReceipt
from tandem.contracts.inbox import InboxMessage, ReceiptForwarded, RoutedMessage
from tandem.contracts.message import Envelope, Message
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import derive_id
from tandem.errors import InvalidMessage, InvalidPack, Unavailable
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm

MAX_READERS = 32
"""Versions of packs kept ready."""


class Desk:
    """What the handlers need: who may speak, and the packs' readers."""

    def __init__(self, channels: Channels, packs: Packs, llm: Callable[[], Llm], clock: Clock) -> None:
        self.channels = channels
        self.clock = clock
        self._packs = packs
        self._llm = llm
        self._readers: OrderedDict[str, Reader] = OrderedDict()

    def reader(self, name: str) -> Reader:
        """The reader of the pack's current version. A pack that cannot be loaded is the deployment's fault, not the
        message's: Unavailable."""
        try:
            pack = self._packs.get(name)
        except InvalidPack as error:
            raise Unavailable(str(error)) from error
        found = self._readers.get(pack.hash)
        if found is None:
            found = self._readers[pack.hash] = Reader(pack, self._llm, self.clock)
            if len(self._readers) > MAX_READERS:
                self._readers.popitem(last=False)
        return found


async def route(delivery: Delivery, message: CustomerMessage, desk: Desk) -> InboxMessage:
    """Check, mask, extract, classify."""
    pack = admit(delivery.record, delivery.envelope, message, desk.channels)
    check_content(message)
    reader = desk.reader(pack)
    reading = await reader.read(message)
    return RoutedMessage(
        tenant=message.tenant,
        conversation=message.conversation,
        id=derive_id(delivery.envelope.source, delivery.envelope.id),
        message=reading.message,
        route=reading.route,
        values=reading.values,
        pack=reader.pack.name,
        pack_hash=reader.pack.hash,
    )


async def forward(delivery: Delivery, receipt: DeliveryReceipt, desk: Desk) -> InboxMessage:
    """A reply was shown: tell the ticket."""
    admit(delivery.record, delivery.envelope, receipt, desk.channels)
    return ReceiptForwarded(
        tenant=receipt.tenant,
        conversation=receipt.conversation,
        reply=receipt.reply,
        delivered_at=receipt.delivered_at,
    )


async def handle(delivery: Delivery, desk: Desk) -> Sequence[Outgoing]:
    """Dispatch by the message's type; the answer goes to the conversation's mailbox."""
    handler = HANDLERS.get(type(delivery.message))
    if handler is None:
        raise InvalidMessage("unexpected-type", f"the router takes no {delivery.envelope.type!r}")
    telemetry.bind(conversation=delivery.envelope.subject)
    answer = await handler(delivery, delivery.message, desk)
    envelope = Envelope(
        id=derive_id(delivery.envelope.source, delivery.envelope.id),
        source="tandem/router",
        type=answer.TYPE,
        time=desk.clock.now(),
        subject=answer.conversation,
        tenant=answer.tenant,
        traceparent=telemetry.current_traceparent(),
    )
    return [outgoing(TICKET_INBOX.name, answer.conversation, answer, envelope)]


HANDLERS: dict[type[Message], Callable[[Delivery, Any, Desk], Awaitable[InboxMessage]]] = {
    CustomerMessage: route,
    DeliveryReceipt: forward,
}
