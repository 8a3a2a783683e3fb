"""The seven services, each a process of its own, on a real Kafka and a real Redis; the executor alone is killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.channels import write_channels
from tandem.redis import private_redis
from tandem.settings import Settings
from tandem.wiring import Wiring
from tests.integration.platform.processes import ROOT, Cloud, Customer, Process, free_port, intent_is_written, processes

SERVICES = ("llm_gateway", "memory", "router", "planner", "rag_agent", "function_agent", "executor")
PREFIX = "spine"


class Deployment:
    def __init__(self, folder: Path, bootstrap: str, redis_url: str) -> None:
        self.folder = folder
        self.cloud = Cloud(folder)
        gateway, memory = free_port(), free_port()
        self.env = {
            "TANDEM_BUS": "kafka",
            "TANDEM_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TANDEM_PREFIX": PREFIX,
            "TANDEM_SHARDS": "4",
            "TANDEM_WORK_PARTITIONS": "2",
            "TANDEM_REDIS_URL": redis_url,
            "TANDEM_HOME": str(folder / "home"),
            "TANDEM_CHANNELS": str(folder / "channels.yaml"),
            "TANDEM_SERVICE_TOKEN": "a-token-of-this-test",
            "TANDEM_LLM_GATEWAY_PORT": str(gateway),
            "TANDEM_LLM_GATEWAY_TARGET": f"localhost:{gateway}",
            "TANDEM_MEMORY_PORT": str(memory),
            "TANDEM_MEMORY_TARGET": f"localhost:{memory}",
            "TANDEM_HTTP_PORT": "0",
            "TANDEM_CALL_WINDOW_MS": "500",
            "TANDEM_GRACE_MS": "200",
            "CLOUD_API_URL": self.cloud.url,
        }

    async def run(self, service: str, running: list[Process]) -> Process:
        log = self.folder / f"{service}.log"
        log.unlink(missing_ok=True)
        process = Process("tandem", "run", service, env=self.env, log=log)
        running.append(process)
        await process.until_says("service started")
        return process


@pytest.mark.connected
@pytest.mark.asyncio
async def test_a_reset_and_a_question_over_kafka(
    tmp_path: Path, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = await private_redis(tmp_path / "redis")
    deployment = Deployment(tmp_path, kafka_bootstrap, redis.url)
    write_channels(tmp_path / "channels.yaml", ["cli"], {"acme": "cloud_support"})
    for name, value in deployment.env.items():
        monkeypatch.setenv(name, value)
    apply = [sys.executable, "-m", "tandem", "topics", "apply"]
    await asyncio.to_thread(subprocess.run, apply, cwd=ROOT, check=True, capture_output=True)
    try:
        with processes() as running:
            await deployment.cloud.start(running)
            started = {service: await deployment.run(service, running) for service in SERVICES}
            wiring = Wiring(Settings())
            wiring.bus()
            await wiring.start()
            try:
                await _ask(wiring)
                await _reset(wiring, deployment, started["executor"], running)
            finally:
                await wiring.close()
    finally:
        await redis.stop()


async def _ask(wiring: Wiring) -> None:
    customer = Customer(wiring)
    await customer.says("How do I create a snapshot of a disk?")
    await customer.is_told("snapshot")
    [reply] = await customer.replies()
    assert [part.passage for part in reply.parts if part.kind == "citation"]


async def _reset(wiring: Wiring, deployment: Deployment, executor: Process, running: list[Process]) -> None:
    customer = Customer(wiring)
    await customer.says("I forgot my password")
    await customer.is_told("e-mail")
    await customer.says("alice@example.com, the code is 246810")
    await customer.is_told("shall I go ahead")
    fault = {"operation": "reset_password", "kind": "slow", "delay_ms": 3_000}
    await asyncio.to_thread(deployment.cloud.post, "/_faults", fault)
    await customer.says("yes please")
    await intent_is_written(wiring.bus(), "reset_password")
    executor.end(signal.SIGKILL)
    await deployment.run("executor", running)
    await customer.is_told("on its way")
    assert await asyncio.to_thread(deployment.cloud.done, "reset_password") == 1
    assert await asyncio.to_thread(deployment.cloud.done, "notify_owner") == 1
    assert len([r for r in await customer.replies() if "on its way" in r.text()]) == 1
