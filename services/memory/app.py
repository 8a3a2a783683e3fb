"""Composition of memory."""

from __future__ import annotations

import grpc

from services.memory.handlers import MemoryServicer
from services.memory.reader import EventsReader
from services.memory.settings import MemorySettings
from services.memory.store import MemoryStore
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.v1 import memory_pb2_grpc
from tandem.service import Service
from tandem.wiring import Wiring


def build_store(settings: MemorySettings, wiring: Wiring) -> MemoryStore:
    """The Memory port over this process's Redis: the embedded mode reads it without a wire."""
    return MemoryStore(wiring.redis(), settings.memory_days)


def build_reader(settings: MemorySettings, wiring: Wiring, store: MemoryStore) -> EventsReader:
    """What writes the store."""
    return EventsReader(wiring.bus(), store, wiring.clock, settings.max_in_flight, kill=wiring.kill)


def build(settings: MemorySettings, wiring: Wiring) -> Service:
    """The service: the projection and the gRPC server that reads it."""
    store = build_store(settings, wiring)

    def register(server: grpc.aio.Server) -> None:
        memory_pb2_grpc.add_MemoryServicer_to_server(MemoryServicer(store), server)

    listen = Listen(
        host=settings.memory_host, port=settings.memory_port, token=settings.service_token.get_secret_value()
    )
    server = GrpcServer(listen, register, ("tandem.rpc.v1.Memory",))
    return Service("memory", wiring, [build_reader(settings, wiring, store), server], {"redis": store.ping})
