"""What every channel adapter must do, as a suite any adapter can run:

    class MyHarness:
        async def start(self, tandem, tenant): ...     # build the adapter on this connection
        ...
    await check(MyHarness, channel="webhook")          # raises NotConforming with everything that is wrong

The platform is played on a bus in memory; nothing else is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from tandem.bus.base import Record, outgoing
from tandem.bus.local import LocalBus
from tandem.channels import ChannelEntry, Channels, TenantEntry
from tandem.client.channel import Tandem
from tandem.contracts.customer import CustomerMessage, DeliveryReceipt, Reply, ReplyText
from tandem.contracts.message import Envelope, Message, read_body, read_envelope
from tandem.contracts.topics import CUSTOMER_MESSAGES, CUSTOMER_REPLIES
from tandem.contracts.values import conversation_id
from tandem.errors import InvalidError, Refused
from tandem.settings import Settings
from tandem.wiring import Wiring

TENANT = "acme"
THREAD = "thread-1"
PATIENCE_S = 5.0
QUIET_S = 0.1


class NotConforming(InvalidError):
    """The adapter breaks the contract; the message lists how."""


class Harness(Protocol):
    """An adapter under test, with its outside played."""

    async def start(self, tandem: Tandem, tenant: str) -> None:
        """Start the adapter on this connection."""
        ...

    async def stop(self) -> None: ...

    async def customer_writes(self, thread: str, text: str, id: str) -> None:
        """The outside channel hands the adapter a customer's message."""
        ...

    def shown(self) -> list[tuple[str, str]]:
        """(thread, text) of everything that reached the customer, in order."""
        ...

    def fail_next(self) -> None:
        """The outside channel will not take the next reply."""
        ...


@dataclass(frozen=True, slots=True)
class _Stage:
    """One run: the platform's side of the bus, and the adapter."""

    tandem: Tandem
    adapter: Harness
    channel: str
    patience_s: float

    @property
    def conversation(self) -> str:
        return conversation_id(TENANT, self.channel, THREAD)

    async def sent(self) -> list[tuple[Record, Message]]:
        """What the adapter has put on customer.messages."""
        bus = self.tandem.wiring.bus()
        found = []
        for partition in range(bus.partitions(CUSTOMER_MESSAGES.name)):
            async for batch in bus.read(CUSTOMER_MESSAGES.name, partition, 0):
                found += [(record, read_body(read_envelope(record.headers).type, record.value)) for record in batch]
        return found

    async def receipts(self) -> list[str]:
        return [message.reply for _, message in await self.sent() if isinstance(message, DeliveryReceipt)]

    async def reply(
        self, id: str, *, turn: int = 1, channel: str = "", tenant: str = TENANT, draft: tuple[str, int] | None = None
    ) -> None:
        """The platform replies with the id as text. `draft`: as a draft of that id, the how manyth."""
        name = channel or self.channel
        message = Reply(
            id=draft[0] if draft else id,
            tenant=tenant,
            channel=name,
            thread=THREAD,
            conversation=self.conversation,
            ticket="ticket-1",
            turn=turn,
            seq=draft[1] if draft else 1,
            state="draft" if draft else "final",
            after=0 if draft else None,
            parts=(ReplyText(text=id),),
        )
        envelope = Envelope(
            id=id, source="tandem/planner", type=Reply.TYPE, time=1, subject=self.conversation, tenant=tenant
        )
        await self.tandem.wiring.bus().publish([outgoing(CUSTOMER_REPLIES.name, self.conversation, message, envelope)])

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> bool:
        """Wait for a condition; False if it does not come true in time."""
        try:
            async with asyncio.timeout(self.patience_s):
                while not await condition():  # noqa: ASYNC110 - what is waited for lies beyond the adapter
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    async def shows(self, *texts: str) -> str | None:
        """None once exactly these were shown, in this order; else what was shown instead."""
        wanted = [(THREAD, text) for text in texts]
        await self.until(lambda: _true(len(self.adapter.shown()) >= len(wanted)))
        await asyncio.sleep(QUIET_S)
        return None if self.adapter.shown() == wanted else f"shown were {self.adapter.shown()}, not {wanted}"


async def _messages_arrive(stage: _Stage) -> str | None:
    """A customer's message reaches the bus whole, signed, and under the channel's own id."""
    await stage.adapter.customer_writes(THREAD, "héllo", "m-1")
    if not await stage.until(lambda: _has(stage, 1)):
        return "nothing reached customer.messages"
    [(record, message)] = await stage.sent()
    if not isinstance(message, CustomerMessage):
        return f"a {type(message).__name__} was sent, not a CustomerMessage"
    try:
        channels = stage.tandem.wiring.channels()
        channels.verify(message.channel, message.tenant, record.headers, record.value or b"")
    except Refused as error:
        return f"the signature is refused: {error}"
    said = (message.id, message.tenant, message.channel, message.thread, message.text(), message.conversation)
    wanted = ("m-1", TENANT, stage.channel, THREAD, "héllo", stage.conversation)
    return None if said == wanted else f"the message says {said}, not {wanted}"


