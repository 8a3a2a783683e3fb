"""The processes of a simulated deployment, and what befalls them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from services.executor.settings import ExecutorSettings
from services.function_agent.settings import FunctionAgentSettings
from services.memory.app import build_notes, build_reader, build_store
from services.memory.settings import MemorySettings
from services.planner.core import OwnerPolicy
from services.planner.decide import decide, quarantine
from services.planner.handlers import HANDLERS
from services.planner.owner import Owner
from services.planner.settings import PlannerSettings
from services.rag_agent.settings import RagAgentSettings
from services.router.settings import RouterSettings
from tandem.agent import agent_loop
from tandem.channels import Channels
from tandem.chaos.simulation.broker import SESSION_S, Broker
from tandem.chaos.simulation.index import ProcessRedis, Store
from tandem.chaos.simulation.knowledge import Shelf, ShelfEngine
from tandem.chaos.simulation.loop import Killed, Process, VirtualLoop
from tandem.chaos.simulation.model import Away, Thinker
from tandem.chaos.simulation.network import Network, ProcessBus
from tandem.chaos.simulation.world import World
from tandem.clock import Clock
from tandem.contracts.topics import TICKET_STATE
from tandem.packs.registry import Packs
from tandem.service import Service
from tandem.settings import Settings
from tandem.vectors.hybrid import HybridVectors
from tandem.wiring import Wiring

TOOLS = "tandem.chaos.simulation.world"
CAST = ("router", "planner", "planner", "executor", "executor", "function_agent", "rag_agent", "memory")
"""Two of those whose places are contested. `look` leaves its argument to function_agent."""

CACHED = 1
"""Tickets an owner remembers of a shard: the others it reads from Redis each time."""

SETTINGS: dict[str, Callable[..., Settings]] = {
    "router": RouterSettings,
    "planner": PlannerSettings,
    "executor": ExecutorSettings,
    "function_agent": FunctionAgentSettings,
    "rag_agent": RagAgentSettings,
    "memory": MemorySettings,
}
OWN: dict[str, dict[str, Any]] = {
    "executor": {"python_tools": (TOOLS,), "call_window_ms": 1_500, "grace_ms": 800},
    "planner": {"role": "both"},
}


class Member:
    """One place in the deployment: a process, and after its death another one."""

    def __init__(self, service: str, number: int, stage: Stage) -> None:
        self.name = f"{service}-{number}"
        self.service = service
        self._stage = stage
        self.process = Process(self.name)
        self.bus: ProcessBus | None = None
        self.ended: list[str] = []

    @property
    def up(self) -> bool:
        return self.process.alive

    def start(self) -> None:
        stage = self._stage
        self.process = Process(self.name, self.process.life + 1)
        self.bus = ProcessBus(stage.network, self.process)
        self.process.context.run(stage.world.enter)
        own = OWN.get(self.service, {})
        settings = SETTINGS[self.service](
            home=stage.home, packs=stage.home / "packs", http_port=None, shards=stage.shards, work_partitions=2, **own
        )
        wiring = Wiring(
            settings,
            clock=stage.clock,
            bus=self.bus,
            redis=ProcessRedis(stage.network, stage.store, self.process),
            llm=Thinker(stage.network),
            memory=Away(),
            vectors=HybridVectors(ShelfEngine(stage.network, stage.shelf)),
            packs=stage.packs,
            channels=stage.channels,
        )
        wiring.kill = self._at_point
        self.process.context.run(lambda: self.process.spawn(self._serve(settings, wiring)))

    async def _serve(self, settings: Settings, wiring: Wiring) -> None:
        try:
            service = self._build(settings, wiring)
            await service.start()
            await service.wait()
        except Exception as error:  # noqa: BLE001 - as an orchestrator sees it: the process ended, and another is started
            self.ended.append(repr(error))
        self._stage.ended(self)

    def _build(self, settings: Any, wiring: Wiring) -> Service:
        if self.service == "planner":
            policy = OwnerPolicy(cached_tickets=CACHED, commit_s=0.01)
            bus, packs = wiring.bus(), wiring.packs()
            owner = Owner(bus, wiring.redis(), packs, decide, quarantine, wiring.clock, policy, wiring.kill)
            clients = {"packs": packs, "llm": wiring.llm(), "memory": wiring.memory()}
            worker = agent_loop("planner", HANDLERS, wiring, **clients)
            return Service("planner", wiring, [owner, worker])
        if self.service == "memory":
            store = build_store(settings, wiring)
            notes = build_notes(settings, wiring, store)
            return Service("memory", wiring, [build_reader(settings, wiring, store), notes])
        service: Service = importlib.import_module(f"services.{self.service}.app").build(settings, wiring)
        return service

    def _at_point(self, point: str) -> None:
        """A named point of a protocol: now and then the process dies right there."""
        if self.process.alive and self._stage.dies_at(point):
            self.kill()
            raise Killed(point)

    def kill(self) -> None:
        self.process.kill()
        self._stage.ended(self)

    async def freeze(self, seconds: float) -> None:
        """The process stands still, perhaps for longer than its session lasts."""
        frozen, bus = self.process, self.bus
        frozen.frozen = True
        if seconds > SESSION_S and bus is not None:
            await asyncio.sleep(SESSION_S)
            bus.session_over()
            await asyncio.sleep(seconds - SESSION_S)
        else:
            await asyncio.sleep(seconds)
        frozen.frozen = False


class Stage:
    """All members, the network between them, and the director of their misfortunes."""

    def __init__(
        self, loop: VirtualLoop, clock: Clock, home: Path, packs: Packs, channels: Channels, random: Random
    ) -> None:
        self.shards = 2
        self.home = home
        self.clock = clock
        self.packs = packs
        self.channels = channels
        self.random = random
        self.loop = loop
        self.broker = Broker(clock, self.shards, 2)
        self.network = Network(self.broker, random)
        self.store = Store()
        self.world = World(self.network)
        self.shelf = Shelf()
        self.members = [Member(service, number, self) for number, service in enumerate(CAST)]
        self.faults: list[str] = []
        self._misfortune = 0.0

    def start(self) -> None:
        for member in self.members:
            member.start()

    def dies_at(self, point: str) -> bool:
        if self.random.random() >= self._misfortune:
            return False
        self._happened(f"died at {point}")
        return True

    def ended(self, member: Member) -> None:
        """The broker hears no more of it; somebody starts another one."""
        self.network.outside(self._replace(member))

    async def _replace(self, member: Member) -> None:
        bus, process = member.bus, member.process
        process.kill()
        await asyncio.sleep(self.random.uniform(0.1, SESSION_S))
        if bus is not None:
            bus.session_over()
        await asyncio.sleep(self.random.uniform(0.1, 2))
        if member.process is process:
            member.start()

    async def misfortunes(self, seconds: float) -> None:
        """Faults of all kinds for so long; then the weather is calm and everybody lives."""
        self._misfortune = 0.002
        until = self.loop.time() + seconds
        acts = (self._kill, self._freeze, self._flush, self._lose, self._compact, self._jump, self._storm)
        while self.loop.time() < until:
            await asyncio.sleep(self.random.uniform(1, 8))
            await self.random.choice(acts)()
        self._misfortune = 0.0
        self.network.weather.calm()

    def _happened(self, what: str) -> None:
        self.faults.append(f"{self.loop.time():.3f} {what}")
        self.broker.note(what)

    async def _kill(self) -> None:
        member = self.random.choice(self.members)
        if member.up:
            self._happened(f"kill {member.name}")
            member.kill()

    async def _freeze(self) -> None:
        member, seconds = self.random.choice(self.members), self.random.uniform(0.5, 9)
        if member.up and not member.process.frozen:
            self._happened(f"freeze {member.name} for {seconds:.1f} s")
            self.network.outside(member.freeze(seconds))

    async def _flush(self) -> None:
        self._happened("flush Redis")
        self.store.flush()

    async def _lose(self) -> None:
        count = self.random.randint(1, 12)
        self._happened(f"Redis loses its last {count} writes")
        self.store.lose(min(count, self.store.writes))

    async def _compact(self) -> None:
        self._happened("compact")
        await self.broker.compact(TICKET_STATE.name, keep_tombstones_ms=60_000)

    async def _jump(self) -> None:
        seconds = self.random.uniform(1, 60)
        self._happened(f"{seconds:.1f} s pass at once")
        self.loop.jump(seconds)

    async def _storm(self) -> None:
        self._happened("storm")
        self.network.weather.storm()
        await asyncio.sleep(self.random.uniform(0.5, 4))
        self.network.weather = type(self.network.weather)()
