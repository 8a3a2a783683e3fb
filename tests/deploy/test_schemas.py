"""Every rendered object is one that Kubernetes takes, by the schemas of each version that is promised."""

from __future__ import annotations

import kubernetes_validate
import pytest

from tests.deploy.policies import named, pod
from tests.deploy.tools import OVERLAYS, rendered

pytestmark = pytest.mark.kustomize
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
CUSTOM = ("strimzi.io", "keda.sh", "coreos.com")
"""Groups of operators: their schemas are not Kubernetes'. `make test-k8s` has theirs."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_it(overlay: str, version: str) -> None:
    for doc in rendered(overlay):
        if not doc["apiVersion"].split("/")[0].endswith(CUSTOM):
            kubernetes_validate.validate(doc, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_word_that_is_misspelt_is_found(version: str) -> None:
    workload = named(rendered("prod"), "router")
    pod(workload)["terminationGracePeriodSecs"] = 60
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(workload, version, strict=True)
