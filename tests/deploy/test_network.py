"""Every allowed connection, listed, and compared with what the code does: the topic registry and the clients of gRPC."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest

from tandem.contracts.topics import SERVICES, TOPICS
from tests.deploy.policies import of
from tests.deploy.tools import ROOT, rendered

pytestmark = pytest.mark.kustomize

SERVICE_OF = {
    "router": "router",
    "planner-owner": "planner",
    "planner-worker": "planner",
    "rag-agent": "rag_agent",
    "function-agent": "function_agent",
    "executor": "executor",
    "memory": "memory",
    "llm-gateway": "llm_gateway",
}

ALLOWED = """
router          kafka:9093 llm-gateway:7001 otel-collector:4318
planner-owner   kafka:9093 valkey-proxy:6379 otel-collector:4318
planner-worker  kafka:9093 llm-gateway:7001 memory:7002 otel-collector:4318
rag-agent       kafka:9093 llm-gateway:7001 qdrant:6333 otel-collector:4318
function-agent  kafka:9093 llm-gateway:7001 otel-collector:4318
executor        kafka:9093 world:443 otel-collector:4318
memory          kafka:9093 llm-gateway:7001 valkey-proxy:6379 otel-collector:4318
llm-gateway     valkey-proxy:6379 vllm:8000 otel-collector:4318
adapter         kafka:9093
kafka           kafka:9090 kafka:9091 kafka:9093 kubernetes-api:443 kubernetes-api:6443
valkey-proxy    valkey:6379
valkey          valkey:6379 valkey:26379
qdrant          qdrant:6335
"""
"""Who may connect to what, name resolution aside. A change here is a decision."""


def allowed() -> dict[str, set[str]]:
    return {line.split()[0]: set(line.split()[1:]) for line in ALLOWED.strip().splitlines()}


def policies() -> dict[str, dict[str, Any]]:
    return {doc["metadata"]["name"]: doc["spec"] for doc in of(rendered("prod"), "NetworkPolicy")}


def name_of(peer: dict[str, Any]) -> str:
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    if "ipBlock" in peer:
        return "world" if peer["ipBlock"].get("except") else "kubernetes-api"
    if "strimzi.io/cluster" in labels:
        return "kafka"
    if "tandem/adapter" in labels:
        return "adapter"
    space = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
    return (
        labels.get("app.kubernetes.io/name") or labels.get("k8s-app") or labels.get("strimzi.io/kind") or space or "?"
    )


def rules(spec: dict[str, Any], side: str, peers: str) -> Iterator[tuple[str, int]]:
    for rule in spec.get(side, []):
        for peer in rule[peers]:
            for port in rule["ports"]:
                yield name_of(peer), port["port"]


def out(name: str) -> set[str]:
    return {f"{peer}:{port}" for peer, port in rules(policies()[name], "egress", "to") if peer != "kube-dns"}


def test_the_list_is_of_all_that_open_connections() -> None:
    assert {name for name in policies() if name != "default-deny" and out(name)} == allowed().keys()


@pytest.mark.parametrize("name", sorted(allowed()))
def test_it_may_open_these_connections_and_no_others(name: str) -> None:
    assert out(name) == allowed()[name]


def test_whoever_may_call_may_be_answered() -> None:
    """An edge inside the namespace is allowed at both of its ends."""
    found = policies()
    for source, targets in allowed().items():
        for target in targets:
            name, _, port = target.partition(":")
            if name in found:
                assert (source, int(port)) in set(rules(found[name], "ingress", "from")), f"{source} → {target}"
    for name, spec in found.items():
        for source, port in rules(spec, "ingress", "from"):
            if source in found:
                assert f"{name}:{port}" in out(source), f"{source} → {name}:{port}"


def test_whoever_is_in_the_topic_registry_reaches_kafka() -> None:
    in_registry = {name for topic in TOPICS.values() for name in (*topic.producers, *topic.consumers)}
    by_bus = {service for service in SERVICES if "bus" in _asked(service)}
    reach = {SERVICE_OF[name] for name in SERVICE_OF if "kafka:9093" in out(name)}
    assert reach == by_bus <= in_registry


@pytest.mark.parametrize("client", ["llm", "memory"])
def test_only_the_clients_of_grpc_reach_its_servers(client: str) -> None:
    target = {"llm": "llm-gateway:7001", "memory": "memory:7002"}[client]
    reach = {SERVICE_OF[name] for name in SERVICE_OF if target in out(name)}
    assert reach == {service for service in SERVICES if client in _asked(service)}


def test_the_model_is_reached_from_the_gateway_alone() -> None:
    assert {source for source, _ in rules(policies()["vllm"], "ingress", "from")} == {"llm-gateway", "prometheus"}


def test_programs_made_from_customers_words_reach_nothing_outside() -> None:
    assert {target.split(":")[0] for target in out("function-agent")} == {"kafka", "llm-gateway", "otel-collector"}


def test_the_world_is_the_executors_and_has_no_private_addresses() -> None:
    assert [name for name in policies() if "world:443" in out(name)] == ["executor"]
    [block] = [rule["to"][0]["ipBlock"] for rule in policies()["executor"]["egress"] if "ipBlock" in rule["to"][0]]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(block["except"])


def _asked(service: str) -> set[str]:
    """The clients that a service's composition takes from its wiring, by its source."""
    tree = ast.parse((ROOT / "services" / service / "app.py").read_text(encoding="utf-8"))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wiring"
    } | ({"bus"} if _calls(tree, "agent_loop") or _calls(tree, "agent") else set())


def _calls(tree: ast.AST, name: str) -> bool:
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(getattr(each, "id", getattr(each, "attr", "")) == name for each in called)
