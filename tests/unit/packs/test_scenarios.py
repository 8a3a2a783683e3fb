"""Reading a pack's conversations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.errors import InvalidPack
from tandem.packs.scenarios import load_scenarios


def write(folder: Path, text: str, name: str = "first.yaml") -> Path:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / name).write_text(text, encoding="utf-8")
    return folder


def test_a_file_is_one_conversation_or_a_list(tmp_path: Path) -> None:
    write(tmp_path, "name: one\nturns: [{say: yes}]\n")
    write(
        tmp_path,
        "- {name: two, scenario: x, turns: [{press: no, question: older}]}\n- {name: three, turns: [{expert: take}]}\n",
        "second.yaml",
    )
    found = load_scenarios(tmp_path)
    assert [(s.name, s.scenario) for s in found] == [("one", "first"), ("two", "x"), ("three", "second")]
    assert found[0].turns[0].say == "yes"
    assert (found[1].turns[0].press, found[1].turns[0].question) == ("no", "older")


def test_no_tests_are_no_conversations(tmp_path: Path) -> None:
    assert load_scenarios(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nturns: [{say: hi, press: yes}]", "a turn does one thing"),
        ("name: a\nturns: [{wait_for: reply}]", "a turn does one thing"),
        ("name: a\nturns: []", "turns"),
        ("name: a\nturns: [{shout: hi}]", "shout"),
        ("name: a\nturns: [{say: hi, replies: ['(']}]", "no regular expression"),
        ("name: a\nturns: [{say: hi}]\nexpect: {not_replies: ['[']}", "no regular expression"),
        ("- {name: a, turns: [{say: hi}]}\n- {name: a, turns: [{say: hi}]}", "is there twice"),
        ("just words", "first.yaml"),
        ("name: [", "not YAML"),
    ],
)
def test_every_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidPack) as raised:
        load_scenarios(write(tmp_path, text))
    assert said in str(raised.value)
    assert "tests/first.yaml" in str(raised.value)
