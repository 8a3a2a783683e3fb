"""What every workload must keep to: rules, each a sentence, a check, and a change that breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

Object = dict[str, Any]
Problems = Iterator[str]
ZERO = "0" * 64


@dataclass(frozen=True)
class Rule:
    """`check` yields what is wrong; `spoil` breaks the manifests so that it must."""

    sentence: str
    check: Callable[[list[Object]], Problems]
    spoil: Callable[[list[Object]], object]


def of(docs: list[Object], *kinds: str) -> list[Object]:
    return [doc for doc in docs if doc["kind"] in kinds]


def workloads(docs: list[Object]) -> list[Object]:
    return of(docs, "Deployment", "StatefulSet")


def named(docs: list[Object], name: str, *kinds: str) -> Object:
    [found] = [doc for doc in of(docs, *(kinds or ("Deployment", "StatefulSet"))) if doc["metadata"]["name"] == name]
    return found


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Object, init: bool = True) -> list[Object]:
    spec = pod(workload)
    return [*spec["containers"], *(spec.get("initContainers", []) if init else [])]


def each(
    look: Callable[[Object], Any], wanted: Callable[[Any], bool], init: bool = True
) -> Callable[[list[Object]], Problems]:
    """A check of every container."""

    def check(docs: list[Object]) -> Problems:
        for workload in workloads(docs):
            for container in containers(workload, init):
                found = look(container)
                if not wanted(found):
                    yield f"{workload['metadata']['name']}/{container['name']}: {found!r}"

    return check


def each_pod(look: Callable[[Object], Any], wanted: Callable[[Any], bool]) -> Callable[[list[Object]], Problems]:
    def check(docs: list[Object]) -> Problems:
        for workload in workloads(docs):
            found = look(pod(workload))
            if not wanted(found):
                yield f"{workload['metadata']['name']}: {found!r}"

    return check


def deep(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key, {}) if isinstance(value, dict) else None
    return value


def router(docs: list[Object]) -> Object:
    """The container that the broken examples break."""
    first: Object = pod(named(docs, "router"))["containers"][0]
    return first


def change(*path: str, to: Any) -> Callable[[list[Object]], None]:
    """Set a field of the router's container."""

    def spoil(docs: list[Object]) -> None:
        value = router(docs)
        for key in path[:-1]:
            value = value.setdefault(key, {})
        value[path[-1]] = to

    return spoil


def change_pod(*path: str, to: Any) -> Callable[[list[Object]], None]:
    def spoil(docs: list[Object]) -> None:
        value = pod(named(docs, "router"))
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return spoil


def drop(kind: str, name: str) -> Callable[[list[Object]], None]:
    def spoil(docs: list[Object]) -> None:
        docs.remove(named(docs, name, kind))

    return spoil


# Checks that are more than a field ---------------------------------------------------------------------------------


def selected(selector: Object, labels: Object) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def has_budget(docs: list[Object]) -> Problems:
    budgets = [doc["spec"]["selector"]["matchLabels"] for doc in of(docs, "PodDisruptionBudget")]
    for workload in workloads(docs):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if sum(selected(budget, labels) for budget in budgets) != 1:
            yield workload["metadata"]["name"]


def budgets_let_go(docs: list[Object]) -> Problems:
    for budget in of(docs, "PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable") != 1:
            yield budget["metadata"]["name"]


def spreads(docs: list[Object]) -> Problems:
    for workload in workloads(docs):
        found = pod(workload).get("topologySpreadConstraints", [])
        keys = {each["topologyKey"] for each in found}
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"} or not all(
            selected(each["labelSelector"]["matchLabels"], labels) for each in found
        ):
            yield workload["metadata"]["name"]


def drains(docs: list[Object]) -> Problems:
    drain = float(named(docs, "tandem", "ConfigMap")["data"]["TANDEM_DRAIN_S"])
    for workload in ours(docs):
        stop = deep(containers(workload, init=False)[0], "lifecycle", "preStop", "sleep", "seconds") or 0
        if pod(workload).get("terminationGracePeriodSeconds", 30) <= stop + 2 * drain:
            yield workload["metadata"]["name"]


def ours(docs: list[Object]) -> list[Object]:
    """Those that run Tandem's code."""
    return [each for each in workloads(docs) if pod(each)["containers"][0]["image"].startswith("tandem/")]


