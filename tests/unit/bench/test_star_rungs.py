"""The rungs of `bench star --mode decisions`: by rules, by a model, and by a model only where the rung below is unsure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.llm_gateway.settings import LlmGatewaySettings
from tandem.bench.star.decisions import Run, figures, judge
from tandem.bench.star.decisions_run import has_model, unmeasured
from tandem.bench.star.large import Ladder, Large
from tandem.bench.star.points import Point
from tandem.bench.star.rungs import Decided, Rules
from tandem.brains.values import Api, Decision, Parameter, Procedure, Situation, Step, Turn
from tandem.cli.bench import app
from tandem.contracts.ticket import Cost
from tandem.errors import Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse
from tests.unit.bench.star_data import write

HOTEL = Api("hotel", (Parameter("Day", "choice", ("Monday", "Friday"), required=True),))
TAXI = Api("taxi", (Parameter("Seats", "integer"),))


def procedure(api: Api, about: str) -> Procedure:
    steps = (
        Step("hello", "close", "Hello."),
        Step(f"{api.name}_ask", "ask", f"What {about} is it for?"),
        Step(f"{api.name}_booked", "reply", f"Your {about} is booked."),
        Step(f"{api.name}_full", "reply", "Nothing is free."),
        Step("anything_else", "close", "Anything else?"),
        Step(api.name, "call", "look up", api.name),
    )
    edges = {"hello": f"{api.name}_ask", f"{api.name}_ask": "query", "query_success": f"{api.name}_booked"}
    return Procedure(api.name, steps, {**edges, "query_failure": f"{api.name}_full"}, api, f"I book a {about}.")


PROCEDURES = [procedure(HOTEL, "room"), procedure(TAXI, "ride"), procedure(Api("doctor", ()), "visit")]
WANT = Turn("customer", "I want a room on Friday")
ASKED = Turn("agent", "What room?", step="hotel_ask")
CALL = Turn("call", api="hotel", params={"Day": "Friday"})


@pytest.mark.parametrize(
    ("turns", "step"),
    [
        ((WANT,), "hello"),
        ((WANT, Turn("agent", "Hello.", step="hello")), "hotel_ask"),
        ((WANT, ASKED, Turn("customer", "A big one")), "hotel"),
        ((WANT, CALL, Turn("return", item={"Status": "Available"})), "hotel_booked"),
        ((WANT, CALL, Turn("return", item={"Status": "Unavailable, sorry"})), "hotel_full"),
        ((WANT, CALL, Turn("return"), Turn("agent", "Booked.", step="hotel_booked")), "anything_else"),
        ((ASKED, Turn("customer", "no, a ride, a ride")), "hotel"),
    ],
)
def test_rules_follow_the_graph_of_the_procedure(turns: Sequence[Turn], step: str) -> None:
    made = Rules(PROCEDURES).decide(Situation(turns))
    assert (made.decision.step, made.decision.task, made.rung, made.cost) == (step, "hotel", "rules", Cost())


def test_rules_fill_what_was_said_plainly() -> None:
    made = Rules(PROCEDURES).decide(Situation((WANT, ASKED, Turn("customer", "A big one"))))
    assert made.decision.params == {"Day": "Friday"}


class Scripted:
    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        if not self.answers:
            raise Unavailable("away")
        return ChatResponse(text=json.dumps(self.answers.pop(0)), model="m", cost=Cost(calls=1, tokens=70, micros=5))

    embed: Any = None


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


RIGHT = {"procedure": "hotel", "step": "hotel", "parameters": {"Day": "Friday"}, "confidence": 0.8}
POINT = Point(Situation((WANT, ASKED)), "hotel", "call", "hotel", {"Day": "Friday"})


def test_a_model_is_asked_and_its_own_call_is_judged(runner: asyncio.Runner) -> None:
    llm = Scripted({**RIGHT, "step": "fly"}, RIGHT)
    judged = judge(Large(PROCEDURES, llm, runner), POINT)
    assert judged.ok
    assert judged.own
    assert judged.warm is not None
    assert judged.warm.exact
    assert (judged.cold, judged.cost.tokens, judged.rung) == (None, 140, "large")
    assert "there is no step 'fly' in hotel" in str(llm.asked[1].messages[-1])
    assert "customer: I want a room" in str(llm.asked[0].messages[0])
    assert llm.asked[0].schema is not None
    assert llm.asked[0].schema["properties"]["procedure"] == {"enum": ["hotel", "taxi", "doctor"]}


def test_where_a_models_answers_cannot_be_used_the_rung_below_decides(runner: asyncio.Runner) -> None:
    wrong = {**RIGHT, "step": "taxi_ask"}
    llm = Scripted(wrong, wrong)
    judged = judge(Large(PROCEDURES, llm, runner), POINT)
    assert (judged.rung, judged.decision.step, judged.cost.tokens) == ("rules", "hotel", 140)
    assert "it has hello, hotel_ask, hotel_booked" in str(llm.asked[1].messages[-1])


def test_a_model_that_is_away_gives_no_figure(runner: asyncio.Runner) -> None:
    with pytest.raises(Unavailable, match="away"):
        judge(Large(PROCEDURES, Scripted(), runner), POINT)


class Unsure(Rules):
    def decide(self, situation: Situation) -> Decided:
        sure = 0.9 if len(situation.turns) == 1 else 0.3
        return Decided(Decision("hotel", "close", "hello", confidence=sure))


def test_the_ladder_asks_only_where_the_rung_below_is_unsure(runner: asyncio.Runner) -> None:
    llm = Scripted(RIGHT)
    ladder = Ladder(Unsure(PROCEDURES), Large(PROCEDURES, llm, runner))
    points = [Point(Situation((WANT,)), "hotel", "close", "hello"), POINT]
    done = Run([judge(ladder, point) for point in points], tickets=2)
    found = figures(done, "dev", ["hotel"])
    assert len(llm.asked) == 1
    assert found["next_action_accuracy"] == 1.0
    assert (found["tokens_per_ticket"], found["micros_per_ticket"]) == (35.0, 2.5)
    assert found["decided_by"] == {"large": 0.5, "small": 0.5}


def test_what_the_ladder_was_unsure_of_stands_where_the_models_answers_cannot_be_used(runner: asyncio.Runner) -> None:
    wrong = {**RIGHT, "step": "taxi_ask"}
    judged = judge(Ladder(Unsure(PROCEDURES), Large(PROCEDURES, Scripted(wrong, wrong), runner)), POINT)
    assert (judged.rung, judged.decision.step, judged.cost.tokens) == ("small", "hello", 140)


def test_without_an_endpoint_every_figure_is_none_with_a_reason(tmp_path: Path) -> None:
    found = unmeasured("dev", ["hotel"])
    assert "TANDEM_LLM_BASE_URL" in found.pop("reason")
    assert (found.pop("mode"), found.pop("split"), found.pop("by_task")) == ("decisions", "dev", {})
    assert set(found.values()) == {None}
    assert not has_model(LlmGatewaySettings())
    assert has_model(LlmGatewaySettings(llm_replay=tmp_path / "calls.jsonl"))


# The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "DERIVED_action_types.json").write_text("{}")
    return write(tmp_path)


def star(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["star", "--data", str(data), *arguments])


def test_naming_who_decides_asks_for_decisions(data: Path) -> None:
    told = json.loads(star(data, "--brains", "rules", "--json").stdout)
    assert (told["mode"], told["brains"], told["tickets"]) == ("decisions", "rules", 1)
    assert told["ms_per_ticket"] > 0
    assert (told["tokens_per_ticket"], told["micros_per_ticket"]) == (0.0, 0.0)
    assert "tokens per ticket 0.0" in star(data, "--brains", "rules").output


@pytest.mark.parametrize("brains", ["llm", "ladder"])
def test_the_command_has_no_figure_without_a_model(data: Path, monkeypatch: pytest.MonkeyPatch, brains: str) -> None:
    for name in ("TANDEM_LLM_BASE_URL", "TANDEM_LLM_POOLS", "TANDEM_LLM_REPLAY"):
        monkeypatch.delenv(name, raising=False)
    told = json.loads(star(data, "--brains", brains, "--json").stdout)
    assert "no endpoint" in told["reason"]
    assert [name for name in told if name.endswith(("_accuracy", "_per_ticket")) and told[name] is not None] == []


def test_a_free_run_has_nobody_else_to_decide(data: Path) -> None:
    result = star(data, "--mode", "free", "--brains", "rules")
    assert result.exit_code == 2
    assert "--mode decisions" in result.stderr
