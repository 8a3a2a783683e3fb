"""What is seen of conversations from outside: replies, events and experts' tasks, as they cross the bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem.bus.base import Consumer, Record
from tandem.contracts.customer import CardPart, Reply
from tandem.contracts.events import Event, ExpertTask, TicketEvents
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import CUSTOMER_REPLIES, EXPERT_TASKS, TICKET_EVENTS
from tandem.wiring import Wiring

AT_REST = frozenset({"awaiting_customer", "awaiting_expert", "resolved", "handed_over", "closed"})


@dataclass
class Case:
    """One conversation, as an onlooker knows it."""

    conversation: str
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    said: list[tuple[str, str]] = field(default_factory=list)  # (message id, text) of the customer
    replies: list[Reply] = field(default_factory=list)
    cards: dict[str, CardPart] = field(default_factory=dict)
    drafts: list[Reply] = field(default_factory=list)  # answers while they were written
    events: list[Event] = field(default_factory=list)
    taken_in: set[str] = field(default_factory=set)  # ids of messages that reached the ticket
    tasks: dict[str, ExpertTask] = field(default_factory=dict)
    ticket: str = ""
    version: int = 0
    owner: str = "bot"
    status: str = ""
    spent: Cost = field(default_factory=Cost)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, message: object) -> None:
        """Take in what was published; a second copy changes nothing."""
        match message:
            case Reply() if message.state == "final":
                if all(reply.id != message.id for reply in self.replies):
                    self.replies.append(message)
            case Reply():
                cards = {part.card: part for part in message.parts if part.kind == "card"}
                self.cards.update(cards)
                self.drafts += [] if cards else [message]
            case TicketEvents() if message.ticket != self.ticket or message.version > self.version:
                self._follow(message)
            case ExpertTask():
                self.tasks[message.id] = message
        self.changed.set()

    def _follow(self, message: TicketEvents) -> None:
        self.ticket, self.version = message.ticket, message.version
        self.owner, self.status, self.spent = message.owner, message.status, message.spent
        self.events += message.events
        self.taken_in |= {event.name for event in message.events if event.kind == "message_received" and event.name}

    @property
    def at_rest(self) -> bool:
        """Everything sent was taken in, nothing is under way, and what was said has arrived."""
        promised = sum(event.kind == "reply_sent" for event in self.events)
        arrived = all(id in self.taken_in for id, _ in self.said)
        return arrived and self.status in AT_REST and len(self.replies) >= promised

    @property
    def questions(self) -> list[str]:
        return [reply.question for reply in self.replies if reply.question]

    @property
    def open_approvals(self) -> list[ExpertTask]:
        kinds = ("approve", "suggestion", "unknown_outcome")
        return [task for task in self.tasks.values() if task.state == "open" and task.kind in kinds]

    @property
    def effects(self) -> set[str]:
        """Effect ids that this conversation asked for."""
        return {event.effect for event in self.events if event.effect}

    async def until(self, condition: Callable[[Case], bool], seconds: float) -> bool:
        """Wait until it holds; False if it does not in time."""
        try:
            async with asyncio.timeout(seconds):
                while not condition(self):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True


class Onlooker:
    """Follows the bus into cases, as a group of its own."""

    def __init__(self, wiring: Wiring, group: str) -> None:
        self._wiring = wiring
        self._group = group
        self._cases: dict[str, Case] = {}
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None

    def case(self, conversation: str) -> Case:
        return self._cases.setdefault(conversation, Case(conversation))

    async def start(self) -> None:
        topics = [CUSTOMER_REPLIES.name, TICKET_EVENTS.name, EXPERT_TASKS.name]
        self._consumer = await self._wiring.bus().consumer(self._group, topics)
        self._task = asyncio.create_task(self._follow(self._consumer), name="onlooker")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.close()

    async def _follow(self, consumer: Consumer) -> None:
        while True:
            for record in await consumer.poll(500, 1.0):
                self._note(record)

    def _note(self, record: Record) -> None:
        envelope = read_envelope(record.headers)
        case = self._cases.get(envelope.subject)
        if case is not None:
            case.note(read_body(envelope.type, record.value))
