"""Tests marked `connected` run on a real Kafka: TANDEM_KAFKA_BOOTSTRAP_SERVERS, or one that is started here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kafka.server import KafkaServer, missing

BOOTSTRAP = "TANDEM_KAFKA_BOOTSTRAP_SERVERS"
NOT_RUN = pytest.StashKey[str]()
PASSED, FAILED = ("passed", "xpassed"), ("failed", "error")


def _can_run(item: pytest.Item) -> bool:
    """A test that kills its broker needs one of its own."""
    if item.get_closest_marker("connected") is None or not missing():
        return True
    return bool(os.environ.get(BOOTSTRAP)) and "own_kafka" not in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here, in one line that says how to run it; under CI that is a failure."""
    left_out = [item for item in items if not _can_run(item)]
    if not left_out:
        return
    line = (
        f"{len(left_out)} tests on a real Kafka were not run: install Java 17 and Maven ({', '.join(missing())} missing)"
        f" or, for most of them, set {BOOTSTRAP}"
    )
    if os.environ.get("CI", "").lower() in ("1", "true"):
        raise pytest.UsageError(line)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _can_run(item)]
    config.stash[NOT_RUN] = line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    line = config.stash.get(NOT_RUN, "")
    if line:
        terminalreporter.write_line(line, yellow=True)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line, for whoever reads only that one."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats and not config.option.collectonly:
        passed, failed = (sum(len(reporter.stats.get(kind, ())) for kind in kinds) for kinds in (PASSED, FAILED))
        reporter.write_line(f"{passed} passed, {failed} failed")


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


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka that the test may kill, freeze and restart; it must leave it running."""
    server = KafkaServer(tmp_path_factory.mktemp("own-kafka")).start()
    yield server
    server.stop()
