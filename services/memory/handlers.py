"""How memory hears (`ticket.events`) and how it is asked (gRPC)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from services.memory.figures import COUNTED, count
from services.memory.projection import project
from services.memory.store import MemoryStore
from tandem import telemetry
from tandem.bus.base import Outgoing, Record
from tandem.bus.consume import Delivery
from tandem.contracts.events import KINDS_HEADER, TicketEvents
from tandem.contracts.values import Millis
from tandem.errors import InvalidMessage
from tandem.rpc.ports import Memory
from tandem.rpc.server import answer
from tandem.rpc.v1 import memory_pb2, memory_pb2_grpc


def having(kinds: frozenset[str]) -> Callable[[Record], bool]:
    """Whether a record of `ticket.events` may have an event of these kinds, by its header alone."""

    def may(record: Record) -> bool:
        told = record.header(KINDS_HEADER)
        return told is None or not kinds.isdisjoint(told.decode(errors="replace").split(","))

    return may


class Projector:
    """Writes each event to one generation of the store. While Redis is away the loop holds it: order matters."""

    def __init__(self, store: MemoryStore, generation: str, since: Millis) -> None:
        self._store = store
        self._generation = generation
        self._since = since  # what is older was counted when it happened

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        events = delivery.message
        if not isinstance(events, TicketEvents):
            raise InvalidMessage("unexpected-type", f"{delivery.envelope.type} on ticket.events")
        telemetry.bind(conversation=events.conversation, ticket=events.ticket)
        update = project(events)
        matters = update.matters or any(event.kind in COUNTED for event in events.events)
        added = matters and await self._store.write(self._generation, events, update)
        if added and events.at >= self._since:
            count(events)
        return []


class MemoryServicer(memory_pb2_grpc.MemoryServicer):
    """gRPC in front of the Memory port."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def Conversation(  # noqa: N802
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        async def work(left: float) -> Any:
            lines = await self._memory.conversation(request.tenant, request.conversation, request.limit, left)
            return memory_pb2.ConversationReply(
                lines=[memory_pb2.Line(who=line.who, text=line.text, at=line.at) for line in lines]
            )

        return await answer(context, work)

    async def Customer(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        async def work(left: float) -> Any:
            known = await self._memory.customer(request.tenant, request.conversation, left)
            tickets = [memory_pb2.PastTicket(**ticket) for ticket in known["tickets"]]
            facts = [memory_pb2.Known(**fact) for fact in known["known"]]
            return memory_pb2.CustomerReply(facts_json=json.dumps(known["facts"]), tickets=tickets, known=facts)

        return await answer(context, work)
