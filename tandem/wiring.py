"""Wiring: the one place where a process's clients are built, each on first use from the settings, or given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tandem.channels import Channels, load_channels
from tandem.clock import Clock, SystemClock
from tandem.kill_points import Kill, armed
from tandem.settings import Settings

if TYPE_CHECKING:
    from tandem.bus.base import Bus
    from tandem.packs.registry import Packs
    from tandem.redis import Redis
    from tandem.rpc.ports import Memory, Models
    from tandem.vectors.base import Vectors


class Wiring:
    """Builds each client on first use and remembers it. What is given is used as it is, and closed by its giver.

    The embedded mode gives all services of the process the same wiring. `start` and `close` may be called repeatedly.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, **given: Any) -> None:
        """`given`: any of bus, redis, llm, memory, vectors, packs, channels."""
        unknown = given.keys() - {"bus", "redis", "llm", "memory", "vectors", "packs", "channels"}
        if unknown:
            raise TypeError(f"nothing is called {', '.join(sorted(unknown))}")
        self.settings = settings
        self.clock: Clock = clock or SystemClock(round(settings.clock_shift_s * 1000))
        self.kill: Kill = armed(settings.kill_point)
        self._clients: dict[str, Any] = {name: client for name, client in given.items() if client is not None}
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._bus_started = "bus" in self._clients

    def bus(self) -> Bus:
        bus: Bus = self._get("bus", self._build_bus)
        return bus

    def redis(self) -> Redis:
        redis: Redis = self._get("redis", self._build_redis)
        return redis

    def llm(self) -> Models:
        llm: Models = self._get("llm", self._build_llm)
        return llm

    def memory(self) -> Memory:
        memory: Memory = self._get("memory", self._build_memory)
        return memory

    def vectors(self) -> Vectors:
        vectors: Vectors = self._get("vectors", self._build_vectors)
        return vectors

    def packs(self) -> Packs:
        packs: Packs = self._get("packs", self._build_packs)
        return packs

    def channels(self) -> Channels:
        channels: Channels = self._get("channels", lambda: load_channels(self.settings.channels))
        return channels

    def give(self, name: str, client: object) -> None:
        """Use this client; its giver closes it."""
        self._clients[name] = client

    async def start(self) -> None:
        """Connect the bus, if anyone asked for it."""
        if "bus" in self._clients and not self._bus_started:
            await self.bus().start()
            self._bus_started = True

    async def close(self) -> None:
        """Close what was built here, the newest first."""
        while self._closers:
            await self._closers.pop()()

    def _get(self, name: str, build: Callable[[], Any]) -> Any:
        if name not in self._clients:
            self._clients[name] = build()
        return self._clients[name]

    def _build_bus(self) -> Bus:
        from tandem.bus.connect import connect

        bus = connect(self.settings, self.clock)
        self._closers.append(bus.stop)
        return bus

    def _build_redis(self) -> Redis:
        from tandem.redis import Redis

        redis = Redis(self.settings.redis_url, self.settings.prefix)
        self._closers.append(redis.close)
        return redis

    def _build_llm(self) -> Models:
        from tandem.rpc.clients import GrpcLlm
        from tandem.rpc.tls import tls_of

        token = self.settings.service_token.get_secret_value()
        client = GrpcLlm(self.settings.llm_gateway_target, token, tls_of(self.settings))
        self._closers.append(client.close)
        return client

    def _build_memory(self) -> Memory:
        from tandem.rpc.clients import GrpcMemory
        from tandem.rpc.tls import tls_of

        token = self.settings.service_token.get_secret_value()
        client = GrpcMemory(self.settings.memory_target, token, tls_of(self.settings))
        self._closers.append(client.close)
        return client

    def _build_vectors(self) -> Vectors:
        from tandem.vectors.connect import connect

        vectors = connect(self.settings)
        self._closers.append(vectors.close)
        return vectors

    def _build_packs(self) -> Packs:
        from tandem.packs.registry import Packs

        return Packs(self.settings.packs, self.settings.home / "packs")
