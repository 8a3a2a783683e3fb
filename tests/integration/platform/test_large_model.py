"""The large rung on the whole platform: a scripted model answers and is recorded; replayed, no model is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from tandem.chaos.model import ScriptedModel
from tandem.chaos.plan import Model
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.embedded.player import Player
from tandem.packs.scenarios import Scenario, Turn
from tandem.settings import Settings
from tests.integration.platform.processes import ROOT

GOOD = Model(kind="model", timeouts=0, errors=0, cut=0, wrong=0)
CUT = GOOD.model_copy(update={"cut": 1.0})
QUESTION = "How do I create a snapshot of a disk?"


@asynccontextmanager
async def scripted(plan: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedModel]:
    model = ScriptedModel(plan, Random(1))
    await model.start()
    try:
        with monkeypatch.context() as env:
            env.setenv("TANDEM_LLM_BASE_URL", model.url)
            env.setenv("TANDEM_LLM_MODEL", "scripted")
            yield model
    finally:
        await model.stop()


async def ask(home: Path, text: str) -> Case:
    """One question to a platform of its own."""
    settings = Settings(home=home, packs=ROOT / "packs")
    async with Platform(settings, call_window_ms=1_000, grace_ms=200, memory_model_s=0) as platform:
        onlooker = Onlooker(platform.wiring, "test")
        await onlooker.start()
        player = Player(platform.wiring, onlooker, "cli", "acme")
        played = player.begin(Scenario(name="asks", turns=(Turn(say=text),)))
        await player.play(played)
        await onlooker.stop()
    assert played.problems == []
    return played.case


def answered(case: Case) -> tuple[str, str | None, str]:
    """The answer, its rung, and the prompt that it came by."""
    [event] = [one for one in case.events if one.kind == "step_completed" and one.name == "rag_agent"]
    return case.replies[-1].text(), event.rung, str(event.data.get("prompt", ""))


@pytest.mark.asyncio
async def test_a_models_answer_is_recorded_and_replayed_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "calls.jsonl"
    async with scripted(GOOD, monkeypatch) as model:
        with monkeypatch.context() as env:
            env.setenv("TANDEM_LLM_RECORD", str(record))
            first = answered(await ask(tmp_path / "first", QUESTION))
        assert model.did["answer"] >= 1
    assert first[1] == "large"
    assert first[2].startswith("rag_agent.answer@")
    monkeypatch.setenv("TANDEM_LLM_REPLAY", str(record))
    assert answered(await ask(tmp_path / "again", QUESTION)) == first


@pytest.mark.asyncio
async def test_a_models_answer_is_shown_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(GOOD, monkeypatch):
        case = await ask(tmp_path, QUESTION)
    final = case.replies[-1]
    assert case.drafts
    assert {(draft.turn, draft.after, draft.ticket) for draft in case.drafts} == {(final.turn, 0, final.ticket)}
    assert all(final.text().startswith(draft.text()) for draft in case.drafts)


@pytest.mark.asyncio
async def test_a_model_that_is_cut_off_is_asked_once_more_and_the_rung_below_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scripted(CUT, monkeypatch) as model:
        text, rung, _ = answered(await ask(tmp_path, QUESTION))
    assert (rung, bool(text)) == ("small", True)
    assert model.did == {"cut": 2}
