"""With the users and rights of the manifests on a real Kafka, the services do their work, and a service can do no other's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.bus.base import NewRecord, Outgoing
from tandem.channels import write_channels
from tandem.deploy.workloads import WORKLOADS, Workload
from tandem.redis import private_redis
from tandem.settings import Settings
from tandem.wiring import Wiring
from tests.deploy.guarded_kafka import GuardedKafka, password
from tests.integration.platform.processes import ROOT, Customer, Process, processes
from tests.integration.platform.test_kafka_spine import Deployment

SERVERS_FIRST = sorted(WORKLOADS, key=lambda workload: workload.facts.port is None)


def environment(workload: Workload, kafka: GuardedKafka) -> dict[str, str]:
    """As the manifests have it."""
    env = {"TANDEM_KAFKA_BOOTSTRAP_SERVERS": kafka.guarded}
    if "bus" in workload.facts.clients:
        env |= {"TANDEM_KAFKA_USER": workload.user, "TANDEM_KAFKA_PASSWORD": password(workload.user)}
    if workload.stateful:
        env["TANDEM_KAFKA_INSTANCE"] = f"{workload.name}-0"
    return env | ({"TANDEM_ROLE": workload.role} if workload.role else {})


@pytest.mark.connected
@pytest.mark.asyncio
async def test_the_services_work_with_the_rights_of_the_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = GuardedKafka(tmp_path)
    redis = await private_redis(tmp_path / "redis")
    try:
        await kafka.start()
        deployment = Deployment(tmp_path, kafka.open_to_all, redis.url)
        deployment.env["TANDEM_PREFIX"] = "tandem"
        write_channels(tmp_path / "channels.yaml", ["cli"], {"acme": "cloud_support"})
        for name, value in deployment.env.items():
            monkeypatch.setenv(name, value)
        apply = [sys.executable, "-m", "tandem", "topics", "apply"]
        await asyncio.to_thread(subprocess.run, apply, cwd=ROOT, check=True, capture_output=True)
        with processes() as running:
            await deployment.cloud.start(running)
            for workload in SERVERS_FIRST:
                env = {**deployment.env, **environment(workload, kafka)}
                log = tmp_path / f"{workload.name}.log"
                running.append(Process("tandem", "run", workload.service, env=env, log=log))
                await running[-1].until_says("service started")
            await _served(deployment)
            refused = [process.output.count("Authorization") for process in running]
            assert not any(refused)
        await _not_another(kafka)
    finally:
        await redis.stop()
        kafka.stop()


async def _served(deployment: Deployment) -> None:
    wiring = Wiring(Settings())
    wiring.bus()
    await wiring.start()
    try:
        customer = Customer(wiring)
        await customer.says("How do I create a snapshot of a disk?")
        await customer.is_told("snapshot")
        customer = Customer(wiring)
        await customer.says("I forgot my password")
        await customer.is_told("e-mail")
        await customer.says("alice@example.com, the code is 246810")
        await customer.is_told("shall I go ahead")
        await customer.says("yes please")
        await customer.is_told("on its way")
        assert await asyncio.to_thread(deployment.cloud.done, "reset_password") == 1
    finally:
        await wiring.close()


async def _not_another(kafka: GuardedKafka) -> None:
    """The router may write mailboxes, and no task."""
    user = "tandem-router"
    settings = Settings(kafka_bootstrap_servers=kafka.guarded, kafka_user=user, kafka_password=password(user))
    wiring = Wiring(settings)
    bus = wiring.bus()
    await wiring.start()
    try:
        with pytest.raises(Exception, match="Authorization"):
            async with asyncio.timeout(20):
                await bus.publish([Outgoing("tasks.executor", NewRecord("k", b"{}"))])
    finally:
        await wiring.close()
