"""The house rules that a linter does not know."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tandem.asyncapi import all_messages
from tandem.cli import COMMANDS
from tandem.contracts.topics import SERVICES, TOPICS
from tandem.settings import Settings

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
CODE = [name for name in TRACKED if name.endswith(".py") and name.startswith(("tandem/", "services/", "examples/"))]
OWN = [name for name in CODE if not name.startswith("tandem/rpc/v1/")]

MAX_MODULE, MAX_FUNCTION, MAX_PARAMETERS = 400, 50, 10


@pytest.mark.parametrize("name", OWN)
def test_modules_and_functions_can_be_read(name: str) -> None:
    source = (ROOT / name).read_text(encoding="utf-8")
    assert source.count("\n") <= MAX_MODULE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, node.name
            assert len(node.args.args) + len(node.args.kwonlyargs) <= MAX_PARAMETERS, node.name


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_shape(service: str) -> None:
    folder = ROOT / "services" / service
    for name in ("__main__.py", "app.py", "handlers.py", "settings.py", "README.md"):
        assert (folder / name).exists(), name


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_readme_has_its_topics_and_its_settings(service: str) -> None:
    text = _readme(service)
    kind = _settings(service)
    named = {name.lower() for name in re.findall(r"`TANDEM_([A-Z0-9_]+)`", text)}
    own = _own_fields(service)
    assert own <= named, f"missing: {own - named}"
    assert named <= set(kind.model_fields), f"unknown: {named - set(kind.model_fields)}"
    consumed = [
        topic.name for topic in TOPICS.values() if service in topic.consumers and not topic.name.endswith(".retry")
    ]
    assert [topic for topic in consumed if f"`{topic}`" not in text] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_readme_tells_the_defaults_as_they_are(service: str) -> None:
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`TANDEM_[^|]+) \| ([^|]+) \|", _readme(service), re.MULTILINE):
        fields = [name.lower() for name in re.findall(r"TANDEM_([A-Z0-9_]+)", names)]
        values = [text.strip(" `") for text in defaults.split(",")]
        told |= dict(zip(fields, values * len(fields) if len(values) == 1 else values, strict=True))
    fields = _settings(service).model_fields
    plain = {name for name in _own_fields(service) if fields[name].default_factory is None}
    assert {name: told[name] for name in plain} == {name: _written(fields[name].default) for name in plain}


def test_the_settings_of_all_services_are_described() -> None:
    for service in SERVICES:
        assert [name for name, field in _settings(service).model_fields.items() if not field.description] == []


def test_every_message_has_a_golden_example() -> None:
    folder = ROOT / "tests" / "contracts" / "messages" / "examples"
    assert {path.stem for path in folder.glob("*.json")} == set(all_messages())


FORBIDDEN = {
    "one machine's folders": (r"/(?:root|work|home)/\w+|/opt/wheels", "/home/ann/tandem"),
    "a registry": (r"pythonhosted\.org|pypi\.org/simple|repo1?\.maven\.org|index-url", "--index-url x"),
    "a private key": (r"BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY", "-----BEGIN PRIVATE KEY-----"),
    "a token": (r"AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|\bsk-\w{20,}|xox[bp]-\d{8,}", "sk-" + 20 * "a"),
    "work left over": (r"\b(?:TODO|FIXME|XXX)\b", "# TODO"),
}


@pytest.mark.parametrize(("pattern", "example"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_nothing_tracked_speaks_of(pattern: str, example: str) -> None:
    assert re.search(pattern, example)
    may = {str(Path(__file__).relative_to(ROOT)), "uv.lock"}
    assert [name for name in TRACKED if name and name not in may and _reads(ROOT / name, re.compile(pattern))] == []


@pytest.mark.parametrize("name", [name for name in TRACKED if name.endswith(".md")])
def test_links_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()] == []


def test_the_readme_names_only_commands_and_settings_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:bin/|`)tandem ([a-z][a-z-]*)", text)) <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.findall(r"\$ make (\w+)", text)) <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    known = {field for service in SERVICES for field in _settings(service).model_fields}
    assert {name.lower() for name in re.findall(r"TANDEM_([A-Z_]+)", text)} <= known


@pytest.mark.parametrize(
    "name", ["LICENSE", "CHANGELOG.md", "README.md", "docs/architecture.md", ".env.example", ".ci/run"]
)
def test_what_a_newcomer_looks_for_is_there(name: str) -> None:
    assert name in TRACKED


def _reads(path: Path, pattern: re.Pattern[str]) -> bool:
    try:
        return path.is_file() and bool(pattern.search(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError:
        return False


def _readme(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")


def _settings(service: str) -> type[Settings]:
    module = importlib.import_module(f"services.{service}.settings")
    [kind] = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    assert issubclass(kind, Settings)
    return kind


def _own_fields(service: str) -> set[str]:
    return set(_settings(service).model_fields) - set(Settings.model_fields)


def _written(default: Any) -> str:
    """As a README's table has it: JSON, and a dash for nothing."""
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value)
