"""Tests marked `connected` run on a real Kafka: TANDEM_KAFKA_BOOTSTRAP_SERVERS, or one that is started here. Tests marked
`prometheus` run a real Prometheus, those marked `kustomize` render the manifests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.deploy import tools as manifests
from tests.kafka.server import KafkaServer, missing
from tests.prometheus import server as prometheus

settings.register_profile("tandem", settings(), deadline=None)  # speed is the benchmarks' business
settings.load_profile("tandem")

BOOTSTRAP = "TANDEM_KAFKA_BOOTSTRAP_SERVERS"
NOT_RUN = pytest.StashKey[list[str]]()
PASSED, FAILED = ("passed", "xpassed"), ("failed", "error")


def _without(item: pytest.Item) -> str | None:
    """What the test needs and cannot have here. One that kills its broker needs a broker of its own."""
    if item.get_closest_marker("prometheus") is not None and prometheus.missing():
        return "Prometheus"
    if item.get_closest_marker("kustomize") is not None and manifests.missing():
        return "kustomize"
    if item.get_closest_marker("connected") is None or not missing():
        return None
    given = bool(os.environ.get(BOOTSTRAP)) and "own_kafka" not in getattr(item, "fixturenames", ())
    return None if given else "Kafka"


def _how(without: str) -> str:
    if without == "Prometheus":
        return f"put {' and '.join(prometheus.missing())} on the PATH"
    if without == "kustomize":
        return f"put one of {', '.join(manifests.missing())} on the PATH"
    return f"install Java 17 and Maven ({', '.join(missing())} missing) or, for most of them, set {BOOTSTRAP}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here, in a line each that says how to run it; under CI that is a failure."""
    lacks = {item: without for item in items if (without := _without(item))}
    if not lacks:
        return
    lines = [
        f"{list(lacks.values()).count(name)} tests on a real {name} were not run: {_how(name)}"
        for name in sorted(set(lacks.values()))
    ]
    if os.environ.get("CI", "").lower() in ("1", "true"):
        raise pytest.UsageError(*lines)
    config.hook.pytest_deselected(items=list(lacks))
    items[:] = [item for item in items if item not in lacks]
    config.stash[NOT_RUN] = lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(NOT_RUN, []):
        terminalreporter.write_line(line, yellow=True)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line, for whoever reads only that one."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats and not config.option.collectonly:
        passed, failed = (sum(len(reporter.stats.get(kind, ())) for kind in kinds) for kinds in (PASSED, FAILED))
        reporter.write_line(f"{passed} passed, {failed} failed")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A command sets variables for the process that it is; called in the tests' own, it must not leave them to other tests."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


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
