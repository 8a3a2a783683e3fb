"""KafkaTopic and KafkaUser objects for Strimzi: the topic registry, and each service's rights by it."""

from __future__ import annotations

from typing import Any

from tandem.bus.kafka_admin import topic_settings
from tandem.contracts.topics import TOPICS, Topic
from tandem.deploy.objects import Object
from tandem.deploy.workloads import WORKLOADS, Workload
from tandem.settings import Settings

CLUSTER = {"strimzi.io/cluster": "tandem"}
REPLICAS = 3
PREFIX = "tandem"
SCALER = "tandem-keda"
PEOPLE = "tandem-console"
"""The command line of experts and operators: what the registry calls console."""


def topics() -> list[Object]:
    partitions = Settings(bus="kafka").partitions()
    return [
        _object(
            "KafkaTopic",
            f"{PREFIX}.{topic.name}".replace("_", "-"),  # as Kubernetes takes it
            topicName=f"{PREFIX}.{topic.name}",
            partitions=partitions[topic.spread],
            replicas=REPLICAS,
            config=topic_settings(topic, REPLICAS),
        )
        for topic in TOPICS.values()
    ]


def users() -> list[Object]:
    """One for each service that uses the bus, one for people, one for the autoscaler. Adapters: one each, by hand."""
    names = list(dict.fromkeys(workload.user for workload in WORKLOADS if "bus" in workload.facts.clients))
    made = [_user(name, _rights(name)) for name in names]
    return [*made, _user(PEOPLE, _peoples_rights()), _user(SCALER, [_seen(), _group("*", ["Describe"])])]


def _rights(user: str) -> list[Object]:
    workloads = [workload for workload in WORKLOADS if workload.user == user]
    service = workloads[0].service
    found = [_seen()]
    found += [_topic(topic, ["Read"]) for topic in TOPICS.values() if service in topic.consumers]
    found += [_topic(topic, ["Write"]) for topic in TOPICS.values() if service in topic.producers]
    return found + [_groups(workload) for workload in workloads]


def _peoples_rights() -> list[Object]:
    """Experts decide, operators look at everything and send dead letters again."""
    written = [_topic(topic, ["Write"]) for topic in TOPICS.values() if "console" in topic.producers]
    everything = {"type": "topic", "name": f"{PREFIX}.", "patternType": "prefix"}
    return [_seen(), _acl(everything, ["Read"]), *written, _group(f"{PREFIX}.", ["Describe"], prefix=True)]


def _seen() -> Object:
    """Every process checks at its start that all topics are as the registry says."""
    everything = {"type": "topic", "name": f"{PREFIX}.", "patternType": "prefix"}
    return _acl(everything, ["Describe", "DescribeConfigs"])


def _topic(topic: Topic, operations: list[str]) -> Object:
    return _acl({"type": "topic", "name": f"{PREFIX}.{topic.name}", "patternType": "literal"}, operations)


def _groups(workload: Workload) -> Object:
    if workload.service == "memory":  # a group for each generation of its store
        return _group(f"{PREFIX}.memory-", ["Read"], prefix=True)
    return _group(f"{PREFIX}.{workload.group}", ["Read"])


def _group(name: str, operations: list[str], *, prefix: bool = False) -> Object:
    return _acl({"type": "group", "name": name, "patternType": "prefix" if prefix else "literal"}, operations)


def _acl(resource: Object, operations: list[str]) -> Object:
    return {"resource": resource, "operations": operations, "host": "*"}


def _user(name: str, acls: list[Object]) -> Object:
    authorization = {"type": "simple", "acls": acls}
    return _object("KafkaUser", name, authentication={"type": "scram-sha-512"}, authorization=authorization)


def _object(kind: str, name: str, **spec: Any) -> Object:
    named = {"name": name, "labels": {**CLUSTER, "app.kubernetes.io/part-of": "tandem"}}
    return {"apiVersion": "kafka.strimzi.io/v1", "kind": kind, "metadata": named, "spec": spec}
