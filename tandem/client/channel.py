"""`Tandem` is a connection to the platform, `Channel` one channel of one tenant over it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from tandem import telemetry
from tandem.bus.base import NewRecord, Outgoing, TopicPartition
from tandem.bus.consume import ConsumeLoop, Delivery, LoopPolicy
from tandem.channels import signed
from tandem.client.seen import Seen
from tandem.contracts.customer import CustomerMessage, DeliveryReceipt, MessagePart, Reply, ReplyPart, TextPart
from tandem.contracts.message import MAX_BODY_BYTES, Envelope, Message, read_body, read_envelope, to_headers
from tandem.contracts.topics import CUSTOMER_MESSAGES, CUSTOMER_REPLIES
from tandem.contracts.values import Millis, conversation_id, derive_id
from tandem.errors import InvalidMessage
from tandem.settings import Settings
from tandem.telemetry import Attribute, SpanName
from tandem.wiring import Wiring

logger = logging.getLogger(__name__)

LOOK_BACK = 1_000
"""Records before the first one read, looked at after a start so that old turns stay void."""

MAX_WAITING = 64
AGAIN_S = 1.0


class Tandem:
    """A connection: the bus and channels.yaml. Built from the environment's settings unless a wiring is given."""

    def __init__(self, wiring: Wiring | None = None) -> None:
        self._own = wiring is None
        self.wiring = wiring or Wiring(Settings())

    async def __aenter__(self) -> Self:
        self.wiring.bus()
        await self.wiring.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._own:
            await self.wiring.close()

    def channel(self, name: str, *, tenant: str) -> Channel:
        return Channel(name, tenant=tenant, tandem=self)


