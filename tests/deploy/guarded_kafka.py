"""A Kafka that lets in the users of the manifests and grants what the manifests grant: SCRAM, and Kafka's own authorizer.

It listens twice: `open_to_all` is for whoever sets up and plays the customer, `guarded` for the services.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from tandem.chaos.brokers import CLUSTER_ID, LOGGING, free_port
from tandem.deploy.kafka import users
from tests.kafka.server import jars

START_S = 60
RESOURCES = {"topic": 2, "group": 3}
PATTERNS = {"literal": 3, "prefix": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
ALLOW = 3

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{open_to_all},SASL_PLAINTEXT://{guarded},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{open_to_all},SASL_PLAINTEXT://{guarded}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def password(user: str) -> str:
    return f"of-{user}"


class GuardedKafka:
    def __init__(self, home: Path) -> None:
        self._home = home
        self.open_to_all, self.guarded = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        (self._home / "log4j2.properties").write_text(LOGGING)
        properties = self._home / "server.properties"
        places = {"open_to_all": self.open_to_all, "guarded": self.guarded, "controller": free_port()}
        properties.write_text(PROPERTIES.format(**places, data=self._home / "data"))
        names = [user["metadata"]["name"] for user in users()]
        known = [word for name in names for word in ("--add-scram", _scram(name))]
        format_ = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties), *known)
        await asyncio.to_thread(subprocess.run, format_, check=True, timeout=START_S, stdout=subprocess.DEVNULL)
        await asyncio.to_thread(self._launch, properties)
        await self._grant()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._home / 'log4j2.properties'}"
        return ["java", "-Xmx512m", logging, "-cp", f"{jars()}/*", main, *arguments]

    def _launch(self, properties: Path) -> None:
        with (self._home / "kafka.log").open("wb") as log:
            self._process = subprocess.Popen(self._java("kafka.Kafka", str(properties)), stdout=log, stderr=log)
        self._wait()

    def _wait(self) -> None:
        host, _, port = self.open_to_all.partition(":")
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    async def _grant(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.open_to_all)
        await admin.start()
        try:
            for user in users():
                for acl in user["spec"]["authorization"]["acls"]:
                    for operation in acl["operations"]:
                        answer = await admin._send_to_controller(_binding(user["metadata"]["name"], acl, operation))
                        assert [code for code, _ in answer.creation_responses] == [0], answer
        finally:
            await admin.close()


def _scram(name: str) -> str:
    return f"SCRAM-SHA-512=[name={name},password={password(name)}]"


def _binding(user: str, acl: dict[str, Any], operation: str) -> CreateAclsRequest:
    what = acl["resource"]
    return CreateAclsRequest(
        RESOURCES[what["type"]],
        what["name"],
        PATTERNS[what["patternType"]],
        f"User:{user}",
        acl["host"],
        OPERATIONS[operation],
        ALLOW,
    )
