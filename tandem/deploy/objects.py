"""A workload's Kubernetes objects: its common parts once, for all of them."""

from __future__ import annotations

from typing import Any

from tandem.deploy.workloads import Workload
from tandem.settings import Settings

Object = dict[str, Any]

KAFKA = "tandem-kafka-bootstrap:9093"
CA_SECRET = "tandem-cluster-ca-cert"
DIGEST = "sha256:" + 64 * "0"
HTTP = "http"
USER_ID = 10001  # of the Dockerfile
START_S = 300  # rag_agent embeds what is new in the packs before it is ready
SESSION_S = 30  # of those that keep their name: longer than a restart
PRE_STOP_S = 5  # until every node has heard that the pod is going


def labels(workload: Workload) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": workload.name,
        "app.kubernetes.io/component": workload.service,
        "app.kubernetes.io/part-of": "tandem",
    }


def selector(workload: Workload) -> dict[str, str]:
    return {key: labels(workload)[key] for key in ("app.kubernetes.io/name", "app.kubernetes.io/part-of")}


def config() -> Object:
    """What every service of the deployment agrees on, none of it secret."""
    defaults = Settings(bus="kafka")
    values = {
        "bus": "kafka",
        "kafka_bootstrap_servers": KAFKA,
        "kafka_ca": "/etc/tandem/kafka/ca.crt",
        "shards": defaults.shards,
        "work_partitions": defaults.work_partitions,
        "qdrant_url": "http://qdrant:6333",
        "llm_gateway_target": "llm-gateway:7001",
        "memory_target": "memory:7002",
        "channels": "/etc/tandem/channels/channels.yaml",
        "packs": "/app/packs",
        "otlp_endpoint": "http://otel-collector:4318",
        "drain_s": defaults.drain_s,
    }
    assert values.keys() <= Settings.model_fields.keys()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tandem", "labels": {"app.kubernetes.io/part-of": "tandem"}},
        "data": {f"TANDEM_{name.upper()}": str(value) for name, value in values.items()},
    }


def objects(workload: Workload) -> dict[str, Object]:
    """File name → object."""
    made = {
        "workload": _controller(workload),
        "serviceaccount": _named("v1", "ServiceAccount", workload, automountServiceAccountToken=False),
        "poddisruptionbudget": _named(
            "policy/v1",
            "PodDisruptionBudget",
            workload,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": selector(workload)}},
        ),
    }
    if workload.facts.port is not None or workload.stateful:
        made["service"] = _service(workload)
    return made


def _named(api: str, kind: str, workload: Workload, **more: Any) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": workload.name, "labels": labels(workload)}, **more}


def _controller(workload: Workload) -> Object:
    spec: Object = {"replicas": workload.replicas, "selector": {"matchLabels": selector(workload)}}
    if workload.stateful:
        spec |= {"serviceName": workload.name, "podManagementPolicy": "Parallel"}
        spec |= {"updateStrategy": {"type": "RollingUpdate"}}
    else:
        spec |= {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
    template = {"metadata": {"labels": labels(workload)}, "spec": _pod(workload)}
    return _named("apps/v1", workload.kind, workload, spec={**spec, "template": template})


def _service(workload: Workload) -> Object:
    """Headless: gRPC clients see every pod, a StatefulSet's pods have names."""
    port = workload.facts.port
    ports = [{"name": "grpc", "port": port, "targetPort": "grpc"}] if port else [{"name": HTTP, "port": http_port()}]
    spec = {"clusterIP": "None", "selector": selector(workload), "ports": ports}
    return _named("v1", "Service", workload, spec=spec)


def _pod(workload: Workload) -> Object:
    secure = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    spec: Object = {
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s(),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [_spread(workload, key) for key in ("topology.kubernetes.io/zone", HOST)],
        "containers": [{**_container(workload), "securityContext": secure}],
        "volumes": _volumes(workload),
    }
    if "packs" in workload.facts.clients:
        spec["initContainers"] = [{**_packs(), "securityContext": secure}]
    return spec


HOST = "kubernetes.io/hostname"


def grace_s() -> int:
    """Components and then their tasks may each take the drain; what closes after them is quick."""
    return round(PRE_STOP_S + 2 * Settings().drain_s + 10)


def http_port() -> int:
    port = Settings().http_port
    assert port is not None
    return port


def _spread(workload: Workload, key: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(workload)},
    }


