"""What crossed the platform's edges: replies, work for people, events for exports, dead letters. Nothing else is read."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from tandem.bus.base import Bus, Record
from tandem.chaos.poison import MARK
from tandem.client.seen import Seen
from tandem.contracts.customer import Reply
from tandem.contracts.events import ExpertTask, TicketEvents
from tandem.contracts.message import Envelope, Message, read_body, read_envelope
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import CUSTOMER_REPLIES, DEAD_LETTERS, EXPERT_TASKS, TICKET_EVENTS
from tandem.contracts.values import Millis
from tandem.errors import InvalidMessage, RetryableError

TOPICS: Final = (CUSTOMER_REPLIES.name, EXPERT_TASKS.name, TICKET_EVENTS.name, DEAD_LETTERS.name)
LOOK_S: Final = 0.05

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record as it was seen."""

    at: Millis  # append time
    topic: str
    about: str  # what only one record may be: a reply's place in its turn, a version of a ticket
    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """A reply that a customer was shown."""

    at: Millis
    reply: Reply


@dataclass(slots=True)
class Edges:
    """Everything seen since the plan began."""

    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))  # by conversation
    tasks: dict[str, ExpertTask] = field(default_factory=dict)  # by id, as they stand now
    versions: list[Sighting] = field(default_factory=list)
    dead: list[Record] = field(default_factory=list)
    asked: dict[str, Millis] = field(default_factory=dict)  # when a conversation's first question was decided
    spent: dict[str, tuple[str, Cost]] = field(
        default_factory=dict
    )  # by ticket: its conversation, and the most it said
    records: int = 0

    def dead_marks(self) -> set[str]:
        """Marks of the hostile records that lie among the dead letters."""
        return {mark.decode() for record in self.dead if (mark := record.header(MARK)) is not None}

    def waiting_for_a_person(self) -> set[str]:
        """Conversations with an open task."""
        return {task.conversation for task in self.tasks.values() if task.state == "open"}


class Watch:
    """Reads the edges from now on, and wakes those who wait for a conversation."""

    def __init__(self, bus: Bus) -> None:
        self.edges = Edges()
        self._bus = bus
        self._seen = Seen(1_000_000)
        self._places: dict[tuple[str, int], int] = {}
        self._news: dict[str, asyncio.Event] = {}

    async def start(self) -> asyncio.Task[None]:
        for topic in TOPICS:
            for partition in range(self._bus.partitions(topic)):
                self._places[topic, partition] = await self._bus.end(topic, partition)
        return asyncio.create_task(self._run(), name="watch")

    def news(self, conversation: str) -> asyncio.Event:
        """Set when something was seen of the conversation."""
        return self._news.setdefault(conversation, asyncio.Event())

    def forget(self, conversation: str) -> None:
        self._news.pop(conversation, None)

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except RetryableError as error:
                logger.info("the edges cannot be read now", extra={"error": str(error)})
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        for (topic, partition), start in self._places.items():
            async for batch in self._bus.read(topic, partition, start):
                for record in batch:
                    self._note(record)
                self._places[topic, partition] = batch[-1].offset + 1

    def _note(self, record: Record) -> None:
        self.edges.records += 1
        if record.topic == DEAD_LETTERS.name:
            self.edges.dead.append(record)
            return
        found = _read(record)
        if found is None:
            return
        conversation = ""
        match found[1]:
            case Reply() as reply:
                conversation = reply.conversation
                self._reply(record, reply)
            case ExpertTask() as task:
                conversation = task.conversation
                self.edges.tasks[task.id] = task
            case TicketEvents() as events:
                self._sighted(record, f"{events.ticket}/{events.version}", found[0].id)
                self._spent(events)
                if any(event.kind == "question_asked" for event in events.events):
                    self.edges.asked.setdefault(events.conversation, events.at)
        if event := self._news.get(conversation):
            event.set()

    def _reply(self, record: Record, reply: Reply) -> None:
        if reply.state == "final":
            self._sighted(record, f"{reply.ticket}/{reply.turn}/{reply.seq}", reply.id)
            if self._seen.admit(reply):
                self.edges.told[reply.conversation].append(Told(record.timestamp, reply))

    def _spent(self, events: TicketEvents) -> None:
        _, before = self.edges.spent.get(events.ticket, ("", Cost()))
        now = events.spent
        most = Cost(
            calls=max(before.calls, now.calls),
            tokens=max(before.tokens, now.tokens),
            micros=max(before.micros, now.micros),
        )
        self.edges.spent[events.ticket] = (events.conversation, most)

    def _sighted(self, record: Record, about: str, id: str) -> None:
        self.edges.versions.append(Sighting(record.timestamp, record.topic, about, id, record.value or b""))


def _read(record: Record) -> tuple[Envelope, Message] | None:
    """None for what no reader of this version could show."""
    try:
        envelope = read_envelope(record.headers)
        return envelope, read_body(envelope.type, record.value)
    except InvalidMessage:
        return None
