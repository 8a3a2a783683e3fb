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
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import derive_id
from tandem.errors import InvalidMessage, InvalidPack
from tandem.packs.registry import Packs
from tandem.rpc.metering import metered, usage_of
from tandem.rpc.ports import Llm
from tandem.sending import sent_by

GROUP = "memory-notes"
ENDS = frozenset({"resolved", "handed_over"})
RETRY_S = 30.0
"""After a model could not serve, none is asked for so long."""

OLD_MS = 3_600_000
"""A ticket that ended longer ago is let be: a new group of readers does not have the past read again."""

LATE_S, LOOK_S = 5.0, 0.1
"""The lines are written by another reader of the same events, which may be a little behind."""


class NoteTaker:
    """Handles `ticket.events`; all but the end of a ticket passes by."""

    def __init__(self, store: MemoryStore, packs: Packs, llm: Llm, clock: Clock, seconds: float) -> None:
        """`seconds`: for one ticket's notes, both attempts together."""
        self._store = store
        self._packs = packs
        self._llm = llm
        self._clock = clock
        self._seconds = seconds
        self._after = 0.0

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        events = delivery.message
        if not isinstance(events, TicketEvents):
            raise InvalidMessage("unexpected-type", f"{delivery.envelope.type} on ticket.events")
        telemetry.bind(conversation=events.conversation, ticket=events.ticket)
        ended = any(event.kind in ENDS and event.status != "confirmed" for event in events.events)
        old = events.at < self._clock.now() - OLD_MS
        if not ended or old or self._clock.boot() < self._after:
            return []
        limit = self._limit(events)
        lines = await self._lines(events) if limit is not None else None
        if limit is None or not lines or not any(line.who == "customer" for line in lines):
            return []
        return await self._noted(events, lines, limit)

    async def _noted(self, events: TicketEvents, lines: Sequence[Said], limit: Cost) -> list[Outgoing]:
        id_ = derive_id("notes", events.ticket, events.version)
        grant = derive_id("grant", id_)
        account = Account(tenant=events.tenant, ticket=events.ticket, grant=grant, limit=limit, seconds=self._seconds)
        with metered() as responses:
            said = await ask(self._llm, notes.question(lines), account)
        if said.value is None and said.cost == Cost():
            self._after = self._clock.boot() + RETRY_S
            return []
        noted = TicketNoted(
            tenant=events.tenant,
            conversation=events.conversation,
            ticket=events.ticket,
            id=id_,
            summary=said.value.summary if said.value else "",
            facts=said.value.facts if said.value else (),
            cost=said.cost,
            prompt=said.prompt,
            usage=usage_of(responses),
        )
        return [self._send(noted)]

    def _limit(self, events: TicketEvents) -> Cost | None:
        """What the notes may cost: of what the pack allows a step with a model, as much as the ticket has left; None: nothing."""
        try:
            pack = self._packs.get(events.pack)
        except InvalidPack:
            return None
        left, most = pack.budget - events.spent, pack.reserve_model
        if left.calls < 1 or left.tokens < 1:
            return None
        return Cost(
            calls=min(left.calls, most.calls),
            tokens=min(left.tokens, most.tokens),
            micros=max(1, min(left.micros, most.micros)),
        )

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
