"""When a ticket has come to an end, a model is asked for notes of it. They go to the ticket's owner like any agent's answer:
what they cost is the ticket's, and its events keep them, so that a lost store is built again without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence

from services.memory import notes
from services.memory.projection import Said
from services.memory.store import MemoryStore
from tandem import telemetry
from tandem.asking import Account, ask
from tandem.bus.base import Outgoing
from tandem.bus.consume import Delivery
from tandem.clock import Clock
from tandem.contracts.events import TicketEvents
from tandem.contracts.inbox import TicketNoted
from tandem.contracts.ticket import Cost, SetAside
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import derive_id
from tandem.errors import InvalidMessage
from tandem.rpc.metering import metered, usage_of
from tandem.rpc.ports import Llm
from tandem.sending import sent_by

GROUP = "memory-notes"
RETRY_S = 30.0
"""After a model could not serve, none is asked for so long."""

LATE_S, LOOK_S = 5.0, 0.1
"""The lines are written by another reader of the same events, which may be a little behind."""


class NoteTaker:
    """Handles `ticket.events`; all but the end of a ticket passes by."""

    def __init__(self, store: MemoryStore, llm: Llm, clock: Clock, seconds: float) -> None:
        """`seconds`: for one ticket's notes, both attempts together."""
        self._store = store
        self._llm = llm
        self._clock = clock
        self._seconds = seconds
        self._after = 0.0

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        events = delivery.message
        if not isinstance(events, TicketEvents):
            raise InvalidMessage("unexpected-type", f"{delivery.envelope.type} on ticket.events")
        telemetry.bind(conversation=events.conversation, ticket=events.ticket)
        set_aside = events.notes
        if set_aside is None or self._too_late(set_aside) or self._clock.boot() < self._after:
            return []
        lines = await self._lines(events)
        if not lines or not any(line.who == "customer" for line in lines):
            return []
        return await self._noted(events, lines, set_aside)

    async def _noted(self, events: TicketEvents, lines: Sequence[Said], set_aside: SetAside) -> list[Outgoing]:
        account = Account(
            tenant=events.tenant,
            ticket=events.ticket,
            grant=derive_id("grant", set_aside.id),
            limit=set_aside.cost.changed(micros=max(1, set_aside.cost.micros)),  # zero sets no limit
            seconds=self._seconds,
        )
        with metered() as responses:
            said = await ask(self._llm, notes.question(lines), account)
        if said.value is None and said.cost == Cost():
            self._after = self._clock.boot() + RETRY_S
            return []
        noted = TicketNoted(
            tenant=events.tenant,
            conversation=events.conversation,
            ticket=events.ticket,
            id=set_aside.id,
            summary=said.value.summary if said.value else "",
            facts=said.value.facts if said.value else (),
            cost=said.cost,
            prompt=said.prompt,
            usage=usage_of(responses),
        )
        return [self._send(noted)]

    def _too_late(self, set_aside: SetAside) -> bool:
        """Whether the notes might come when their cost is no longer reserved: an older end is let be."""
        return self._clock.now() + (LATE_S + self._seconds) * 1000 > set_aside.until

    async def _lines(self, events: TicketEvents) -> list[Said] | None:
        until = self._clock.boot() + LATE_S
        while self._clock.boot() < until:
            lines = await self._store.said(events.tenant, events.conversation, events.ticket, events.version)
            if lines is not None:
                return lines
            await self._clock.sleep(LOOK_S)
        return None

    def _send(self, message: TicketNoted) -> Outgoing:
        return sent_by("memory", TICKET_INBOX.name, message, message.id, self._clock.now())
