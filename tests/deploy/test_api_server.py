"""A real kube-apiserver takes every object, strictly, with the operators' own definitions: a server-side dry run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.deploy import cluster
from tests.deploy.cluster import Cluster
from tests.deploy.policies import of
from tests.deploy.tools import OVERLAYS, program, rendered, text

pytestmark = pytest.mark.kubernetes
DRY_RUN = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    assert cluster.missing() == [], "put these on the PATH"
    server = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        for path in cluster.definitions():
            made = server.kubectl("apply", "--server-side", "-f", str(path))
            assert made.returncode == 0, made.stderr
        waited = server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        assert waited.returncode == 0, waited.stderr
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_takes_every_object_without_a_warning(api: Cluster, overlay: str) -> None:
    docs = rendered(overlay)
    [namespace] = of(docs, "Namespace")
    api.kubectl("create", "namespace", namespace["metadata"]["name"])
    restricted = "pod-security.kubernetes.io/warn=restricted"
    assert api.kubectl("label", "namespace", namespace["metadata"]["name"], restricted, "--overwrite").returncode == 0
    done = api.kubectl(*DRY_RUN, given=text(overlay))
    complaints = [line for line in done.stderr.splitlines() if "version difference" not in line]
    assert (done.returncode, complaints) == (0, [])
    assert len(done.stdout.splitlines()) == len(docs)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("terminationGracePeriodSeconds: 65", "terminationGracePeriodSecs: 65", "field not declared in schema"),
        ("name: tandem.tasks.rag-agent\n", "name: tandem.tasks.rag_agent\n", "RFC 1123"),
        ("topicName: tandem.effects", "topicNames: tandem.effects", "field not declared in schema"),
        ("pollingInterval: 15", "pollingInterval: often", "pollingInterval"),
        ("runAsNonRoot: true", "runAsNonRoot: false", "violate PodSecurity"),
    ],
)
def test_it_finds_a_mistake(api: Cluster, right: str, wrong: str, said: str) -> None:
    broken = text("prod").replace(right, wrong)
    assert broken != text("prod")
    done = api.kubectl(*DRY_RUN, given=broken)
    assert said in done.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubeconform_reads_it_with_the_same_definitions(overlay: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without the network there are no schemas for it but those that are made here: of the custom resources."""
    folder = tmp_path_factory.mktemp("schemas")
    kinds = cluster.schemas(folder)
    command = [
        program("kubeconform"),
        "-strict",
        "-summary",
        "-schema-location",
        f"{folder}/{{{{.ResourceKind}}}}.json",
    ]
    native = sorted({doc["kind"] for doc in rendered(overlay)} - kinds)
    done = subprocess.run(
        [*command, "-skip", ",".join(native)], input=text(overlay), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    custom = [doc for doc in rendered(overlay) if doc["kind"] in kinds]
    assert f"Valid: {len(custom)}, Invalid: 0" in done.stdout