def keeps_its_place(docs: list[Object]) -> Problems:
    for workload in ours(docs):
        instance = [v for v in pod(workload)["containers"][0].get("env", []) if v["name"] == "TANDEM_KAFKA_INSTANCE"]
        stateful = workload["kind"] == "StatefulSet"
        sources = [deep(each, "valueFrom", "fieldRef", "fieldPath") for each in instance]
        if sources != (["metadata.name"] if stateful else []):
            yield workload["metadata"]["name"]


def labelled(docs: list[Object]) -> Problems:
    wanted = {f"app.kubernetes.io/{name}" for name in ("name", "component", "part-of", "instance")}
    for workload in workloads(docs):
        for labels in (workload["metadata"]["labels"], workload["spec"]["template"]["metadata"]["labels"]):
            if wanted - labels.keys():
                yield f"{workload['metadata']['name']}: {sorted(wanted - labels.keys())}"


def selectors_hit(docs: list[Object]) -> Problems:
    for workload in workloads(docs):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        hits = [each["metadata"]["name"] for each in workloads(docs) if _hits(workload, each)]
        if hits != [workload["metadata"]["name"]] or not labels:
            yield f"{workload['metadata']['name']} selects {hits}"


def _hits(one: Object, other: Object) -> bool:
    return selected(one["spec"]["selector"]["matchLabels"], other["spec"]["template"]["metadata"]["labels"])


SECRET_WORDS = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)


def no_secret_literals(docs: list[Object]) -> Problems:
    for workload in workloads(docs):
        for container in containers(workload):
            for variable in container.get("env", []):
                if SECRET_WORDS.search(variable["name"]) and "value" in variable:
                    yield f"{workload['metadata']['name']}: {variable['name']}"
                if re.search(r"://[^$/@]*:[^$@]+@", variable.get("value", "")):
                    yield f"{workload['metadata']['name']}: {variable['name']} has a password in an address"
    for settings in of(docs, "ConfigMap"):
        for key in settings.get("data", {}):
            if key.isupper() and SECRET_WORDS.search(key):
                yield f"{settings['metadata']['name']}: {key}"


def no_secrets_shipped(docs: list[Object]) -> Problems:
    yield from (doc["metadata"]["name"] for doc in of(docs, "Secret"))


def own_account(docs: list[Object]) -> Problems:
    accounts = {doc["metadata"]["name"]: doc for doc in of(docs, "ServiceAccount")}
    for workload in workloads(docs):
        name = workload["metadata"]["name"]
        if pod(workload).get("serviceAccountName") != name or name not in accounts:
            yield name
        elif accounts[name].get("automountServiceAccountToken") is not False:
            yield f"{name}: its account gives a token"


def no_rights(docs: list[Object]) -> Problems:
    kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    yield from (f"{doc['kind']} {doc['metadata']['name']}" for doc in of(docs, *kinds))


def own_redis_user(docs: list[Object]) -> Problems:
    users = []
    for workload in ours(docs):
        for variable in pod(workload)["containers"][0].get("env", []):
            if variable["name"] == "TANDEM_REDIS_URL":
                found = re.match(r"redis://([a-z_]+):\$\(REDIS_PASSWORD\)@", variable["value"])
                users.append(found[1] if found else f"none of {workload['metadata']['name']}")
    start = next(doc for doc in of(docs, "ConfigMap") if "start-valkey.sh" in doc.get("data", {}))
    known = set(re.findall(r"user (\w+) on >", start["data"]["start-valkey.sh"]))
    if len(set(users)) != len(users) or not set(users) <= known:
        yield f"{users}, of {sorted(known)}"


def own_kafka_user(docs: list[Object]) -> Problems:
    known = {doc["metadata"]["name"] for doc in of(docs, "KafkaUser")}
    for workload in ours(docs):
        env = {variable["name"]: variable for variable in pod(workload)["containers"][0].get("env", [])}
        if "TANDEM_KAFKA_USER" in env:
            user = env["TANDEM_KAFKA_USER"]["value"]
            secret = deep(env.get("TANDEM_KAFKA_PASSWORD", {}), "valueFrom", "secretKeyRef", "name")
            service = "tandem-" + workload["metadata"]["labels"]["app.kubernetes.io/component"].replace("_", "-")
            if not user == secret == service or user not in known:
                yield f"{workload['metadata']['name']}: {user}, {secret}"


