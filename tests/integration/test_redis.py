"""The Redis client and the private server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tandem import redis as module
from tandem.errors import IndexUnavailable, InvalidSettings
from tandem.redis import PrivateRedis, Redis, Script, find_server, private_redis

PARENT = """
import asyncio, sys
from pathlib import Path
from tandem.redis import private_redis

async def main():
    server = await private_redis(Path(sys.argv[1]))
    print(server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[PrivateRedis]:
    server = await private_redis(tmp_path / "home")
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def client(server: PrivateRedis) -> AsyncIterator[Redis]:
    client = Redis(server.url, timeout_s=0.5)
    yield client
    await client.close()


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while _runs(pid):
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


@pytest.mark.asyncio
async def test_commands_of_one_turn_travel_together(client: Redis) -> None:
    await client.ping()
    before = client.round_trips
    replies = await asyncio.gather(*(client.call("INCR", "n") for _ in range(50)))
    assert replies == list(range(1, 51))
    assert client.round_trips - before == 1


@pytest.mark.asyncio
async def test_a_script_is_loaded_when_the_server_does_not_know_it(client: Redis) -> None:
    script = Script("return {KEYS[1], ARGV[1]}")
    assert await client.run(script, ["k"], ["v"]) == [b"k", b"v"]
    assert await client.run(script, ["k"], [1]) == [b"k", b"1"]
    await client.call("SCRIPT", "FLUSH")
    assert await client.run(script, ["k"], ["v"]) == [b"k", b"v"]


@pytest.mark.asyncio
async def test_an_error_of_one_command_is_its_own(client: Redis) -> None:
    await client.call("SET", "text", "x")
    wrong, right = await asyncio.gather(
        client.call("HGET", "text", "f"), client.call("GET", "text"), return_exceptions=True
    )
    assert isinstance(wrong, IndexUnavailable)
    assert right == b"x"
    assert await client.call("GET", "text") == b"x"


@pytest.mark.asyncio
async def test_a_server_that_hangs_is_unavailable_and_found_again(server: PrivateRedis, client: Redis) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(IndexUnavailable):
            await client.ping()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await client.ping()


@pytest.mark.asyncio
async def test_an_outage_is_told_once_and_so_is_its_end(
    server: PrivateRedis, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.ping()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            found = await asyncio.gather(*(client.ping() for _ in range(20)), return_exceptions=True)
            assert {type(one) for one in found} == {IndexUnavailable}
    finally:
        os.kill(server.pid, signal.SIGCONT)
    for _ in range(2):
        await client.ping()
    told = [(record.message, vars(record).get("error")) for record in caplog.records]
    assert told == [("Redis does not serve", "TimeoutError"), ("Redis serves again", None)]


@pytest.mark.asyncio
async def test_a_server_that_dies_is_started_again_empty(server: PrivateRedis, client: Redis) -> None:
    await client.call("SET", "k", "1")
    os.kill(server.pid, signal.SIGKILL)
    await gone(server.pid)
    async with asyncio.timeout(10):
        while not await _answers(client):
            await asyncio.sleep(0.02)
    assert await client.call("GET", "k") is None
    info = bytes(await client.call("INFO", "server"))
    assert f"process_id:{server.pid}\r".encode() not in info
    [second] = [int(line[11:]) for line in info.splitlines() if line.startswith(b"process_id:")]
    await server.stop()
    await gone(second)


async def _answers(client: Redis) -> bool:
    try:
        await client.ping()
    except IndexUnavailable:
        return False
    return True


@pytest.mark.asyncio
async def test_too_many_waiting_commands_are_refused(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    replies = await asyncio.gather(*(client.ping() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(reply, IndexUnavailable) for reply in replies) == 3


@pytest.mark.asyncio
async def test_keys_of_a_shard_share_a_slot() -> None:
    client = Redis("redis://localhost:1/0", "prod")
    assert client.key(3, "tickets") == "prod:{p03}:tickets"
    with pytest.raises(IndexUnavailable):
        await client.ping()
    await client.close()


@pytest.mark.asyncio
async def test_stop_ends_the_server(tmp_path: Path) -> None:
    server = await private_redis(tmp_path / ("long" * 30))  # longer than a socket's path may be
    await server.stop()
    await gone(server.pid)


@pytest.mark.asyncio
@pytest.mark.parametrize("appendonly", [True, False])
async def test_what_is_kept_over_a_restart(tmp_path: Path, appendonly: bool) -> None:
    for expected in (None, b"1" if appendonly else None):
        server = await private_redis(tmp_path, appendonly=appendonly)
        client = Redis(server.url)
        assert await client.call("GET", "k") == expected
        await client.call("SET", "k", "1")
        await client.close()
        await server.stop()


@pytest.mark.asyncio
async def test_it_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert _runs(pid)
    parent.kill()
    await parent.wait()
    await gone(pid)


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InvalidSettings, match="valkey-server"):
        find_server()
