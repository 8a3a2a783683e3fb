"""docker-compose.yml is valid, complete, and says nothing twice or in the clear."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import ComposeSpecification, PyCompose
from pydantic import ValidationError

from tandem.contracts.topics import AGENTS, SERVICES, TOPICS
from tandem.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
OURS = {name: body for name, body in COMPOSE["services"].items() if "SERVICE" in body.get("build", {}).get("args", {})}
WITHOUT_A_SHELL = {"jaeger", "otel_collector"}  # nothing in the image to ask them with
FOLDERS = {path.name for path in (ROOT / "services").iterdir() if (path / "__main__.py").exists()}


def test_it_is_valid_by_the_compose_specification() -> None:
    ComposeSpecification.model_validate(COMPOSE)
    PyCompose.from_yaml(yaml.safe_dump(COMPOSE)).validate()


def test_the_specification_would_find_a_mistake() -> None:
    wrong = {"services": {"router": {"image": 3, "no_such_key": True}}}
    with pytest.raises(ValidationError):
        ComposeSpecification.model_validate(wrong)


def test_folders_compose_and_the_registry_name_the_same_services() -> None:
    built = {body["build"]["args"]["SERVICE"] for body in OURS.values()}
    consumers = {consumer for topic in TOPICS.values() for consumer in topic.consumers}
    assert FOLDERS == set(SERVICES) == built
    assert consumers - {"adapter", "console"} == {*AGENTS, "router", "memory"}


@pytest.mark.parametrize("name", sorted(set(COMPOSE["services"]) - {"topics", *WITHOUT_A_SHELL}))
def test_every_server_says_how_it_is(name: str) -> None:
    assert COMPOSE["services"][name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_what_a_service_waits_for_can_happen(name: str) -> None:
    for other, how in COMPOSE["services"][name].get("depends_on", {}).items():
        body = COMPOSE["services"][other]
        assert "profiles" not in body
        assert ("healthcheck" in body) == (how["condition"] == "service_healthy"), other


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_can_do_little(name: str) -> None:
    body = OURS[name]
    assert body["read_only"]
    assert body["cap_drop"] == ["ALL"]
    assert body["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in body


def test_nothing_listens_beyond_this_host() -> None:
    published = [port for body in COMPOSE["services"].values() for port in body.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_example_environment_names_every_variable() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    named = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == used


def test_the_planner_runs_in_both_roles() -> None:
    roles = [body["environment"]["TANDEM_ROLE"] for body in OURS.values() if "TANDEM_ROLE" in body["environment"]]
    assert sorted(roles) == ["owner", "worker"]


def test_addresses_are_those_of_services_in_the_file() -> None:
    for body in OURS.values():
        for host in re.findall(r"\b([a-z_]+):\d{4,5}\b", " ".join(map(str, body["environment"].values()))):
            assert host in COMPOSE["services"], host


def test_the_collectors_pipelines_are_made_of_what_it_defines() -> None:
    collector = yaml.safe_load((ROOT / "deploy" / "observability" / "collector.yaml").read_text(encoding="utf-8"))
    for pipeline in collector["service"]["pipelines"].values():
        assert set(pipeline["receivers"]) <= set(collector["receivers"])
        assert set(pipeline["processors"]) <= set(collector["processors"])
        assert pipeline["exporters"] == ["${env:TRACES_TO}"]
    assert set(re.findall(r"debug|otlp/jaeger", (ROOT / ".env.example").read_text())) == set(collector["exporters"])
    assert COMPOSE["services"]["otel_collector"]["environment"] == {"TRACES_TO": "${TRACES_TO:-debug}"}


def test_an_image_has_the_kernel_and_one_service_and_no_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert "ARG SERVICE" in lines
    copied = [line.split()[1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert copied == ["pyproject.toml", "tandem", "services/__init__.py", "services/${SERVICE}"]
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    assert any("uv sync --frozen --no-dev" in line for line in lines)


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_images_are_pinned(name: str) -> None:
    body = COMPOSE["services"][name]
    assert "build" in body or (":" in body["image"] and not body["image"].endswith(":latest"))


@pytest.mark.parametrize("name", sorted(OURS))
def test_settings_are_ones_that_a_service_reads(name: str) -> None:
    service = OURS[name]["build"]["args"]["SERVICE"]
    known = set(Settings.model_fields) | _own_settings(service)
    given = {key.removeprefix("TANDEM_").lower() for key in OURS[name]["environment"] if key.startswith("TANDEM_")}
    assert given <= known


def test_no_secret_is_written_down() -> None:
    for name, body in COMPOSE["services"].items():
        for key, value in (body.get("environment") or {}).items():
            if any(word in key for word in ("TOKEN", "KEY", "SECRET", "PASSWORD")):
                assert str(value).startswith("${"), f"{name}: {key}"


def _own_settings(service: str) -> set[str]:
    module = importlib.import_module(f"services.{service}.settings")
    kinds = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Settings)]
    return {field for kind in kinds for field in kind.model_fields}
