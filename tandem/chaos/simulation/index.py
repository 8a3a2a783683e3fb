"""Redis in the process: one fake server whose Lua really runs, and a client of it for each process.

The server can lose everything, or its last writes, as a failover to a replica that was behind does.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import fakeredis
from redis.exceptions import NoScriptError, RedisError

from tandem.chaos.simulation.loop import Process
from tandem.chaos.simulation.network import Network
from tandem.errors import IndexUnavailable
from tandem.redis import Argument, Redis, Script

READS = frozenset({"HMGET", "HGET", "HGETALL", "LRANGE", "GET", "PING", "HVALS"})


class FakeServer:
    """Answers commands as a real server would, byte for byte (tests/integration/chaos compares the two)."""

    def __init__(self) -> None:
        self._connection: Any = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer()).connection_pool.get_connection()
        self._journal: list[tuple[Argument, ...]] = []
        self._scripts: dict[str, str] = {}
        self.up = True

    def command(self, *command: Argument) -> Any:
        """Carry out a command. Raises redis' own errors."""
        reply = self._carry_out(command)
        name = str(command[0])
        if name == "EVAL":
            self._scripts[Script(str(command[1])).sha] = str(command[1])
        if name not in READS:
            self._journal.append(self._replayable(command))
        return reply

    def _carry_out(self, command: Sequence[Argument]) -> Any:
        self._connection.send_command(*command)
        return self._connection.read_response(disable_decoding=True)

    def _replayable(self, command: tuple[Argument, ...]) -> tuple[Argument, ...]:
        """After a flush the server may not know a script by its hash."""
        if command[0] == "EVALSHA":
            return ("EVAL", self._scripts[str(command[1])], *command[2:])
        return command

    def flush(self) -> None:
        self._carry_out(("FLUSHALL",))
        self._carry_out(("SCRIPT", "FLUSH"))
        self._journal.clear()

    def undo(self, writes: int) -> None:
        """Lose the last writes."""
        kept = self._journal[: max(0, len(self._journal) - writes)]
        self.flush()
        for command in kept:
            self._carry_out(command)
        self._journal = kept

    def read(self, *command: Argument) -> Any:
        """Look, without a trace."""
        return self._carry_out(command)


class ProcessRedis(Redis):
    """The index's client of one process. What it has sent may be carried out after its death."""

    def __init__(self, server: FakeServer, network: Network, process: Process) -> None:
        super().__init__("redis://simulated")
        self._server = server
        self._network = network
        self._process = process

    async def call(self, *command: Argument) -> Any:
        try:
            return await self._network.ask(
                partial(self._carried_out, command), IndexUnavailable, (self._process.name, "redis")
            )
        except NoScriptError:
            raise
        except RedisError as error:
            raise IndexUnavailable(f"Redis does not serve: {error}") from error

    def _carried_out(self, command: tuple[Argument, ...]) -> Coroutine[Any, Any, Any]:
        async def carry_out() -> Any:
            if not self._server.up:
                raise IndexUnavailable("Redis is down")
            return self._server.command(*command)

        return carry_out()

    async def close(self) -> None:
        """Nothing is open."""
