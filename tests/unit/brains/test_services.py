"""A pack is trained once; what it made serves in the router, in function_agent and in the planner's worker."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from services.function_agent import small
from services.function_agent.assembly import assemble
from services.planner.ranking import as_proposal, propose
from services.router.trained import intents_of
from tandem.brains.candidates import Candidate
from tandem.brains.learning.pack import train_pack
from tandem.brains.values import Decision, Parameter
from tandem.contracts.tasks import AssembleCall, MadeCall, MakePlan, Task
from tandem.contracts.ticket import Fact, Line, Route
from tandem.packs.load import load_pack
from tandem.packs.model import Flow, Node, Pack, Tool
from tests.unit.brains.desk import ASKED, OPENINGS, TOOLS, WordsLlm, write_pack
from tests.unit.brains.recorded import embed


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    train_pack(write_pack(folder / "desk"), embed, date(2026, 1, 1), lambda text: None)
    return folder


@pytest.fixture(scope="module")
def pack(root: Path) -> Pack:
    return load_pack(root / "desk")


def task_of(kind: type[Task], said: list[tuple[str, str]], **more: Any) -> Any:
    lines = tuple(Line(who=who, text=text, at=1) for who, text in said)
    common = {"id": "t", "tenant": "desk", "conversation": "c", "ticket": "k", "pack": "desk", "step": "s"}
    return kind(**common, attempt=1, turn=1, deadline=2**50, language="en", recent=lines, goal=said[0][1], **more)


def test_the_router_finds_trained_intents(pack: Pack) -> None:
    model = intents_of(pack)
    assert model is not None
    text = OPENINGS["order_meal"]
    assert model.guess(text, embed([text])[0]).intents[0][0] == "order_meal"


def test_function_agent_reads_what_only_the_trained_extractor_finds(pack: Pack) -> None:
    said = [("customer", OPENINGS["find_table"]), ("bot", ASKED["find_table"]), ("customer", "Mill Lane please")]
    task = task_of(AssembleCall, said, tools=(TOOLS["find_table"],))
    by_rule = assemble(task, pack, pack.tools[TOOLS["find_table"]])
    assert by_rule.missing == (("street",),)
    found = small.complete(task, pack, by_rule)
    assert found.arguments == {"street": "Mill Lane"}
    assert found.origins == {"street": "customer"}
    assert not found.missing


def test_function_agent_judges_again_what_is_known(pack: Pack) -> None:
    said = [("customer", OPENINGS["find_table"]), ("bot", ASKED["find_table"]), ("customer", "Mill Lane please")]
    known = {"street": Fact(value="High Street", origin="customer", ref="m1", at=1)}
    task = task_of(AssembleCall, said, tools=(TOOLS["find_table"],), facts=known, judge=True)
    by_rule = assemble(task, pack, pack.tools[TOOLS["find_table"]])
    assert by_rule.arguments == {"street": "High Street"}
    assert small.judge(task, pack, by_rule).arguments == {"street": "Mill Lane"}


def test_a_bare_yes_to_another_question_is_no_ground(pack: Pack) -> None:
    tool = Tool.model_validate(
        {"name": "look", "tool_class": "read", "parameters": {"properties": {"parking": {}, "meal": {}}}}
    )
    nodes = {name: Node(id=name, kind="ask", sentence=1, slots=(name,)) for name in ("parking", "meal")}
    nodes["look"] = Node(id="look", kind="tool", sentence=1, tool="look")
    flow = Flow(procedure="p", intent="p", start="parking", nodes=nodes)
    grounds = small.Grounds(pack.model_copy(update={"flows": {"p": flow}}), tool)
    parking = Parameter("parking", "boolean")
    assert grounds.has(parking, Candidate("True", "yes_no", step="parking"))
    assert grounds.has(parking, Candidate("True", "yes_no", step="free"))
    assert grounds.has(parking, Candidate("True", "yes_no", step="meal", order=1))
    assert not grounds.has(parking, Candidate("True", "yes_no", step="meal"))
    assert not grounds.has(parking, Candidate("Kim", "clause", step="meal"))
    assert not grounds.has(parking, Candidate("West", "mention", sentence="not in the west, please"))


def test_the_conversation_has_calls_where_they_were_made(pack: Pack) -> None:
    lines = [
        Line(who="customer", text="a", at=1),
        Line(who="bot", text="b", at=5, step="told"),
        Line(who="customer", text="c", at=9),
    ]
    made = (MadeCall(tool=TOOLS["find_table"], arguments={"street": "x"}, output={"found": 1}, at=5),)
    task = task_of(AssembleCall, [("customer", "a")], tools=(TOOLS["find_table"],), calls=made, sent_at=0)
    found = small.situation(task.model_copy(update={"recent": tuple(lines)}), pack)
    assert [turn.who for turn in found.turns] == ["customer", "call", "return", "agent", "customer"]
    assert (found.turns[3].step, found.turns[1].params, found.today) == ("told", {"street": "x"}, "")


def test_the_channels_day_is_named() -> None:
    assert small.today(1_763_683_200_000) == "Friday the 21st"


def test_function_agent_leaves_a_call_alone_that_no_value_was_said_of(pack: Pack) -> None:
    task = task_of(AssembleCall, [("customer", OPENINGS["find_table"])], tools=(TOOLS["find_table"],))
    by_rule = assemble(task, pack, pack.tools[TOOLS["find_table"]])
    assert small.complete(task, pack, by_rule).missing == (("street",),)


@pytest.mark.asyncio
async def test_the_planners_worker_can_propose_a_step_without_a_model(pack: Pack) -> None:
    task = task_of(MakePlan, [("customer", OPENINGS["order_meal"])], route=Route(rung="small"))
    found = await propose(task, pack, WordsLlm())
    assert found is not None
    assert [(step.kind, step.text) for step in found.steps] == [("ask", ASKED["order_meal"])]


@pytest.mark.asyncio
async def test_without_models_nothing_is_proposed(tmp_path: Path) -> None:
    untrained = load_pack(write_pack(tmp_path / "desk"))
    task = task_of(MakePlan, [("customer", OPENINGS["order_meal"])], route=Route(rung="small"))
    assert await propose(task, untrained, WordsLlm()) is None


@pytest.mark.parametrize(
    ("decision", "steps"),
    [
        (Decision("order_meal", "call", "look_for_meal", "look_for_meal", confidence=0.9), 1),
        (Decision("order_meal", "call", "look_for_meal", "look_for_meal", confidence=0.2), 0),
        (Decision("order_meal", "call", "unknown", "unknown", confidence=0.9), 0),
        (Decision("order_meal", "ask", "ask_dish", text="Which?", confidence=0.9), 1),
        (Decision("order_meal", "reject", "out_of_scope", text="Sorry", confidence=0.9), 0),
        (Decision("order_meal", "close", "bye", text="Bye", confidence=0.9), 0),
    ],
)
def test_only_what_is_sure_and_harmless_is_proposed(pack: Pack, decision: Decision, steps: int) -> None:
    found = as_proposal(decision, pack)
    assert len(found.steps if found else ()) == steps
