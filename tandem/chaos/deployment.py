"""Everything that a plan runs on: brokers, Redis, the business system, and the services as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import shutil
import sys
import urllib.request
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tandem.channels import write_channels
from tandem.chaos.brokers import KafkaServer, free_port, start_cluster, stop_all
from tandem.chaos.load import CHANNEL, TENANT
from tandem.chaos.members import Exit, Member
from tandem.chaos.plan import Plan
from tandem.chaos.redis_servers import RedisServers
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import SERVICES, TOPICS
from tandem.errors import InvalidSettings
from tandem.settings import Settings
from tandem.wiring import Wiring

CUSTOMERS = 20_000
SESSION_S = 3
SHARDS = 4
PACK = "cloud_support"
TEXT = re.compile(r'"text": "([^"]+)"')


class Deployment:
    """`async with Deployment(folder, jars=…) as deployment`. Kept warm: plans run on it one after the other."""

    def __init__(
        self,
        folder: Path,
        packs: Path,
        *,
        bootstrap: str = "",
        jars: Path | None = None,
        brokers: int = 1,
        customers: int = CUSTOMERS,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`jars`: of Kafka, to start so many brokers of its own; without, `bootstrap` must name some. `env`: settings of
        the services besides those that follow from the deployment."""
        self.folder = folder
        self.customers = customers
        self.next_customer = 0
        self.exits: list[Exit] = []
        self.brokers: list[KafkaServer] = []
        self.redis = RedisServers(folder / "redis")
        self.members: dict[str, Member] = {}
        self.business_url = f"http://127.0.0.1:{free_port()}"
        self._packs = packs
        self._bootstrap = bootstrap
        self._jars = jars
        self._wanted_brokers = brokers
        self._business: asyncio.subprocess.Process | None = None
        self._own_env = dict(env or {})
        self.env: dict[str, str] = {}  # settings of every service
        self._extra: dict[str, str] = {}
        self._wiring: Wiring | None = None

    @property
    def wiring(self) -> Wiring:
        if self._wiring is None:
            raise InvalidSettings("the deployment is not started; use `async with Deployment(…)`")
        return self._wiring

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._stop()

    async def serve(self, plan: Plan, env: Mapping[str, str], spare: tuple[str, ...] = ()) -> None:
        """All services up, with these settings, and a second instance of the `spare` ones. What may stay, stays."""
        wanted = {**env, "TANDEM_PACKS": str(self._pack(plan))}
        if wanted != self._extra:
            await self._end_members()
            self._extra = wanted
        names = [(service, 0) for service in SERVICES] + [(service, 1) for service in spare]
        for service, number in names:
            name = service if number == 0 else f"{service}-{number}"
            if name not in self.members:
                self.members[name] = Member(
                    service, number, {**self.env, **self._extra}, self.folder, self.exits.append
                )
                self.members[name].start()
        for name in self.members.keys() - {service if n == 0 else f"{service}-{n}" for service, n in names}:
            await self.members.pop(name).stop()
        await asyncio.gather(*(member.ready() for member in self.members.values()))

    def said(self) -> Counter[str]:
        """How often the services' logs have said each of their constant texts: what a plan's faults brought about."""
        counts: Counter[str] = Counter()
        for log in self.folder.glob("*.log"):
            with log.open(encoding="utf-8", errors="replace") as lines:
                counts.update(m[1] for line in lines if (m := TEXT.search(line)))
        return counts

    async def effects(self) -> list[dict[str, Any]]:
        """The business system's own record."""

        def ask() -> list[dict[str, Any]]:
            with urllib.request.urlopen(f"{self.business_url}/_effects", timeout=60) as answer:
                found: list[dict[str, Any]] = json.load(answer)
                return found

        return await asyncio.to_thread(ask)

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        bootstrap = await self._kafka()
        await self.redis.start()
        await self._start_business()
        channels = self.folder / "channels.yaml"
        write_channels(channels, [CHANNEL], {TENANT: PACK})
        self.env = self._settings(bootstrap, channels) | self._own_env
        settings = Settings(
            bus="kafka",
            kafka_bootstrap_servers=bootstrap,
            kafka_replication=max(1, len(self.brokers)),
            prefix=self.env["TANDEM_PREFIX"],
            shards=SHARDS,
            work_partitions=2,
            channels=channels,
            home=self.folder / "home",
            redis_url=self.redis.url,
        )
        self._wiring = Wiring(settings)
        await self._wiring.bus().create_topics(list(TOPICS.values()))
        await self._wiring.start()

    async def _kafka(self) -> str:
        if self._jars is not None:
            self.brokers = await asyncio.to_thread(start_cluster, self.folder, self._jars, self._wanted_brokers)
            return ",".join(broker.bootstrap for broker in self.brokers)
        if not self._bootstrap:
            raise InvalidSettings(
                "a plan needs a real Kafka: name one with TANDEM_KAFKA_BOOTSTRAP_SERVERS, "
                "or give --kafka-jars a folder of Apache Kafka's jars and have one started"
            )
        return self._bootstrap

    def _settings(self, bootstrap: str, channels: Path) -> dict[str, str]:
        gateway, memory = free_port(), free_port()
        return {
            "TANDEM_BUS": "kafka",
            "TANDEM_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TANDEM_KAFKA_SESSION_S": str(SESSION_S),
            "TANDEM_PREFIX": f"chaos-{uuid.uuid4().hex[:8]}",
            "TANDEM_SHARDS": str(SHARDS),
            "TANDEM_WORK_PARTITIONS": "2",
            "TANDEM_REDIS_URL": self.redis.url,
            "TANDEM_HOME": str(self.folder / "home"),
            "TANDEM_CHANNELS": str(channels),
            "TANDEM_SERVICE_TOKEN": uuid.uuid4().hex,
            "TANDEM_LLM_GATEWAY_PORT": str(gateway),
            "TANDEM_LLM_GATEWAY_TARGET": f"localhost:{gateway}",
            "TANDEM_MEMORY_PORT": str(memory),
            "TANDEM_MEMORY_TARGET": f"localhost:{memory}",
            "TANDEM_HTTP_PORT": "0",
            "TANDEM_CALL_WINDOW_MS": "500",
            "TANDEM_GRACE_MS": "200",
            "TANDEM_TRACE_SAMPLE": "0",
            "CLOUD_API_URL": self.business_url,
        }

    def _pack(self, plan: Plan) -> Path:
        """The folder of packs, with the example's changed as the plan asks."""
        if not plan.pack:
            return self._packs.resolve()
        folder = self.folder / f"packs-{plan.plan}"
        if not folder.exists():
            shutil.copytree(self._packs / PACK, folder / PACK)
            path = folder / PACK / "pack.yaml"
            pack = yaml.safe_load(path.read_text(encoding="utf-8"))
            for name, value in plan.pack.items():
                pack[name] = {**pack[name], **value} if isinstance(value, dict) else value
            path.write_text(yaml.safe_dump(pack, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return folder

    @property
    def budget(self) -> Cost:
        """What a ticket may cost in the plan that is served now."""
        path = Path(self._extra["TANDEM_PACKS"]) / PACK / "pack.yaml"
        return Cost(**yaml.safe_load(path.read_text(encoding="utf-8"))["budget"])

    async def _start_business(self) -> None:
        if importlib.util.find_spec("examples") is None or importlib.util.find_spec("fastapi") is None:
            raise InvalidSettings("the example business system is not installed: run plans from a checkout")
        port = self.business_url.rpartition(":")[2]
        options = ("--port", port, "--db", str(self.folder / "business.sqlite"))
        with (self.folder / "business.log").open("ab") as log:
            self._business = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "examples.cloud_api", *options),
                *("--diagnosis-ms", "300", "--customers", str(self.customers)),
                stdin=-3,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    await self.effects()
                    return
                await asyncio.sleep(0.1)

    async def _end_members(self) -> None:
        members, self.members = list(self.members.values()), {}
        await asyncio.gather(*(member.stop() for member in members))

    async def _stop(self) -> None:
        await self._end_members()
        if self._wiring is not None:
            await self._wiring.close()
        if self._business is not None:
            self._business.kill()
            await self._business.wait()
        await self.redis.stop()
        await asyncio.to_thread(stop_all, self.brokers)