async def _repeats_keep_their_id(stage: _Stage) -> str | None:
    """When the outside channel repeats itself, the platform must be able to tell."""
    for _ in range(2):
        await stage.adapter.customer_writes(THREAD, "hello", "m-1")
    if not await stage.until(lambda: _has(stage, 2)):
        return None
    ids = {read_envelope(record.headers).id for record, _ in await stage.sent()}
    return None if len(ids) == 1 else f"one message was sent under {len(ids)} ids"


async def _replies_are_shown_in_order(stage: _Stage) -> str | None:
    for id in ("r-1", "r-2", "r-3"):
        await stage.reply(id)
    return await stage.shows("r-1", "r-2", "r-3")


async def _duplicates_are_not_shown(stage: _Stage) -> str | None:
    for id in ("r-1", "r-1", "r-2", "r-1"):
        await stage.reply(id)
    return await stage.shows("r-1", "r-2")


async def _old_turns_are_not_shown(stage: _Stage) -> str | None:
    await stage.reply("r-1", turn=1)
    await stage.reply("r-2", turn=2)
    await stage.reply("late", turn=1)
    await stage.reply("r-3", turn=2)
    return await stage.shows("r-1", "r-2", "r-3")


async def _others_replies_are_not_shown(stage: _Stage) -> str | None:
    await stage.reply("r-1", channel="another")
    await stage.reply("r-2", tenant="another")
    await stage.reply("r-3")
    return await stage.shows("r-3")


async def _drafts_are_void(stage: _Stage) -> str | None:
    """Drafts may be shown or not; the final is shown either way, once, and nothing of its drafts after it."""
    for number in (1, 2):
        await stage.reply(f"draft {number}", draft=("d-1", number))
    await stage.reply("r-1")
    await stage.reply("draft 3", draft=("d-1", 3))
    await stage.reply("r-2")
    await stage.until(lambda: _true(any(text == "r-2" for _, text in stage.adapter.shown())))
    shown = [text for _, text in stage.adapter.shown()]
    told = [text for text in shown if not text.startswith("draft")]
    late = [text for text in shown[shown.index("r-1") :] if text.startswith("draft")] if "r-1" in shown else []
    return None if told == ["r-1", "r-2"] and not late and "draft 3" not in shown else f"shown were {shown}"


async def _receipts_follow(stage: _Stage) -> str | None:
    await stage.reply("r-1")
    problem = await stage.shows("r-1")
    if problem:
        return problem
    await stage.until(lambda: _receipt(stage, "r-1"))
    receipts = await stage.receipts()
    return None if receipts == ["r-1"] else f"receipts are {receipts}, not ['r-1']"


async def _what_failed_is_shown_again(stage: _Stage) -> str | None:
    """A reply the outside refused comes again, before the next one, and has no receipt until it was shown."""
    stage.adapter.fail_next()
    await stage.reply("r-1")
    await stage.reply("r-2")
    if not stage.adapter.shown() and await stage.receipts():
        return "a receipt was sent for a reply that was not shown"
    return await stage.shows("r-1", "r-2")


CHECKS: dict[str, Callable[[_Stage], Awaitable[str | None]]] = {
    "a customer's message arrives, signed": _messages_arrive,
    "a repeated message keeps its id": _repeats_keep_their_id,
    "replies are shown in order": _replies_are_shown_in_order,
    "a reply is shown once": _duplicates_are_not_shown,
    "a turn below the highest is not shown": _old_turns_are_not_shown,
    "replies of others are not shown": _others_replies_are_not_shown,
    "a final makes its drafts void": _drafts_are_void,
    "a receipt follows": _receipts_follow,
    "what failed is shown again": _what_failed_is_shown_again,
}


async def check(make: Callable[[], Harness], channel: str, patience_s: float = PATIENCE_S) -> None:
    """Run every check, each on a bus of its own. Raises NotConforming that lists what failed."""
    problems = []
    for name, one in CHECKS.items():
        async with _stage(make(), channel, patience_s) as stage:
            problem = await one(stage)
        if problem:
            problems.append(f"{name}: {problem}")
    if problems:
        raise NotConforming("\n".join(problems))


@asynccontextmanager
async def _stage(adapter: Harness, channel: str, patience_s: float) -> AsyncIterator[_Stage]:
    settings = Settings(bus="local")
    bus = LocalBus(None, shards=settings.shards, work_partitions=settings.work_partitions)
    await bus.start()
    entry = ChannelEntry.model_validate({"key": "a key for conformance only", "tenants": [TENANT]})
    channels = Channels(channels={channel: entry}, tenants={TENANT: TenantEntry(pack="none")})
    tandem = Tandem(Wiring(settings, bus=bus, channels=channels))
    await adapter.start(tandem, TENANT)
    try:
        yield _Stage(tandem, adapter, channel, patience_s)
    finally:
        await adapter.stop()
        await bus.stop()


async def _true(value: bool) -> bool:
    return value


async def _has(stage: _Stage, count: int) -> bool:
    return len(await stage.sent()) >= count


async def _receipt(stage: _Stage, reply: str) -> bool:
    return reply in await stage.receipts()
