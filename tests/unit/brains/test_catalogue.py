"""A pack as the small models see it."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from tandem.brains.catalogue import procedures_of, read_dialogues
from tandem.brains.learning.pack import train_pack
from tandem.errors import InvalidPack
from tandem.packs.load import load_pack
from tests.unit.brains.recorded import embed

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"


def test_every_procedure_with_a_tool_has_its_steps_and_its_calls() -> None:
    pack = load_pack(CLOUD)
    found = {procedure.name: procedure for procedure in procedures_of(pack)}
    connect = found["cannot_connect"]
    assert {"ask_instance", "diagnose_instance"} <= {step.name for step in connect.steps}
    assert connect.edges["ask_instance"] == "diagnose_instance"
    for procedure in found.values():
        known = {api.name for api in (procedure.api, *procedure.others)}
        assert {step.api for step in procedure.steps if step.kind == "call"} <= known
        assert procedure.api.name in {step.name for step in procedure.steps}


def test_recorded_dialogues_are_read(tmp_path: Path) -> None:
    turns = [
        {"who": "customer", "text": "R-7"},
        {"who": "call", "task": "track", "api": "find", "params": {"number": 7}},
        {"who": "agent", "task": "track", "step": "told", "text": "On its way"},
    ]
    (tmp_path / "dialogues").mkdir()
    (tmp_path / "dialogues" / "a.jsonl").write_text(json.dumps({"turns": turns}) + "\n")
    call, told = read_dialogues(tmp_path)
    assert (call.kind, call.step, call.params) == ("call", "find", {"number": "7"})
    assert (told.step, told.text, len(told.situation.turns)) == ("told", "On its way", 2)


def test_a_line_that_is_no_dialogue_is_named(tmp_path: Path) -> None:
    (tmp_path / "dialogues").mkdir()
    (tmp_path / "dialogues" / "a.jsonl").write_text("{}\n")
    with pytest.raises(InvalidPack, match=r"dialogues/a.jsonl:1"):
        list(read_dialogues(tmp_path))


def test_a_pack_without_dialogues_cannot_be_trained(tmp_path: Path) -> None:
    folder = tmp_path / "cloud_support"
    shutil.copytree(CLOUD, folder)
    with pytest.raises(InvalidPack, match="0 recorded steps"):
        train_pack(folder, embed, date(2026, 1, 1), lambda text: None)
