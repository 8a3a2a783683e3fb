"""The processes of the benchmark: the stub, the gateway, LiteLLM's proxy, the load generator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.bench.gateway.http import Connection
from tandem.bench.gateway.load import Figures, Job
from tandem.bench.gateway.stub import INSTANT, THINKING
from tandem.errors import InvalidSettings, Unavailable

TOKEN = "bench"
START_S = 120.0
STOP_S = 10.0


@dataclass(frozen=True)
class Doors:
    """The gateway's ports and process."""

    grpc: int
    http: int
    pid: int


class Generator:
    """The load generator's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, job: Job) -> Figures:
        """Raises Unavailable when more than one call in a hundred failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(job.model_dump_json().encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise Unavailable("the load generator ended; its words are above")
        figures = Figures.model_validate_json(line)
        if figures.errors * 100 > figures.calls:
            where = f"{job.target.door} door at port {job.target.port}"
            raise Unavailable(f"{where}: {figures.errors} calls failed beside {figures.calls}: {figures.error}")
        return figures


@asynccontextmanager
async def stub() -> AsyncIterator[int]:
    """Its port."""
    port = free_port()
    async with _process([sys.executable, "-m", "tandem.bench.gateway.stub", str(port)], {}):
        await _answers(port, "/v1/models")
        yield port


@asynccontextmanager
async def replicas(count: int, room: int) -> AsyncIterator[list[int]]:
    """Their ports. `room`: blocks of each one's cache."""
    ports = [free_port() for _ in range(count)]
    command = [sys.executable, "-m", "tandem.bench.gateway.replicas", *map(str, (room, *ports))]
    async with _process(command, {}):
        await _answers(ports[-1], "/metrics")
        yield ports


@asynccontextmanager
async def gateway(pools: Mapping[str, Any], folder: Path, traces: int | None = None) -> AsyncIterator[Doors]:
    """With everything on that a deployment has: token, quotas, grants. `traces`: the port that spans are sent to."""
    grpc, http = free_port(), free_port()
    file = folder / "pools.yaml"
    file.write_text(json.dumps(pools), encoding="utf-8")  # JSON is YAML
    environment = {
        "TANDEM_HOME": str(folder),
        "TANDEM_HTTP_PORT": "0",
        "TANDEM_LLM_GATEWAY_HOST": "127.0.0.1",
        "TANDEM_LLM_GATEWAY_PORT": str(grpc),
        "TANDEM_LLM_GATEWAY_HTTP_PORT": str(http),
        "TANDEM_LLM_POOLS": str(file),
        "TANDEM_LOG_LEVEL": "WARNING",
        "TANDEM_SERVICE_TOKEN": TOKEN,
    }
    if traces is not None:
        environment["TANDEM_OTLP_ENDPOINT"] = f"http://127.0.0.1:{traces}"
    async with _process([sys.executable, "-m", "tandem", "run", "llm_gateway"], environment) as process:
        await _answers(http, "/health")
        yield Doors(grpc, http, process.pid)


@asynccontextmanager
async def litellm(python: Path, model_port: int, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """LiteLLM's proxy, one worker, from the environment that it is installed in. Its port and its process."""
    program = litellm_program(python)
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(json.dumps(_litellm_config(model_port)), encoding="utf-8")
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {"LITELLM_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    async with _process(command, environment) as process:
        await _answers(port, "/health/liveliness")
        yield port, process.pid


def litellm_program(python: Path) -> Path:
    """`python`: a virtual environment's folder, or its Python. Raises InvalidSettings."""
    program = (python / "bin" if python.is_dir() else python.parent) / "litellm"
    if not program.exists():
        raise InvalidSettings(f"--litellm: there is no {program}; pip install 'litellm[proxy]' in that environment")
    return program


@asynccontextmanager
async def generator(grpc_port: int) -> AsyncIterator[Generator]:
    command = [sys.executable, "-m", "tandem.bench.gateway.load", str(grpc_port), TOKEN]
    async with _process(command, {}, talks=True) as process:
        yield Generator(process)


def spent(pid: int) -> tuple[float, float]:
    """Seconds that a process's threads ran, and that they could have run and no processor was free; of Linux. Others have no
    such files: zero."""
    ran = waited = 0
    for each in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # that thread has ended
            on, off, _ = map(int, each.read_text(encoding="utf-8").split())
            ran, waited = ran + on, waited + off
    return ran / 1e9, waited / 1e9


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def stub_pools(model_port: int) -> dict[str, Any]:
    pool = {"replicas": [f"http://127.0.0.1:{model_port}/v1"], "concurrency": 256, "vllm": False}
    price = {"tokens_in": 100, "tokens_out": 400}
    return {
        "pools": {name: pool | {"model": name, "price": price} for name in (INSTANT, THINKING)},
        "tenants": {"*": {"in_flight": 512, "tokens_per_minute": 1_000_000_000}},
    }


def _litellm_config(model_port: int) -> dict[str, Any]:
    base = f"http://127.0.0.1:{model_port}/v1"
    return {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": base, "api_key": "none"}}
            for name in (INSTANT, THINKING)
        ],
        "general_settings": {"master_key": f"sk-{TOKEN}"},
    }


@asynccontextmanager
async def _process(
    command: list[str], environment: dict[str, str], *, talks: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Its stdout is ours to read when it `talks`; all it says else goes to our stderr."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if talks else sys.stderr.fileno(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _answers(port: int, path: str) -> None:
    """Raises Unavailable when nothing answers in time."""
    until = time.monotonic() + START_S
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    while time.monotonic() < until:
        connection = Connection(port)
        try:
            if (await connection.ask(head)).status == 200:
                return
        except (OSError, Unavailable):
            pass
        finally:
            connection.close()
        await asyncio.sleep(0.1)
    raise Unavailable(f"port {port} does not answer after {START_S:.0f} s; what its process said is above")