def quorum(docs: list[Object]) -> Problems:
    brokers = named(docs, "broker", "KafkaNodePool")["spec"]["replicas"]
    for topic in of(docs, "KafkaTopic"):
        spec = topic["spec"]
        if spec["replicas"] != brokers or int(spec["config"]["min.insync.replicas"]) != max(1, brokers - 1):
            yield topic["metadata"]["name"]


def scaled_within_partitions(docs: list[Object]) -> Problems:
    topics = {doc["spec"]["topicName"]: doc["spec"]["partitions"] for doc in of(docs, "KafkaTopic")}
    for scaler in of(docs, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            topic = trigger["metadata"].get("topic")
            if topic is not None and scaler["spec"]["maxReplicaCount"] > topics.get(topic, 0):
                yield scaler["metadata"]["name"]


def scalers_own_the_number(docs: list[Object]) -> Problems:
    for scaler in of(docs, "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        found = [w for w in of(docs, target["kind"]) if w["metadata"]["name"] == target["name"]]
        if target["name"] == "vllm":
            continue
        if len(found) != 1 or "replicas" in found[0]["spec"]:
            yield scaler["metadata"]["name"]


def denied_by_default(docs: list[Object]) -> Problems:
    policy = named(docs, "default-deny", "NetworkPolicy")["spec"]
    if policy != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}:
        yield "default-deny lets something through"


def every_pod_has_a_policy(docs: list[Object]) -> Problems:
    policies = [doc["spec"]["podSelector"].get("matchLabels") for doc in of(docs, "NetworkPolicy")]
    for workload in workloads(docs):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if not any(selector and selected(selector, labels) for selector in policies):
            yield workload["metadata"]["name"]


def namespace_is_restricted(docs: list[Object]) -> Problems:
    [namespace] = of(docs, "Namespace")
    if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield namespace["metadata"]["name"]
    inside = {doc["metadata"].get("namespace") for doc in docs} - {None, namespace["metadata"]["name"]}
    yield from (f"something lies in {name}" for name in sorted(inside))


def volumes_are_harmless(docs: list[Object]) -> Problems:
    allowed = {"name", "emptyDir", "secret", "configMap", "persistentVolumeClaim"}
    for workload in workloads(docs):
        for volume in pod(workload).get("volumes", []):
            if volume.keys() - allowed or ("emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]):
                yield f"{workload['metadata']['name']}: {volume['name']}"


def references_exist(docs: list[Object]) -> Problems:
    names = {doc["metadata"]["name"] for doc in of(docs, "ConfigMap")}
    for workload in workloads(docs):
        volumes = [deep(each, "configMap", "name") for each in pod(workload).get("volumes", [])]
        sources = [deep(e, "configMapRef", "name") for c in containers(workload) for e in c.get("envFrom", [])]
        for name in filter(None, [*volumes, *sources]):
            if name not in names:
                yield f"{workload['metadata']['name']}: {name}"


def rolls_without_a_gap(docs: list[Object]) -> Problems:
    for workload in of(ours(docs), "Deployment"):
        rolling = deep(workload, "spec", "strategy", "rollingUpdate")
        if rolling != {"maxSurge": 1, "maxUnavailable": 0}:
            yield workload["metadata"]["name"]


def stateful_have_services(docs: list[Object]) -> Problems:
    services = {doc["metadata"]["name"]: doc["spec"] for doc in of(docs, "Service")}
    for workload in of(docs, "StatefulSet"):
        service = services.get(workload["spec"]["serviceName"])
        if service is None or service.get("clusterIP") != "None":
            yield workload["metadata"]["name"]


def pools_see_each_pod(docs: list[Object]) -> Problems:
    """A pool's name is a service that has each pod's own address in the DNS, and the port is the pods' own."""
    services = {doc["metadata"]["name"]: doc["spec"] for doc in of(docs, "Service")}
    for config in of(docs, "ConfigMap"):
        pools = yaml.safe_load(config.get("data", {}).get("pools.yaml", "pools: {}"))["pools"]
        for base in (base for pool in pools.values() for base in pool["replicas"]):
            url = urlsplit(base.removeprefix("dns+"))
            service = services.get(url.hostname, {})
            headless = base.startswith("dns+") and service.get("clusterIP") == "None"
            if not headless or url.port not in [port["port"] for port in service["ports"]]:
                yield base


def resources(container: Object) -> Any:
    found = container.get("resources", {})
    return [name for name in ("requests", "limits") for key in ("cpu", "memory") if not deep(found, name, key)]


def probes(container: Object) -> Any:
    return [name for name in ("startupProbe", "readinessProbe", "livenessProbe") if name not in container]


def _spoil_selector(docs: list[Object]) -> None:
    named(docs, "memory")["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = "router"


def _spoil(name: str, kind: str, *path: Any, to: Any) -> Callable[[list[Object]], None]:
    """Set a field of an object."""

    def spoil(docs: list[Object]) -> None:
        value: Any = named(docs, name, kind)
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return spoil


def _literal(docs: list[Object]) -> None:
    router(docs)["env"].append({"name": "TANDEM_SERVICE_TOKEN", "value": "in the clear"})


def _shared_user(docs: list[Object]) -> None:
    for variable in pod(named(docs, "memory"))["containers"][0]["env"]:
        if variable["name"] == "TANDEM_REDIS_URL":
            variable["value"] = "redis://planner:$(REDIS_PASSWORD)@valkey:6379/0"


def _add(document: Object) -> Callable[[list[Object]], None]:
    return lambda docs: docs.append(document)


def _secure(name: str) -> Callable[[Object], Any]:
    return lambda container: deep(container, "securityContext", name)


def _pod_secure(*path: str) -> Callable[[Object], Any]:
    return lambda spec: deep(spec, "securityContext", *path)


ANY = {"apiVersion": "v1", "metadata": {"name": "x"}}

RULES: tuple[Rule, ...] = (
    Rule(
        "Every container asks for CPU and memory, and has a limit of both.",
        each(resources, lambda m: not m),
        change("resources", "limits", to={}),
    ),
    Rule(
        "Every container is asked whether it has started, is ready and is alive.",
        each(probes, lambda m: not m, init=False),
        lambda docs: router(docs).pop("startupProbe"),
    ),
    Rule(
        "Liveness asks no dependency: it is never /readyz.",
        each(lambda c: deep(c, "livenessProbe", "httpGet", "path"), lambda p: p != "/readyz", init=False),
        change("livenessProbe", "httpGet", "path", to="/readyz"),
    ),
    Rule(
        "No container runs as root.",
        each_pod(_pod_secure("runAsNonRoot"), lambda v: v is True),
        change_pod("securityContext", "runAsNonRoot", to=False),
    ),
    Rule(
        "Every pod runs as a user with a number.",
        each_pod(_pod_secure("runAsUser"), lambda v: isinstance(v, int) and v > 0),
        change_pod("securityContext", "runAsUser", to=0),
    ),
    Rule(
        "The system calls are filtered by the runtime's profile.",
        each_pod(_pod_secure("seccompProfile", "type"), lambda v: v == "RuntimeDefault"),
        change_pod("securityContext", "seccompProfile", to={"type": "Unconfined"}),
    ),
    Rule(
        "No container can write to its own root file system.",
        each(_secure("readOnlyRootFilesystem"), lambda v: v is True),
        change("securityContext", "readOnlyRootFilesystem", to=False),
    ),
    Rule(
        "No container keeps a capability.",
        each(_secure("capabilities"), lambda v: v == {"drop": ["ALL"]}),
        change("securityContext", "capabilities", to={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    ),
    Rule(
        "No container can gain rights.",
        each(_secure("allowPrivilegeEscalation"), lambda v: v is False),
        change("securityContext", "allowPrivilegeEscalation", to=True),
    ),
    Rule(
        "No pod shares a namespace of its node.",
        each_pod(lambda s: [k for k in ("hostNetwork", "hostPID", "hostIPC") if s.get(k)], lambda v: not v),
        change_pod("hostNetwork", to=True),
    ),
    Rule(
        "Volumes are scratch with a limit, claims, or what is mounted from an object.",
        volumes_are_harmless,
        lambda docs: pod(named(docs, "router"))["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ),
    Rule(
        "Every image is named by its digest.",
        each(lambda c: c["image"], lambda i: bool(re.search(r"@sha256:[0-9a-f]{64}$", i))),
        change("image", to="tandem/router:latest"),
    ),
    Rule("Every workload has one disruption budget.", has_budget, drop("PodDisruptionBudget", "router")),
    Rule(
        "A disruption budget lets one pod go, so that nodes can be drained.",
        budgets_let_go,
        _spoil("router", "PodDisruptionBudget", "spec", to={"minAvailable": 2}),
    ),
    Rule(
        "Every workload's pods are spread over zones and nodes.",
        spreads,
        change_pod("topologySpreadConstraints", to=[]),
    ),
    Rule(
        "A pod is given longer to end than it may take to drain.",
        drains,
        change_pod("terminationGracePeriodSeconds", to=30),
    ),
    Rule(
        "What keeps its name keeps its partitions, and nothing else does.",
        keeps_its_place,
        lambda docs: pod(named(docs, "executor"))["containers"][0]["env"].pop(2),
    ),
    Rule(
        "Every workload and its pods have the recommended labels.",
        labelled,
        lambda docs: named(docs, "router")["metadata"]["labels"].pop("app.kubernetes.io/part-of"),
    ),
    Rule("A selector selects its own workload's pods only.", selectors_hit, _spoil_selector),
    Rule("No secret is written down in a variable, an address or a ConfigMap.", no_secret_literals, _literal),
    Rule("No Secret is part of the manifests.", no_secrets_shipped, _add({**ANY, "kind": "Secret"})),
    Rule(
        "Every workload has a service account of its own that gives no token.",
        own_account,
        change_pod("serviceAccountName", to="default"),
    ),
    Rule(
        "No pod is given a token.",
        each_pod(lambda s: s.get("automountServiceAccountToken"), lambda v: v is False),
        change_pod("automountServiceAccountToken", to=True),
    ),
    Rule("Nobody is given rights on the Kubernetes API.", no_rights, _add({**ANY, "kind": "ClusterRoleBinding"})),
    Rule("Each service that uses Redis has a user of its own there.", own_redis_user, _shared_user),
    Rule(
        "Each service that uses Kafka has a user of its own there.",
        own_kafka_user,
        lambda docs: next(v for v in router(docs)["env"] if v["name"] == "TANDEM_KAFKA_USER").update(
            value="tandem-planner"
        ),
    ),
    Rule(
        "A topic survives the loss of a broker wherever there is more than one.",
        quorum,
        _spoil("tandem.effects", "KafkaTopic", "spec", "replicas", to=7),
    ),
    Rule(
        "Nothing is scaled beyond the partitions of its topic.",
        scaled_within_partitions,
        _spoil("router", "ScaledObject", "spec", "maxReplicaCount", to=1_000),
    ),
    Rule(
        "Where an autoscaler decides, the manifests name no number of replicas.",
        scalers_own_the_number,
        _spoil("router", "Deployment", "spec", "replicas", to=2),
    ),
    Rule(
        "Whatever no policy allows is denied.",
        denied_by_default,
        _spoil("default-deny", "NetworkPolicy", "spec", "policyTypes", to=["Ingress"]),
    ),
    Rule("Every workload has a network policy of its own.", every_pod_has_a_policy, drop("NetworkPolicy", "router")),
    Rule(
        "Everything lies in one namespace that takes restricted pods only.",
        namespace_is_restricted,
        lambda docs: of(docs, "Namespace")[0]["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"),
    ),
    Rule("Every ConfigMap that is named is there.", references_exist, drop("ConfigMap", "tandem")),
    Rule(
        "A rollout of a Deployment takes no pod away before another is ready.",
        rolls_without_a_gap,
        _spoil("router", "Deployment", "spec", "strategy", to={"type": "Recreate"}),
    ),
    Rule(
        "A pool of models sees each pod, not one address for all of them.",
        pools_see_each_pod,
        _spoil("vllm", "Service", "spec", "clusterIP", to="10.0.0.1"),
    ),
    Rule("Every StatefulSet has its headless service.", stateful_have_services, drop("Service", "planner-owner")),
)
"""The suite."""
