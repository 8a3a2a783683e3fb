"""Who may connect to whom: every edge once, then one policy for each party. Everything else is denied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tandem.deploy.objects import Object, http_port, selector
from tandem.deploy.workloads import WORKLOADS, Workload

KAFKA_PORT, REDIS_PORT, SENTINEL_PORT, QDRANT_PORT, VLLM_PORT, OTLP_PORT = 9093, 6379, 26379, 6333, 8000, 4318
NOT_THE_WORLD = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]


class Edge(NamedTuple):
    """`source` may open a connection to `port` of `target`."""

    source: str
    target: str
    port: int


def _of(name: str) -> Object:
    return {"podSelector": {"matchLabels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "tandem"}}}


PARTIES: dict[str, Object] = {
    **{workload.name: {"podSelector": {"matchLabels": selector(workload)}} for workload in WORKLOADS},
    **{name: _of(name) for name in ("valkey", "valkey-proxy", "qdrant", "vllm", "otel-collector")},
    "kafka": {"podSelector": {"matchLabels": {"strimzi.io/cluster": "tandem"}}},
    "adapter": {
        "podSelector": {"matchLabels": {"tandem/adapter": "true"}}
    },  # channel adapters, brought by whoever deploys
}
"""Pods of this namespace."""

OUTSIDE: dict[str, Object] = {
    "prometheus": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    },
    "keda": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}},
    "strimzi": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"strimzi.io/kind": "cluster-operator"}}},
    "dns": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    },
    "world": {"ipBlock": {"cidr": "0.0.0.0/0", "except": NOT_THE_WORLD}},
    "kubernetes-api": {"ipBlock": {"cidr": "0.0.0.0/0"}},
}
"""Of other namespaces, or no pods."""


def _clients(workload: Workload) -> Iterator[Edge]:
    """What follows from the clients that the service builds."""
    ports = {each.service: each for each in WORKLOADS if each.facts.port is not None}
    targets = {
        "bus": ("kafka", KAFKA_PORT),
        "redis": ("valkey-proxy", REDIS_PORT),
        "vectors": ("qdrant", QDRANT_PORT),
        "llm": (ports["llm_gateway"].name, ports["llm_gateway"].facts.port),
        "memory": (ports["memory"].name, ports["memory"].facts.port),
    }
    for client in sorted(workload.facts.clients & targets.keys()):
        target, port = targets[client]
        assert port is not None
        yield Edge(workload.name, target, port)


def edges() -> list[Edge]:
    """Every allowed connection, name resolution aside."""
    ours = [edge for workload in WORKLOADS for edge in _clients(workload)]
    ours += [Edge(workload.name, "otel-collector", OTLP_PORT) for workload in WORKLOADS]
    ours += [Edge("prometheus", workload.name, http_port()) for workload in WORKLOADS]
    return [
        *ours,
        Edge("executor", "world", 443),
        Edge("llm-gateway", "vllm", VLLM_PORT),
        Edge("adapter", "kafka", KAFKA_PORT),
        Edge("keda", "kafka", KAFKA_PORT),
        *(Edge("kafka", "kafka", port) for port in (9090, 9091, KAFKA_PORT)),
        *(Edge("strimzi", "kafka", port) for port in (8443, 9090, 9091, KAFKA_PORT)),
        *(Edge("kafka", "kubernetes-api", port) for port in (443, 6443)),
        Edge("valkey-proxy", "valkey", REDIS_PORT),
        Edge("valkey", "valkey", REDIS_PORT),
        Edge("valkey", "valkey", SENTINEL_PORT),
        Edge("prometheus", "vllm", VLLM_PORT),
        Edge("prometheus", "qdrant", QDRANT_PORT),
        *(Edge("qdrant", "qdrant", port) for port in (6335,)),
    ]


def policies() -> list[Object]:
    denied = _policy("default-deny", {}, ingress=[], egress=[])
    return [denied, *(_party(name) for name in PARTIES if name != "adapter"), _adapters()]


def _party(name: str) -> Object:
    all_edges = edges()
    into = {edge: _peer(edge.source) for edge in all_edges if edge.target == name}
    out = {edge: _peer(edge.target) for edge in all_edges if edge.source == name}
    return _policy(
        name,
        PARTIES[name]["podSelector"],
        ingress=[{"from": [peer], "ports": [_tcp(edge.port)]} for edge, peer in into.items()],
        egress=[{"to": [peer], "ports": [_tcp(edge.port)]} for edge, peer in out.items()] + [_names()],
    )


def _adapters() -> Object:
    """What an adapter's own channel needs is for whoever brings it to allow."""
    out = [{"to": [_peer(edge.target)], "ports": [_tcp(edge.port)]} for edge in edges() if edge.source == "adapter"]
    return _policy("adapter", PARTIES["adapter"]["podSelector"], egress=[*out, _names()])


def _names() -> Object:
    return {"to": [OUTSIDE["dns"]], "ports": [{"protocol": "UDP", "port": 53}, _tcp(53)]}


def _peer(name: str) -> Object:
    return PARTIES[name] if name in PARTIES else OUTSIDE[name]


def _tcp(port: int) -> Object:
    return {"protocol": "TCP", "port": port}


def _policy(name: str, pods: Object, **rules: Any) -> Object:
    types = [word for word, key in (("Ingress", "ingress"), ("Egress", "egress")) if key in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "tandem"}},
        "spec": {"podSelector": pods, "policyTypes": types, **rules},
    }
