"""What is generated is up to date, and says what the registry, the services and the compose file say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tandem.bus.kafka_admin import topic_settings
from tandem.contracts.topics import SERVICES, TOPICS
from tandem.deploy import render
from tandem.deploy.workloads import WORKLOADS
from tandem.packs.registry import Packs
from tandem.settings import Settings
from tests.deploy.policies import named, of, pod, workloads
from tests.deploy.tools import OVERLAYS, ROOT, rendered

FOLDER = ROOT / render.FOLDER
FILES = render.files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_generated_file_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == FILES[name], "run `tandem deploy render`"


def test_nothing_generated_is_left_over() -> None:
    there = {path for path in FOLDER.rglob("*.yaml") if path.read_text(encoding="utf-8").startswith(render.HEADER)}
    assert {str(path.relative_to(FOLDER)) for path in there} == set(FILES)


def test_everything_is_used() -> None:
    used = {path for file in FOLDER.rglob("kustomization.yaml") for path in _used(file)}
    components = set((FOLDER / "components").iterdir())
    assert components <= used
    for path in FOLDER.rglob("*.yaml"):
        assert path.name == "kustomization.yaml" or path in used, path


def _used(file: Path) -> set[Path]:
    body = yaml.safe_load(file.read_text(encoding="utf-8"))
    names = [name for key in ("resources", "components") for name in body.get(key, [])]
    names += [name for made in body.get("configMapGenerator", []) for name in made["files"]]
    return {(file.parent / name).resolve() for name in names}


def test_every_service_is_a_workload() -> None:
    assert {workload.service for workload in WORKLOADS} == set(SERVICES)
    assert [w.role for w in WORKLOADS if w.service == "planner"] == ["owner", "worker"]
    kinds = {workload.name: workload.kind for workload in WORKLOADS}
    assert kinds["planner-owner"] == "StatefulSet"
    assert kinds["planner-worker"] == "Deployment"


_NAMED = re.compile(r"kubectl .* (deploy|statefulset)/([\w-]+)(?= |$)", re.MULTILINE)


def test_the_docs_commands_name_workloads_that_there_are() -> None:
    there = {(found["kind"], found["metadata"]["name"]) for found in workloads(rendered("prod"))}
    kinds = {"deploy": "Deployment", "statefulset": "StatefulSet"}
    named = {
        (kinds[kind], name)
        for page in (ROOT / "docs").glob("*.md")
        for kind, name in _NAMED.findall(page.read_text(encoding="utf-8"))
    }
    assert ("Deployment", "llm-gateway") in named
    assert named <= there


def test_a_file_is_written_only_where_it_belongs(tmp_path: Path) -> None:
    assert {str(path.relative_to(tmp_path / render.FOLDER)) for path in render.write(tmp_path)} == set(FILES)


@pytest.mark.kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_topics_are_the_registrys(overlay: str) -> None:
    docs = rendered(overlay)
    found = {doc["spec"]["topicName"].removeprefix("tandem."): doc["spec"] for doc in of(docs, "KafkaTopic")}
    assert found.keys() == TOPICS.keys()
    config = named(docs, "tandem", "ConfigMap")["data"]
    partitions = Settings(
        bus="kafka", shards=int(config["TANDEM_SHARDS"]), work_partitions=int(config["TANDEM_WORK_PARTITIONS"])
    ).partitions()
    for name, topic in TOPICS.items():
        assert found[name]["partitions"] == partitions[topic.spread]
        wanted = topic_settings(topic, 3)
        assert found[name]["config"].keys() == wanted.keys()
        assert {k: v for k, v in found[name]["config"].items() if k != "min.insync.replicas"} == {
            k: v for k, v in wanted.items() if k != "min.insync.replicas"
        }


@pytest.mark.kustomize
def test_the_rights_on_kafka_are_the_registrys() -> None:
    users = {doc["metadata"]["name"]: doc["spec"]["authorization"]["acls"] for doc in of(rendered("prod"), "KafkaUser")}
    for service in SERVICES:
        acls = users.get(f"tandem-{service}".replace("_", "-"))
        if acls is None:
            assert service == "llm_gateway"  # it uses no bus
            continue
        for operation, side in (("Read", "consumers"), ("Write", "producers")):
            may = {a["resource"]["name"] for a in acls if operation in a["operations"] and _literal(a, "topic")}
            must = {f"tandem.{topic.name}" for topic in TOPICS.values() if service in getattr(topic, side)}
            assert may == must, f"{service} {operation}"
    assert all(acl["operations"] in (["Describe", "DescribeConfigs"], ["Describe"]) for acl in users["tandem-keda"])


def _literal(acl: dict, kind: str) -> bool:
    return acl["resource"]["type"] == kind and acl["resource"]["patternType"] == "literal"


@pytest.mark.kustomize
def test_only_the_owner_side_writes_what_executors_trust() -> None:
    """services/executor/README.md: no other principal may write `tasks.executor`."""
    writers = {
        doc["metadata"]["name"]
        for doc in of(rendered("prod"), "KafkaUser")
        for acl in doc["spec"]["authorization"]["acls"]
        if acl["resource"]["name"] == "tandem.tasks.executor" and "Write" in acl["operations"]
    }
    assert writers == {"tandem-planner"}


@pytest.mark.kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_variables_are_settings_that_the_service_reads(overlay: str) -> None:
    docs = rendered(overlay)
    shared = set(named(docs, "tandem", "ConfigMap")["data"])
    everything = {f"TANDEM_{name.upper()}" for w in WORKLOADS for name in w.facts.settings}
    assert shared <= everything
    for workload in WORKLOADS:
        env = pod(named(docs, workload.name))["containers"][0].get("env", [])
        given = {variable["name"] for variable in env if variable["name"].startswith("TANDEM_")}
        assert given <= {f"TANDEM_{name.upper()}" for name in workload.facts.settings}, workload.name


@pytest.mark.kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_addresses_are_those_of_services(overlay: str) -> None:
    docs = rendered(overlay)
    names = {doc["metadata"]["name"] for doc in of(docs, "Service")} | {"tandem-kafka-bootstrap"}
    data = named(docs, "tandem", "ConfigMap")["data"]
    optional = {"TANDEM_OTLP_ENDPOINT"} if overlay == "dev" else set()
    for key, value in data.items():
        if key.endswith(("_TARGET", "_URL", "_ENDPOINT", "_SERVERS")) and key not in optional:
            host = value.rpartition("//")[2].split(":")[0]
            assert host in names, key


def test_the_digests_are_placeholders_of_one_form() -> None:
    images = {c["image"].partition("@")[2] for w in workloads(_base()) for c in pod(w)["containers"]}
    assert images == {"sha256:" + 64 * "0"}


def _base() -> list[dict]:
    return [yaml.safe_load(text) for name, text in FILES.items() if name.endswith("/workload.yaml")]


def test_the_versions_of_packs_that_tickets_still_run_on_come_with_the_image(tmp_path: Path) -> None:
    """The line of packs.Dockerfile freezes them, the init container puts them where `Wiring` looks."""
    dockerfile = (FOLDER / "packs.Dockerfile").read_text(encoding="utf-8")
    [line] = re.findall(r"^RUN (\[.+\])$", dockerfile, re.MULTILINE)
    _, _, code = json.loads(line)
    frozen = tmp_path / "home" / "packs"
    code = code.replace("/tmp/frozen", str(frozen)).replace("'/packs'", repr(str(ROOT / "packs")))
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    hashes = {name: Packs(ROOT / "packs").get(name).hash for name in Packs(ROOT / "packs").names()}
    assert {path.name for path in frozen.iterdir()} == {f"{name}-{hash}.json" for name, hash in hashes.items()}
    for workload in (w for w in WORKLOADS if "packs" in w.facts.clients):
        [init] = pod(yaml.safe_load(FILES[f"base/{workload.name}/workload.yaml"]))["initContainers"]
        assert init["command"][2].endswith("cp -r /frozen/. /var/lib/tandem/packs/")
