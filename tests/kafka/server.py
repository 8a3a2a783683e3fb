"""A real Apache Kafka for tests: broker and controller in one Java process on the loopback, with its own data folder.

The jars come from Maven once and are kept in `TANDEM_TEST_CACHE` (default `~/.cache/tandem`). Needs Java 17 and Maven.
`python -m tests.kafka.server` runs one until it is interrupted and prints its address.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")
CLUSTER_ID = "dGFuZGVtLXRlc3RzLTAwMQ"
START_SECONDS = 60.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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


def version() -> str:
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", POM.read_text())
    assert found, f"{POM} names no kafka.version"
    return found[1]


def missing() -> list[str]:
    """The programs that are needed and not there."""
    return [program for program in ("java", "mvn") if shutil.which(program) is None]


def jars() -> Path:
    """The folder of Kafka's jars. Fetched beside it and moved into place, so half a download is never taken for one."""
    cache = Path(os.environ.get("TANDEM_TEST_CACHE", "~/.cache/tandem")).expanduser()
    target = cache / f"kafka-{version()}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as scratch:
        libs = Path(scratch) / "libs"
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libs}", "-DincludeScope=runtime"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(POM), *goal], check=True, timeout=900, stdout=sys.stderr)
        try:
            libs.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another run was faster
                raise
    return target


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class KafkaServer:
    """One broker on fixed ports. `kill` and `restart` keep its data."""

    home: Path
    port: int = field(default_factory=free_port)
    controller: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> KafkaServer:
        properties = self.home / "server.properties"
        if not properties.exists():
            self._format(properties)
        with (self.home / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(properties)), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

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
        scratch = self.home / "server.properties.new"
        scratch.write_text(
            PROPERTIES.format(port=self.port, controller=self.controller, data=(self.home / "data").as_posix())
        )
        command = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(scratch))
        subprocess.run(command, check=True, timeout=START_SECONDS, stdout=subprocess.DEVNULL)
        scratch.rename(properties)

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.home / 'log4j2.properties'}"
        return ["java", *HEAP, logging, "-cp", f"{jars()}/*", main, *arguments]

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self.home / "kafka.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"Kafka did not start; the end of {self.home / 'kafka.log'}:\n{tail}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether the broker answers an ApiVersions request: a bound port alone may only be the kernel's backlog."""
        request = struct.pack(">hhih", 18, 0, 1, -1)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                return len(connection.recv(4)) == 4
        except OSError:
            return False


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tandem-kafka-") as home:
        server = KafkaServer(Path(home)).start()
        sys.stdout.write(f"{server.bootstrap}\n")
        sys.stdout.flush()
        try:
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
