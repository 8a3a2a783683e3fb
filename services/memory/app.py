"""Composition of memory."""

from __future__ import annotations

from functools import partial

import grpc

from services.memory.handlers import MemoryServicer, having
from services.memory.noting import GROUP, NoteTaker
from services.memory.reader import EventsReader
from services.memory.settings import MemorySettings
from services.memory.store import MemoryStore
from tandem import telemetry
from tandem.bus.consume import ConsumeLoop, LoopPolicy
from tandem.contracts.events import ENDS
from tandem.contracts.topics import TICKET_EVENTS
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.tls import tls_of
from tandem.rpc.v1 import memory_pb2_grpc
from tandem.service import Component, Service, answer_at_once
from tandem.wiring import Wiring


def build_store(settings: MemorySettings, wiring: Wiring) -> MemoryStore:
    """The Memory port over this process's Redis: the embedded mode reads it without a wire."""
    return MemoryStore(wiring.redis(), settings.memory_days, wiring.clock)


def build_reader(settings: MemorySettings, wiring: Wiring, store: MemoryStore) -> EventsReader:
    """What writes the store."""
    return EventsReader(wiring.bus(), store, wiring.clock, settings.max_in_flight, kill=wiring.kill)


def build_notes(settings: MemorySettings, wiring: Wiring, store: MemoryStore) -> ConsumeLoop:
    """What has a model read tickets that came to an end. Its group outlives the store: no ticket is read twice."""
    taker = NoteTaker(store, wiring.llm(), wiring.clock, settings.memory_model_s)
    return ConsumeLoop(
        wiring.bus(),
        group=GROUP,
        topics=[TICKET_EVENTS],
        handler=taker,
        policy=LoopPolicy(max_in_flight=settings.max_in_flight, ordered=False, wanted=having(ENDS)),
        clock=wiring.clock,
        name="memory",
        around=partial(telemetry.consume_span, name="memory"),
        kill=wiring.kill,
    )


def build(settings: MemorySettings, wiring: Wiring) -> Service:
    """The service: the projection, the gRPC server that reads it, and what takes notes."""
    store = build_store(settings, wiring)

    def register(server: grpc.aio.Server) -> None:
        memory_pb2_grpc.add_MemoryServicer_to_server(MemoryServicer(store), server)

    token = settings.service_token.get_secret_value()
    listen = Listen(host=settings.memory_host, port=settings.memory_port, token=token, tls=tls_of(settings))
    server = GrpcServer(listen, register, ("tandem.rpc.v1.Memory",))
    components: list[Component] = [build_reader(settings, wiring, store), server]
    if settings.memory_model_s > 0:
        components.append(build_notes(settings, wiring, store))
    return Service("memory", wiring, components, {"redis": store.ping}, tune=answer_at_once)
