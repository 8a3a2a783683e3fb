"""KEDA: a replica more when what waits would take longer than `WAIT_S`, never more than there are partitions."""

from __future__ import annotations

from tandem.deploy.kafka import PREFIX, SCALER
from tandem.deploy.objects import KAFKA, Object
from tandem.deploy.workloads import WAIT_S, WORKLOADS, Workload
from tandem.settings import Settings

AUTHENTICATION = "tandem-kafka"
PROMETHEUS = "http://prometheus-operated.monitoring:9090"
WAITING_REQUESTS = 4
"""Requests that may wait for one vLLM replica; a replica's batch takes far more, so waiting means that it is full."""

MAX_VLLM = 8


def scaled() -> list[Workload]:
    return [workload for workload in WORKLOADS if workload.message_ms is not None]


def scalers() -> list[Object]:
    return [_name(), _authentication(), *map(_by_lag, scaled()), _gateway(), _vllm()]


def unset_replicas() -> list[Object]:
    """Patches: with an autoscaler, `kubectl apply` must not set the number back."""
    gone = "- op: remove\n  path: /spec/replicas\n"
    targets = [(each.kind, each.name) for each in scaled()] + [("Deployment", "llm-gateway")]
    return [{"target": {"kind": kind, "name": name}, "patch": gone} for kind, name in targets]


def _by_lag(workload: Workload) -> Object:
    partitions = Settings(bus="kafka").partitions()[workload.topic.spread]
    metadata = {
        "bootstrapServers": KAFKA,
        "consumerGroup": f"{PREFIX}.{workload.group}",
        "topic": f"{PREFIX}.{workload.topic.name}",
        "lagThreshold": str(workload.lag_threshold),
        "activationLagThreshold": "0",
        "offsetResetPolicy": "earliest",
        "allowIdleConsumers": "false",
        "sasl": "scram_sha512",
        "tls": "enable",
    }
    trigger = {"type": "kafka", "metadata": metadata, "authenticationRef": {"name": AUTHENTICATION}}
    return _scaled(workload.kind, workload.name, workload.replicas, partitions, trigger)


def _gateway() -> Object:
    [gateway] = [workload for workload in WORKLOADS if workload.service == "llm_gateway"]
    trigger = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    return _scaled(gateway.kind, gateway.name, gateway.replicas, 16, trigger)


def _vllm() -> Object:
    metadata = {
        "serverAddress": PROMETHEUS,
        "query": "sum(vllm:num_requests_waiting)",
        "threshold": str(WAITING_REQUESTS),
    }
    return _scaled("Deployment", "vllm", 1, MAX_VLLM, {"type": "prometheus", "metadata": metadata})


def _scaled(kind: str, name: str, least: int, most: int, trigger: Object) -> Object:
    """Scaling in is slow: each change stops the whole group for a rebalance."""
    behaviour = {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 600,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
        },
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "tandem"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name},
            "minReplicaCount": least,
            "maxReplicaCount": most,
            "pollingInterval": 15,
            "cooldownPeriod": round(60 * WAIT_S),
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behaviour}},
            "triggers": [trigger],
        },
    }


def _authentication() -> Object:
    """The authority is the cluster's own; the user may describe topics and groups and nothing else."""
    secrets = [
        {"parameter": "password", "name": SCALER, "key": "password"},
        {"parameter": "ca", "name": "tandem-cluster-ca-cert", "key": "ca.crt"},
    ]
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": AUTHENTICATION, "labels": {"app.kubernetes.io/part-of": "tandem"}},
        "spec": {
            "configMapTargetRef": [{"parameter": "username", "name": AUTHENTICATION, "key": "username"}],
            "secretTargetRef": secrets,
        },
    }


def _name() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": AUTHENTICATION, "labels": {"app.kubernetes.io/part-of": "tandem"}},
        "data": {"username": SCALER},
    }