def _container(workload: Workload) -> Object:
    ports = [{"name": HTTP, "containerPort": http_port()}]
    if workload.facts.port is not None:
        ports.append({"name": "grpc", "containerPort": workload.facts.port})
    size = workload.size
    return {
        "name": workload.name,
        "image": f"tandem/{workload.service}@{DIGEST}",
        "ports": ports,
        "envFrom": _env_from(workload),
        "env": _env(workload),
        "resources": {
            "requests": {"cpu": f"{size.cpu}m", "memory": f"{size.memory}Mi"},
            "limits": {"cpu": "2", "memory": f"{size.memory_limit}Mi"},
        },
        "startupProbe": _probe("/livez", period=2, failures=START_S // 2),
        "readinessProbe": _probe("/readyz", period=5, failures=3),
        "livenessProbe": _probe("/livez", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "volumeMounts": [
            {"name": volume["name"], "mountPath": MOUNTS[volume["name"]], **_read_only(volume)}
            for volume in _volumes(workload)
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> Object:
    """A readiness check of ours may take 3 s for each dependency, all at once."""
    seconds = {"periodSeconds": period, "timeoutSeconds": 4, "failureThreshold": failures}
    return {"httpGet": {"path": path, "port": HTTP}, **seconds}


def _packs() -> Object:
    """Packs are data with an image of their own, with the versions before (deploy/k8s/packs.Dockerfile)."""
    frozen = f"{MOUNTS['home']}/packs"
    copy = f"cp -r /packs/. {MOUNTS['packs']}/ && mkdir -p {frozen} && cp -r /frozen/. {frozen}/"
    return {
        "name": "packs",
        "image": f"tandem/packs@{DIGEST}",
        "command": ["sh", "-c", copy],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "volumeMounts": [{"name": name, "mountPath": MOUNTS[name]} for name in ("packs", "home")],
    }


# What each client needs ------------------------------------------------------------------------------------------

MOUNTS = {
    "home": "/var/lib/tandem",
    "tmp": "/tmp",
    "packs": "/app/packs",
    "channels": "/etc/tandem/channels",
    "kafka-ca": "/etc/tandem/kafka",
}


def _read_only(volume: Object) -> dict[str, bool]:
    return {} if volume["name"] in ("home", "tmp") else {"readOnly": True}


def _volumes(workload: Workload) -> list[Object]:
    clients = workload.facts.clients
    volumes: list[Object] = [
        {"name": "home", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    if "packs" in clients:
        volumes.append({"name": "packs", "emptyDir": {"sizeLimit": "256Mi"}})
    if "channels" in clients:
        volumes.append({"name": "channels", "secret": {"secretName": "tandem-channels"}})
    if "bus" in clients:
        only = [{"key": "ca.crt", "path": "ca.crt"}]
        volumes.append({"name": "kafka-ca", "secret": {"secretName": CA_SECRET, "items": only}})
    return volumes


def _env(workload: Workload) -> list[Object]:
    clients, known = workload.facts.clients, workload.facts.settings
    env: list[Object] = []
    if workload.role is not None:
        env.append({"name": "TANDEM_ROLE", "value": workload.role})
    if "bus" in clients:
        env.append({"name": "TANDEM_KAFKA_USER", "value": workload.user})
        env.append(_secret("TANDEM_KAFKA_PASSWORD", workload.user, "password"))
    if "bus" in clients and workload.stateful:
        env.append({"name": "TANDEM_KAFKA_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
        env.append({"name": "TANDEM_KAFKA_SESSION_S", "value": str(SESSION_S)})
    if "redis" in clients:
        env.append(_secret("REDIS_PASSWORD", "valkey-users", workload.service))
        address = f"redis://{workload.service}:$(REDIS_PASSWORD)@valkey:6379/0"
        env.append({"name": "TANDEM_REDIS_URL", "value": address})
    if clients & {"llm", "memory"} or workload.facts.port is not None:
        env.append(_secret("TANDEM_SERVICE_TOKEN", "tandem-service-token", "token"))
    if "llm_grants" in known:
        env.append({"name": "TANDEM_LLM_GRANTS", "value": "redis"})
    if "llm_api_key" in known:
        env.append(_secret("TANDEM_LLM_API_KEY", "tandem-llm", "api-key", optional=True))
    return env


def _env_from(workload: Workload) -> list[Object]:
    """The executor's tools name variables of their own: addresses and secrets of the business's systems."""
    sources: list[Object] = [{"configMapRef": {"name": "tandem"}}]
    if workload.service == "executor":
        sources.append({"secretRef": {"name": "tandem-tools", "optional": True}})
    return sources


def _secret(name: str, secret: str, key: str, *, optional: bool = False) -> Object:
    source: Object = {"name": secret, "key": key}
    if optional:
        source["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": source}}
