"""`tandem pack compile` and `tandem pack simulate`, as authors use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tandem.cli.pack import app
from tandem.packs.scaffold import new_pack

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"
WORDS = """\
---
intent: callback
---
1. Ask for the `topic`, then ask whether it is urgent (`urgent`): "Is it urgent?"
2. If so, hand over: "A colleague rings you about {topic} at once."
3. Otherwise hand over: "A colleague will ring you about {topic}."
"""


def tandem(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = new_pack(tmp_path, "shop")
    (made / "procedures" / "callback.md").write_text(WORDS, encoding="utf-8")
    return made


def flow(folder: Path) -> str:
    return (folder / "procedures" / "callback.flow.yaml").read_text(encoding="utf-8")


def test_the_platforms_own_pack_is_as_compiled() -> None:
    result = tandem("compile", CLOUD, "--check")
    assert result.exit_code == 0, result.output


def test_nothing_is_written_without_a_yes(folder: Path) -> None:
    before = flow(folder)
    shown = tandem("compile", folder)
    assert shown.exit_code == 0
    assert "+  ask_urgent:" in shown.stderr
    assert tandem("compile", folder, "--check").exit_code == 1
    assert tandem("compile", folder, "--write", answer="n\n").exit_code == 0
    assert flow(folder) == before


def test_a_yes_writes_a_flow_that_is_then_as_compiled(folder: Path) -> None:
    assert tandem("compile", folder, "callback", "--write", answer="y\n").exit_code == 0
    assert "confirm: urgent" in flow(folder)
    assert tandem("compile", folder, "--check").exit_code == 0
    assert tandem("check", folder).exit_code == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("Otherwise hand over", "Otherwise kindly hand over"), "sentence 3"),
        (("intent: callback", "no: intent"), "front matter"),
    ],
)
def test_what_cannot_be_compiled_says_where_and_writes_nothing(
    folder: Path, change: tuple[str, str], says: str
) -> None:
    before = flow(folder)
    (folder / "procedures" / "callback.md").write_text(WORDS.replace(*change), encoding="utf-8")
    result = tandem("compile", folder, "--write", "--yes")
    assert result.exit_code == 1
    assert says in result.stderr
    assert flow(folder) == before


def test_free_text_without_a_model_says_which_sentences(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TANDEM_LLM_BASE_URL", "TANDEM_LLM_POOLS", "TANDEM_LLM_REPLAY"):
        monkeypatch.delenv(name, raising=False)
    (folder / "procedures" / "callback.md").write_text(WORDS.replace("hand over", "call them"), encoding="utf-8")
    result = tandem("compile", folder, "--model", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"]) == (1, False)
    assert "sentence 2" in found["procedures"][0]["error"]
    assert "no model could be asked" in found["procedures"][0]["error"]


def test_a_procedure_that_is_not_there_is_said(folder: Path) -> None:
    result = tandem("compile", folder, "refund")
    assert result.exit_code == 1
    assert "procedures of this pack: callback" in result.stderr


def test_every_branch_is_simulated(folder: Path) -> None:
    tandem("compile", folder, "--write", "--yes")
    result = tandem("simulate", folder, "--json")
    (found,) = json.loads(result.stdout)["procedures"]
    assert (result.exit_code, found["ok"], found["nodes"]) == (0, True, {"all": 4, "unreached": []})
    assert found["paths"][0]["steps"] == [
        {"node": "ask", "sentence": 1},
        {"node": "ask_urgent", "sentence": 1},
        {"node": "hand_over", "sentence": 2},
    ]


def test_a_customer_who_expects_something_else_fails_the_command(folder: Path, tmp_path: Path) -> None:
    customers = tmp_path / "customers.yaml"
    customers.write_text("- {name: hopeful, procedure: callback, expect: {outcome: resolved}}\n", encoding="utf-8")
    result = tandem("simulate", folder, "--customers", customers)
    assert result.exit_code == 1
    assert "it ended handed_over" in result.stdout
    assert tandem("simulate", folder, "--procedure", "refund").exit_code == 1