class Incoming:
    """A reply to show. Leaving `async with reply:` cleanly sends the receipt and commits; an exception brings the same
    reply again after a pause, before any later one of its conversation."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self._shown: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def thread(self) -> str:
        return self.reply.thread

    @property
    def text(self) -> str:
        """All parts as text: each part has a text fallback."""
        return self.reply.text()

    @property
    def parts(self) -> tuple[ReplyPart, ...]:
        return self.reply.parts

    @property
    def draft(self) -> bool:
        """Void without a final: the next draft of its id replaces it, and the next final all that was shown as drafts."""
        return self.reply.state == "draft"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if not self._shown.done():
            self._shown.set_result(kind is None)

    async def shown(self) -> bool:
        """Wait until the adapter is done with it; False if it failed."""
        return await self._shown


class Channel:
    """One channel of one tenant. On the local bus its replies are read in one process, over Kafka in any number."""

    def __init__(self, name: str, *, tenant: str, tandem: Tandem | None = None) -> None:
        self.name = name
        self.tenant = tenant
        self._own = tandem is None
        self._tandem = tandem or Tandem()
        self._seen = Seen()
        self._primed: dict[TopicPartition, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        if self._own:
            await self._tandem.__aenter__()
        self._tandem.wiring.channels().permit(self.name, self.tenant)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._own:
            await self._tandem.__aexit__()

    async def submit(
        self, thread: str, text: str = "", *, id: str, parts: Sequence[MessagePart] = (), sent_at: Millis | None = None
    ) -> str:
        """Hand in a customer's message; returns its conversation once the bus has it. Repeating an id is harmless.

        Raises InvalidMessage for one that no reader would accept, BusUnavailable when the bus did not acknowledge it.
        """
        if not text.strip() and not parts:
            raise InvalidMessage("empty", "a message needs a text or a part")
        conversation = conversation_id(self.tenant, self.name, thread)
        try:
            message = CustomerMessage(
                id=id,
                tenant=self.tenant,
                channel=self.name,
                thread=thread,
                conversation=conversation,
                parts=(*((TextPart(text=text),) if text else ()), *parts),
                sent_at=self._tandem.wiring.clock.now() if sent_at is None else sent_at,
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise InvalidMessage("schema", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        attributes = {Attribute.DESTINATION: CUSTOMER_MESSAGES.name, Attribute.CONVERSATION: conversation}
        with telemetry.segment_span(f"{SpanName.SEND} {CUSTOMER_MESSAGES.name}", attributes=attributes):
            await self._tandem.wiring.bus().publish([self._outgoing(message, id, conversation)])
        return conversation

    async def replies(self, *, drafts: bool = False) -> AsyncIterator[Incoming]:
        """This channel's replies for this tenant: in order within a conversation, without duplicates, never of a turn
        below the highest seen. With `drafts`, streamed text and progress cards too."""
        queue: asyncio.Queue[Incoming] = asyncio.Queue(MAX_WAITING)
        loop = self._loop(queue, drafts)
        running = asyncio.create_task(loop.run(), name=f"replies:{self.name}")
        taken = asyncio.create_task(queue.get())
        try:
            while True:
                await asyncio.wait([taken, running], return_when=asyncio.FIRST_COMPLETED)
                if not taken.done():
                    running.result()
                    return
                yield taken.result()
                taken = asyncio.create_task(queue.get())
        finally:
            taken.cancel()
            await loop.stop(0.0)
            running.cancel()
            await asyncio.gather(running, taken, return_exceptions=True)

    def _loop(self, queue: asyncio.Queue[Incoming], drafts: bool) -> ConsumeLoop:
        async def show(delivery: Delivery) -> Sequence[Outgoing]:
            reply = delivery.message
            if not isinstance(reply, Reply):
                raise InvalidMessage("unexpected-type", f"{delivery.envelope.type} on {CUSTOMER_REPLIES.name}")
            if reply.channel != self.name or reply.tenant != self.tenant:
                return []
            telemetry.bind(conversation=reply.conversation, ticket=reply.ticket, segment=reply.turn)
            await self._prime(delivery.record.at, delivery.record.offset)
            if (reply.state == "draft" and not drafts) or not self._seen.admit(reply):
                return []
            await self._show(reply, queue)
            return [] if reply.state == "draft" else [self._receipt(reply)]

        return ConsumeLoop(
            self._tandem.wiring.bus(),
            group=f"channel-{self.name}-{self.tenant}",
            topics=[CUSTOMER_REPLIES],
            handler=show,
            policy=LoopPolicy(max_in_flight=MAX_WAITING, ordered=True),
            clock=self._tandem.wiring.clock,
            name=f"channel/{self.name}",
            around=partial(telemetry.consume_span, name=f"channel/{self.name}"),
        )

    async def _show(self, reply: Reply, queue: asyncio.Queue[Incoming]) -> None:
        while True:
            incoming = Incoming(reply)
            await queue.put(incoming)
            if await incoming.shown():
                return
            logger.warning("reply not shown, trying again", extra={"reply": reply.id, "channel": self.name})
            await self._tandem.wiring.clock.sleep(AGAIN_S)

    async def _prime(self, at: TopicPartition, offset: int) -> None:
        """Once per partition: look at what was shown before a restart."""
        if at not in self._primed:
            self._primed[at] = asyncio.create_task(self._look_back(at, offset))
        try:
            await self._primed[at]
        except BaseException:
            self._primed.pop(at, None)
            raise

    async def _look_back(self, at: TopicPartition, end: int) -> None:
        bus = self._tandem.wiring.bus()
        async for records in bus.read(at.topic, at.partition, max(0, end - LOOK_BACK), end):
            for record in records:
                try:
                    reply = read_body(read_envelope(record.headers).type, record.value)
                except InvalidMessage:
                    continue  # dead-lettered when it was first read
                if isinstance(reply, Reply) and reply.channel == self.name and reply.tenant == self.tenant:
                    self._seen.admit(reply)

    def _receipt(self, reply: Reply) -> Outgoing:
        receipt = DeliveryReceipt(
            tenant=reply.tenant,
            channel=reply.channel,
            thread=reply.thread,
            conversation=reply.conversation,
            reply=reply.id,
            delivered_at=self._tandem.wiring.clock.now(),
        )
        return self._outgoing(receipt, derive_id("receipt", reply.id), reply.conversation)

    def _outgoing(self, message: Message, id: str, conversation: str) -> Outgoing:
        """A signed record of customer.messages."""
        body = message.model_dump_json().encode()
        if len(body) > MAX_BODY_BYTES:
            raise InvalidMessage("too-large", f"{len(body)} bytes; at most {MAX_BODY_BYTES}")
        envelope = Envelope(
            id=id,
            source=f"channel/{self.name}",
            type=message.TYPE,
            time=self._tandem.wiring.clock.now(),
            subject=conversation,
            tenant=self.tenant,
            traceparent=telemetry.current_traceparent(),
        )
        headers = signed(to_headers(envelope), body, self._tandem.wiring.channels().key(self.name))
        return Outgoing(CUSTOMER_MESSAGES.name, NewRecord(conversation, body, headers))
