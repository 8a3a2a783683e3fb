"""What the rules of `.importlinter` cannot say: what pure modules may import, and that no module is forgotten."""

from __future__ import annotations

import ast
import configparser
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
RULES = configparser.ConfigParser()
RULES.read(ROOT / ".importlinter")
MAY_IMPORT_SERVICES = {"tandem.bench", "tandem.chaos", "tandem.cli", "tandem.embedded", "tandem.__main__"}
PURE = {
    *(
        "__future__",
        "ast",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "itertools",
    ),
    *("json", "math", "operator", "re", "types", "typing", "uuid", "pydantic"),
}
IMPURE_NAMES = {"uuid1", "uuid4", "now", "utcnow", "today", "open", "print", "input", "eval", "exec", "__import__"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("tandem", "services", include_external_packages=True, cache_dir=None)


def _listed(contract: str, field: str) -> set[str]:
    return set(RULES[f"importlinter:contract:{contract}"][field].split())


def test_the_rule_for_the_kernel_names_all_of_it() -> None:
    kernel = {
        f"tandem.{p.stem}" for p in (ROOT / "tandem").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert _listed("kernel", "source_modules") == kernel - MAY_IMPORT_SERVICES - {"tandem.__init__"}


def test_the_rule_for_services_names_all_of_them() -> None:
    services = {f"services.{p.parent.name}" for p in (ROOT / "services").glob("*/__main__.py")}
    assert _listed("independent", "modules") == services


def test_contracts_import_only_pydantic_the_standard_library_and_errors(graph: grimp.ImportGraph) -> None:
    allowed = {*sys.stdlib_module_names, "pydantic", "tandem.errors"}
    for module in graph.find_descendants("tandem.contracts") | {"tandem.contracts"}:
        imported = graph.find_modules_directly_imported_by(module)
        assert {name for name in imported if not name.startswith("tandem.contracts")} <= allowed, module


def test_decide_and_everything_under_it_is_pure(graph: grimp.ImportGraph) -> None:
    under = graph.find_upstream_modules("services.planner.decide", as_package=True)
    ours = {name for name in under if name.startswith(("tandem", "services"))}
    assert under - ours <= PURE
    assert not {
        name for name in ours if not name.startswith(("tandem.contracts", "tandem.packs", "services.planner"))
    } - {"tandem.errors", "tandem.text"}


def test_decide_calls_nothing_that_differs_from_time_to_time() -> None:
    for path in (ROOT / "services" / "planner" / "decide").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert called not in IMPURE_NAMES, f"{path.name}:{node.lineno}"
