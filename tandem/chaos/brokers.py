"""Apache Kafka's own brokers from a folder of jars: broker and controller in one Java process each, on the loopback.

One of them, or three as a cluster. `kill`, `pause` and `restart` keep their data.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tandem.errors import InvalidSettings

HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")
CLUSTER_ID = "dGFuZGVtLXRlc3RzLTAwMQ"
START_SECONDS = 60.0

PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
unclean.leader.election.enable=false
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=200
"""

LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class KafkaServer:
    """One broker on fixed ports. `voters`: node → controller port of all of its cluster; none: it is alone."""

    home: Path
    jars: Path
    node: int = 1
    voters: dict[int, int] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        if not self.voters:
            self.voters = {self.node: free_port()}

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Self:
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start it without waiting: of a cluster none is ready alone."""
        if shutil.which("java") is None:
            raise InvalidSettings("Kafka needs Java 17 or later: install it so that `java` is on the PATH")
        properties = self.home / "server.properties"
        if not properties.exists():
            self._format(properties)
        with (self.home / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(properties)), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same data and ports, after `kill` or instead of `stop`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process: its sockets stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # the last thread may take a moment to stop

    def unpause(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self.home / "kafka.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"Kafka did not start; the end of {self.home / 'kafka.log'}:\n{tail}")
            time.sleep(0.05)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._process = None

    def _format(self, properties: Path) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "log4j2.properties").write_text(LOGGING)
        replicas = len(self.voters)
        scratch = self.home / "server.properties.new"
        scratch.write_text(
            PROPERTIES.format(
                node=self.node,
                voters=",".join(f"{node}@127.0.0.1:{port}" for node, port in self.voters.items()),
                port=self.port,
                controller=self.voters[self.node],
                data=(self.home / "data").as_posix(),
                replicas=replicas,
                in_sync=(replicas + 1) // 2,
            )
        )
        command = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(scratch))
        subprocess.run(command, check=True, timeout=START_SECONDS, stdout=subprocess.DEVNULL)
        scratch.rename(properties)

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.home / 'log4j2.properties'}"
        return ["java", *HEAP, logging, "-cp", f"{self.jars}/*", main, *arguments]

    def _answers(self) -> bool:
        """Whether the broker answers an ApiVersions request: a bound port alone may only be the kernel's backlog."""
        request = struct.pack(">hhih", 18, 0, 1, -1)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                return len(connection.recv(4)) == 4
        except OSError:
            return False


def start_cluster(home: Path, jars: Path, brokers: int) -> list[KafkaServer]:
    """Brokers that know one another, all ready. Raises InvalidSettings if the folder holds no Kafka."""
    if not any(jars.glob("kafka_*.jar")):
        raise InvalidSettings(f"{jars} holds no kafka_*.jar: give the folder of Apache Kafka's jars (its libs/)")
    voters = {node: free_port() for node in range(1, brokers + 1)}
    servers = [KafkaServer(home / f"kafka-{node}", jars, node, voters) for node in voters]
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_ready()
    except BaseException:
        stop_all(servers)
        raise
    return servers


def stop_all(servers: Sequence[KafkaServer]) -> None:
    """All at once: the last of a cluster cannot shut down in order, without the others to tell."""
    for server in servers:
        server.kill()
