"""How memory hears (`ticket.events`) and how it is asked (gRPC)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import grpc

from services.memory.projection import project
from services.memory.store import MemoryStore
from tandem.bus.base import Outgoing
from tandem.bus.consume import Delivery
from tandem.clock import Clock
from tandem.contracts.events import TicketEvents
from tandem.errors import IndexUnavailable, InvalidMessage
from tandem.rpc.ports import Memory
from tandem.rpc.server import answer
from tandem.rpc.v1 import memory_pb2, memory_pb2_grpc

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


class Projector:
    """Writes each event to the store. While Redis is away it waits: order matters, and nothing else is delayed by it."""

    def __init__(self, store: MemoryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        events = delivery.message
        if not isinstance(events, TicketEvents):
            raise InvalidMessage("unexpected-type", f"{delivery.envelope.type} on ticket.events")
        update = project(events)
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._store.write(events.tenant, events.conversation, events.version, update)
                return []
            except IndexUnavailable as error:
                logger.warning("store is away", extra={"error": str(error), "pause_s": pause})
                await self._clock.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)


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
            return memory_pb2.CustomerReply(facts_json=json.dumps(known["facts"]), tickets=tickets)

        return await answer(context, work)
