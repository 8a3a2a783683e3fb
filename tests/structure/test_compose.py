"""docker-compose.yml is valid, complete, and says nothing twice or in the clear."""

from __future__ import annotations

import importlib
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
OURS = {name: body for name, body in COMPOSE["services"].items() if "build" in body}
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


@pytest.mark.parametrize("name", sorted(set(COMPOSE["services"]) - set(OURS) - {"jaeger", "otel_collector"}))
def test_every_server_says_how_it_is(name: str) -> None:
    assert COMPOSE["services"][name]["healthcheck"]["test"]


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
