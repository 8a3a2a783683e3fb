"""Redis for plans: one address, behind it a server that can be killed, flushed, or replaced by a replica that lags."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from tandem.chaos.brokers import free_port
from tandem.chaos.relay import Relay
from tandem.errors import IndexUnavailable
from tandem.redis import Redis, find_server

START_S = 10.0


class _Server:
    """One redis-server that keeps nothing on disk."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._home = home
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *options: str) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        own = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        place = ("--dir", str(self._home), "--logfile", str(self._home / "redis.log"))
        self._process = await asyncio.create_subprocess_exec(find_server(), *own, *place, *options)
        await self._until("PING", b"PONG")

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    async def follow(self, port: int) -> None:
        """Become a replica, and return once it has all there is."""
        await self.call("REPLICAOF", "127.0.0.1", port)
        await self._until("INFO", b"master_link_status:up", "replication")

    async def promote(self) -> None:
        await self.call("REPLICAOF", "NO", "ONE")

    async def call(self, *command: str | int) -> object:
        client = Redis(f"redis://127.0.0.1:{self.port}/0")
        try:
            return await client.call(*command)
        finally:
            await client.close()

    async def _until(self, command: str, says: bytes, *arguments: str) -> None:
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(IndexUnavailable):
                    answer = await self.call(command, *arguments)
                    if isinstance(answer, bytes) and says in answer:
                        return
                await asyncio.sleep(0.02)


class RedisServers:
    """`url` never changes, whichever server stands behind it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._count = 0
        self._server = self._new()
        self._front = Relay(self._server.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._front.port}/0"

    async def start(self) -> None:
        await self._server.start()
        await self._front.start()

    async def stop(self) -> None:
        await self._front.stop()
        await self._server.kill()

    async def kill(self) -> None:
        """-9; another one, empty, takes its place."""
        await self._server.kill()
        await self._server.start()

    async def flush(self) -> None:
        await self._server.call("FLUSHALL")

    async def regress(self, stall_s: float) -> None:
        """A replica has stalled for so long when the server dies and the replica is promoted."""
        replica = self._new()
        link = Relay(self._server.port)
        await link.start()
        try:
            await replica.start()
            await replica.follow(link.port)
            link.stall()
            await asyncio.sleep(stall_s)
            await self._server.kill()
            await link.cut()
            await replica.promote()
        finally:
            await link.stop()
        self._server, self._front.target = replica, replica.port
        await self._front.cut()

    def _new(self) -> _Server:
        self._count += 1
        return _Server(self._home / f"redis-{self._count}")
