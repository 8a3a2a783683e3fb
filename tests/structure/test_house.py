"""The house rules that a linter does not know."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

from tandem.contracts.message import MESSAGES
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
    text = (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")
    module = importlib.import_module(f"services.{service}.settings")
    [kind] = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    assert issubclass(kind, Settings)
    own = set(kind.model_fields) - set(Settings.model_fields)
    named = {name.lower() for name in re.findall(r"`TANDEM_([A-Z0-9_]+)`", text)}
    assert own <= named, f"missing: {own - named}"
    assert named <= set(kind.model_fields), f"unknown: {named - set(kind.model_fields)}"
    consumed = [
        topic.name for topic in TOPICS.values() if service in topic.consumers and not topic.name.endswith(".retry")
    ]
    assert [topic for topic in consumed if f"`{topic}`" not in text] == []


def test_every_message_has_a_golden_example() -> None:
    folder = ROOT / "tests" / "contracts" / "messages" / "examples"
    assert {path.stem for path in folder.glob("*.json")} == set(MESSAGES)


def test_nothing_tracked_speaks_of_one_machine() -> None:
    forbidden = re.compile(r"/(?:root|work)/(?:main|shared)|/opt/wheels|BEGIN (?:RSA |EC )?PRIVATE KEY")
    found = [name for name in TRACKED if name and _reads(ROOT / name, forbidden)]
    assert found == [str(Path(__file__).relative_to(ROOT))]


def _reads(path: Path, pattern: re.Pattern[str]) -> bool:
    try:
        return path.is_file() and bool(pattern.search(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError:
        return False
