"""Tests marked `connected` run on a real Kafka: TANDEM_KAFKA_BOOTSTRAP_SERVERS, or one that is started here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kafka.server import KafkaServer, missing

BOOTSTRAP = "TANDEM_KAFKA_BOOTSTRAP_SERVERS"
NOT_RUN = pytest.StashKey[str]()


def _left_out(items: list[pytest.Item]) -> str:
    """One line that says what cannot be run here and how to run it; empty when all can."""
    count = sum(item.get_closest_marker("connected") is not None for item in items)
    if not count or os.environ.get(BOOTSTRAP) or not missing():
        return ""
    return (
        f"{count} tests on a real Kafka were not run: install Java 17 and Maven ({' and '.join(missing())} missing), "
        f"or set {BOOTSTRAP} to a broker of yours"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    line = _left_out(items)
    if not line:
        return
    if os.environ.get("CI", "").lower() in ("1", "true"):
        raise pytest.UsageError(line)
    connected = [item for item in items if item.get_closest_marker("connected")]
    config.hook.pytest_deselected(items=connected)
    items[:] = [item for item in items if not item.get_closest_marker("connected")]
    config.stash[NOT_RUN] = line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    line = config.stash.get(NOT_RUN, "")
    if line:
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Kafka shared by the whole run: use a prefix of your own. Tests that need it are marked `connected`."""
    given = os.environ.get(BOOTSTRAP)
    if given:
        yield given
        return
    server = KafkaServer(tmp_path_factory.mktemp("kafka")).start()
    yield server.bootstrap
    server.stop()
