"""Every conversation of the example pack, played as `tandem demo --json` plays it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tandem.cli.demo import PACK, Demo
from tandem.settings import Settings
from tests.integration.platform.processes import ROOT

FIELDS = {"name", "language", "outcome", "ok", "seconds", "steps", "tool_calls", "cost"}

OTHERWISE = """
- name: a reply that is not said
  turns: [{say: write me a poem about the sea, replies: [Roses are red]}]
- name: a call that is not made
  turns: [{say: write me a poem about the sea}]
  expect: {calls: [{tool: reset_password}]}
- name: a ticket that ends otherwise
  turns: [{say: write me a poem about the sea}]
  expect: {outcome: handed_over}
- name: as it is
  turns: [{say: write me a poem about the sea}]
  expect: {outcome: resolved, max_replies: 1}
"""


async def _play(settings: Settings, capsys: pytest.CaptureFixture[str]) -> tuple[bool, dict[str, Any], str]:
    ok = await Demo(settings, PACK, "", 12, example=True, as_json=True).run()
    shown = capsys.readouterr()
    return ok, json.loads(shown.out), shown.err


@pytest.fixture(autouse=True)
def _business_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_API_URL", "put there by the demo")


@pytest.mark.asyncio
async def test_every_conversation_ends_as_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ok, played, shown = await _play(Settings(home=tmp_path, packs=ROOT / "packs"), capsys)
    rows = played["scenarios"]
    assert [row["name"] for row in rows if not row["ok"]] == [], shown
    assert ok
    assert played["ok"] is True
    assert len(rows) >= 26
    assert all(set(row) == FIELDS for row in rows)
    assert {row["language"] for row in rows} == {"en", "zh"}
    assert {row["outcome"] for row in rows} == {"resolved", "handed_over"}
    assert all(row["seconds"] > 0 and row["steps"] >= row["tool_calls"] for row in rows)
    assert any(row["cost"] > 0 for row in rows)


@pytest.mark.asyncio
async def test_what_ends_otherwise_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packs = tmp_path / "packs"
    shutil.copytree(ROOT / "packs" / PACK, packs / PACK, ignore=shutil.ignore_patterns("tests"))
    (packs / PACK / "tests").mkdir()
    (packs / PACK / "tests" / "otherwise.yaml").write_text(OTHERWISE, encoding="utf-8")
    ok, played, shown = await _play(Settings(home=tmp_path / "home", packs=packs), capsys)
    assert not ok
    assert played["ok"] is False
    assert [row["name"] for row in played["scenarios"] if row["ok"]] == ["as it is"]
    assert [len(row.get("problems", ())) for row in played["scenarios"]] == [1, 1, 1, 0]
    assert "no reply matches 'Roses are red'" in shown
    assert "reset_password with {} was done 0 times, not 1" in shown
    assert "the ticket is resolved, not handed_over" in shown
