"""All seven services in one process: local bus (or Kafka), a private Redis, Qdrant's engine, small models on the CPU."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from services.llm_gateway.app import build_gateway
from services.llm_gateway.handlers import Gateway
from services.llm_gateway.settings import LlmGatewaySettings
from services.memory.app import build_notes, build_reader, build_store
from services.memory.settings import MemorySettings
from services.memory.store import MemoryStore
from tandem.channels import load_channels, write_channels
from tandem.clock import Clock
from tandem.contracts.topics import SERVICES, TOPICS
from tandem.errors import InvalidSettings
from tandem.packs.registry import Packs
from tandem.redis import PrivateRedis, Redis, private_redis
from tandem.rpc.inprocess import InProcessLlm, InProcessMemory
from tandem.service import Component, Service, calm_collector
from tandem.settings import Settings, read_settings
from tandem.wiring import Wiring

logger = logging.getLogger(__name__)

CHANNELS = ("cli", "demo", "webhook")
TENANT = "acme"
SERVED_BY_CALL = ("memory", "llm_gateway")
"""Services that answer calls: in one process they are called without a wire."""

Say = Callable[[str], None]
S = TypeVar("S", bound=Settings)


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """One platform in a home at a time, until its process ends however. Raises InvalidSettings if another is there."""
    with (home / "platform.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidSettings(
                f"a platform runs in {home} already; use it, stop it, or name another home (--home, TANDEM_HOME)"
            ) from None
        yield


def own_gateway(settings: Settings) -> Gateway:
    """llm_gateway in this process, without a server."""
    return build_gateway(read_settings(LlmGatewaySettings, **settings.model_dump(exclude_unset=True)))


class Platform:
    """The platform as one object: `async with Platform(settings) as platform: …`.

    With `TANDEM_REDIS_URL` set it uses that Redis; otherwise it starts a private one in its home.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, say: Say = lambda text: None, **overrides: Any
    ) -> None:
        """`overrides`: fields of the services' own settings."""
        self.settings = settings.model_copy(update={"http_port": None})
        self.redis_server: PrivateRedis | None = None
        self._clock = clock
        self._say = say
        self._overrides = overrides
        self._stack = contextlib.AsyncExitStack()
        self._services: list[Service] = []
        self._wiring: Wiring | None = None

    @property
    def wiring(self) -> Wiring:
        if self._wiring is None:
            raise InvalidSettings("the platform is not started; use `async with Platform(settings)`")
        return self._wiring

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def wait(self) -> None:
        """Return when a service has ended by itself; raises what it raised."""
        waiting = [asyncio.ensure_future(service.wait()) for service in self._services]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waiting:
                task.cancel()

    async def _start(self) -> None:
        calm_collector()
        settings = self.settings
        settings.home.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(alone(settings.home))
        packs = Packs(settings.packs, settings.home / "packs")
        channels = self._channels(packs)
        gateway = own_gateway(settings)
        self._stack.push_async_callback(gateway.close)
        wiring = Wiring(
            settings,
            clock=self._clock,
            redis=await self._redis(),
            packs=packs,
            channels=channels,
            llm=InProcessLlm(gateway),
        )
        self._stack.push_async_callback(wiring.close)
        wiring.bus()
        self._wiring = wiring
        await self._start_bus(wiring)
        store = build_store(self._settings_of(MemorySettings), wiring)
        memory = Service("memory", wiring, self._memory(wiring, store))
        wiring.give("memory", InProcessMemory(store))
        for service in [memory, *(self._build(name, wiring) for name in SERVICES if name not in SERVED_BY_CALL)]:
            await service.start()
            self._services.append(service)
            self._stack.push_async_callback(service.stop, settings.drain_s)

    def _memory(self, wiring: Wiring, store: MemoryStore) -> list[Component]:
        """What writes the store; notes are taken where a model can be asked."""
        settings, gateway = self._settings_of(MemorySettings), self._settings_of(LlmGatewaySettings)
        components: list[Component] = [build_reader(settings, wiring, store)]
        if settings.memory_model_s > 0 and (gateway.llm_base_url or gateway.llm_pools or gateway.llm_replay):
            components.append(build_notes(settings, wiring, store))
        return components

    async def _start_bus(self, wiring: Wiring) -> None:
        """Create what is missing, then connect."""
        await wiring.bus().create_topics(list(TOPICS.values()))
        await wiring.start()

    def _channels(self, packs: Packs) -> Any:
        """channels.yaml, written on the first start: the first tenant has the first pack, each pack a tenant of its name."""
        path = self.settings.channels
        if path.exists():
            return load_channels(path)
        names = packs.names()
        if not names:
            raise InvalidSettings(f"no pack in {self.settings.packs}; `tandem pack new NAME` makes one")
        self._say(f"writing {path}")
        return write_channels(path, CHANNELS, {TENANT: names[0], **{name: name for name in names}})

    async def _redis(self) -> Redis:
        settings = self.settings
        if "redis_url" in settings.model_fields_set:
            redis = Redis(settings.redis_url, settings.prefix)
        else:
            self.redis_server = await private_redis(settings.home)
            self._stack.push_async_callback(self.redis_server.stop)
            redis = Redis(self.redis_server.url, settings.prefix)
        self._stack.push_async_callback(redis.close)
        return redis

    def _settings_of(self, kind: type[S]) -> S:
        """A service's settings: the deployment's, and its own from the environment or the overrides."""
        own = {name: value for name, value in self._overrides.items() if name in kind.model_fields}
        return read_settings(kind, **{**self.settings.model_dump(exclude_unset=True), "http_port": None, **own})

    def _build(self, name: str, wiring: Wiring) -> Service:
        module = importlib.import_module(f"services.{name}.settings")
        kind = next(
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
        )
        service: Service = importlib.import_module(f"services.{name}.app").build(self._settings_of(kind), wiring)
        return service
