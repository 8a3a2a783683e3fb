"""A real Apache Kafka for tests. The jars come from Maven once and are kept in `TANDEM_TEST_CACHE` (default
`~/.cache/tandem`). Needs Java 17 and Maven.

`python -m tests.kafka.server` runs one until it is interrupted and prints its address.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tandem.chaos import brokers

POM = Path(__file__).with_name("pom.xml")


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


class KafkaServer(brokers.KafkaServer):
    """One broker with these jars."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, jars())


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
