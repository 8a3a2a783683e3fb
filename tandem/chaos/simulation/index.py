"""Redis in the simulation: the same Lua, run by fakeredis in this process. It can be flushed, and lose its last writes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError, ResponseError

from tandem.chaos.simulation.loop import Process
from tandem.chaos.simulation.network import Network
from tandem.errors import IndexUnavailable, InvalidSettings
from tandem.redis import Argument, Script

Command: TypeAlias = tuple[Argument, ...]

READS = frozenset({"GET", "HVALS", "LRANGE", "HGETALL", "ZRANGE", "PING"})


class Store:
    """One server. Every write is kept, so that a failover which lost some of them can be played."""

    def __init__(self) -> None:
        self._writes: list[Command] = []
        self._server = _connect()

    def do(self, command: Command) -> Any:
        """One command, answered as Redis answers it on the wire."""
        if str(command[0]).upper() not in READS:
            self._writes.append(command)
        return _plain(self._server.execute_command(*command))

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return self.do(("EVAL", script.text, len(keys), *keys, *args))

    @property
    def writes(self) -> int:
        return len(self._writes)

    def flush(self) -> None:
        """FLUSHALL."""
        self.lose(len(self._writes))

    def lose(self, count: int) -> None:
        """A failover to a replica that had not seen the last `count` writes."""
        kept, self._writes = self._writes[: len(self._writes) - count], []
        self._server = _connect()
        for command in kept:
            self.do(command)


def _connect() -> Any:
    try:
        import fakeredis
    except ImportError:
        raise InvalidSettings("the simulation needs fakeredis: install `tandem[chaos]`") from None
    server = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    server.response_callbacks.clear()
    return server


def _plain(reply: Any) -> Any:
    """fakeredis gives numbers and mappings where the wire has bulk strings and lists."""
    if isinstance(reply, float):
        return repr(int(reply) if reply.is_integer() else reply).encode()
    if isinstance(reply, dict):
        return [part for pair in reply.items() for part in pair]
    if isinstance(reply, list):
        return [_plain(part) for part in reply]
    return reply


class ProcessRedis:
    """Redis as one process has it: `tandem.redis.Redis` over the simulated network."""

    def __init__(self, network: Network, store: Store, process: Process, prefix: str = "tandem") -> None:
        self.prefix = prefix
        self.url = "simulated"
        self.round_trips = 0
        self._network = network
        self._store = store
        self._process = process

    def key(self, shard: int, name: str) -> str:
        return f"{self.prefix}:{{p{shard:02d}}}:{name}"

    async def call(self, *command: Argument) -> Any:
        """Raises IndexUnavailable."""
        return await self._ask(partial(self._store.do, command))

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Raises IndexUnavailable."""
        return await self._ask(partial(self._store.run, script, keys, args))

    async def ping(self) -> None:
        await self.call("PING")

    async def close(self) -> None:
        """The server stays up."""

    async def _ask(self, work: partial[Any]) -> Any:
        async def done() -> Any:
            try:
                return work()
            except NoScriptError:
                raise
            except ResponseError as error:
                raise IndexUnavailable(str(error)) from error

        self.round_trips += 1
        return await self._network.ask(done, IndexUnavailable, (self._process.name, self._process.life, "redis"))
