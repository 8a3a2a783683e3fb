"""Customers played by a model: it answers what is asked, typed; what cannot be used is the usual."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tandem.cli.pack import app
from tandem.contracts.ticket import Choice, Cost, Question
from tandem.embedded.rehearsal.played import CHARACTERS, SECONDS, read
from tandem.embedded.rehearsal.report import Report, by_model
from tandem.errors import Unavailable
from tandem.packs.load import load_pack
from tandem.packs.model import Pack, Slot
from tandem.rpc.ports import ChatRequest, ChatResponse
from tests.unit.planner_worker.worker import question as asked

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"
SLOTS = (
    Slot(name="code", pattern=r"\d{6}"),
    Slot(name="port", type="integer"),
    Slot(name="size", type="choice", choices={"large": ["big"]}),
    Slot(name="agreed", type="boolean"),
    Slot(name="name"),
)


class Actor:
    """Gives every value asked for by its example, takes the first option, and says yes; `says` instead, if it is given."""

    def __init__(self, says: str | None = None) -> None:
        self.says = says
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = SECONDS) -> ChatResponse:
        self.asked.append(request)
        return ChatResponse(text=self.says or json.dumps(self._plays(request)), model="m", cost=Cost(calls=1, tokens=9))

    @staticmethod
    def _plays(request: ChatRequest) -> dict[str, Any]:
        names = (request.schema or {})["properties"]
        if "values" in names:
            lines = [line for line in request.system.splitlines() if line.startswith("- ")]
            return {"values": {line[2:].partition(":")[0]: line.rpartition(", such as ")[2] for line in lines}}
        return {"choice": 1} if "choice" in names else {"yes": True}

    embed: Any = None


class Away(Actor):
    async def chat(self, request: ChatRequest, deadline: float = SECONDS) -> ChatResponse:
        raise Unavailable("no model")


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(CLOUD)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


def play(pack: Pack, actor: Actor, runner: asyncio.Runner, customers: int = 4, procedure: str = "refund") -> Report:
    return by_model(pack, pack.flows[procedure], range(customers), actor, runner)


@pytest.mark.parametrize("procedure", sorted(path.stem for path in (CLOUD / "procedures").glob("*.md")))
def test_the_packs_procedures_end_rightly_with_whoever_is_played(
    pack: Pack, runner: asyncio.Runner, procedure: str
) -> None:
    report = play(pack, Actor(), runner, customers=12, procedure=procedure)
    assert [path.wrong for path in report.paths if path.wrong] == []
    assert any(path.outcome == "resolved" for path in report.paths)


def test_the_model_reads_what_the_customer_was_told_and_plays_a_character(pack: Pack, runner: asyncio.Runner) -> None:
    actor = Actor()
    report = play(pack, actor, runner)
    assert [path.name for path in report.paths] == [f"{number}: {name}" for number, name in enumerate(CHARACTERS)]
    said = report.paths[0].said
    assert said[0].startswith("desk: ")
    assert said[1].startswith("customer: order_id ")
    assert CHARACTERS["answers plainly"] in actor.asked[0].system
    shown = str(actor.asked[1].messages[0][1])
    assert f"{said[0]}\n{said[1]}" in shown
    assert shown.startswith("<conversation>")
    assert report.as_json()["paths"][0]["said"] == said


def test_the_same_number_is_the_same_customer(pack: Pack, runner: asyncio.Runner) -> None:
    assert play(pack, Actor(), runner).as_json() == play(pack, Actor(), runner).as_json()


def test_what_cannot_be_used_is_sent_back_once_and_then_the_usual(pack: Pack, runner: asyncio.Runner) -> None:
    actor = Actor("certainly!")
    (path,) = play(pack, actor, runner, customers=1).paths
    questions = sum(line.startswith("customer: ") for line in path.said)
    assert path.name == f"0: answers plainly, {questions} usual answers"
    assert len(actor.asked) == 2 * questions
    assert not path.wrong


def test_without_a_model_nobody_is_played(pack: Pack, runner: asyncio.Runner) -> None:
    with pytest.raises(Unavailable, match="no model plays"):
        play(pack, Away(), runner)


VALUES = asked("slots", slots=tuple(slot.name for slot in SLOTS))
CHOICE = asked("choice", choices=(Choice(id="a", label="A", value=1), Choice(id="b", label="B", value=2)))
YES_NO = asked("consent")


@pytest.mark.parametrize(
    ("question", "says", "fits"),
    [
        (VALUES, {"values": {}}, True),
        (
            VALUES,
            {"values": {"code": "it is 482913", "port": "22", "size": "Large", "agreed": "no", "name": "Ana"}},
            True,
        ),
        (VALUES, {"values": {"code": "4829"}}, False),
        (VALUES, {"values": {"port": "many"}}, False),
        (VALUES, {"values": {"size": "huge"}}, False),
        (VALUES, {"values": {"agreed": "perhaps"}}, False),
        (VALUES, {"values": {"name": " "}}, False),
        (VALUES, {"values": {"account": "1"}}, False),
        (CHOICE, {"choice": 2}, True),
        (CHOICE, {"choice": 3}, False),
        (CHOICE, {"yes": True}, False),
        (YES_NO, {"yes": False}, True),
        (YES_NO, {}, False),
    ],
)
def test_an_answer_is_held_to_what_was_asked(question: Question, says: dict[str, Any], fits: bool) -> None:
    try:
        read(json.dumps(says), question, SLOTS)
    except ValueError:
        assert not fits
    else:
        assert fits


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TANDEM_LLM_BASE_URL", "TANDEM_LLM_POOLS", "TANDEM_LLM_REPLAY"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, ["simulate", str(CLOUD), "--played", "1"])
    assert result.exit_code == 1
    assert "TANDEM_LLM_BASE_URL" in result.stderr
