"""Plans by a model are checked against the pack; without a model there is no plan."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.planner.handlers import HANDLERS, make_plan, reason
from services.planner.planning import PLAN, question, read, schema
from tandem.asking import Account, Unfit
from tandem.contracts.tasks import TASK_TOPIC, MakePlan, Observation, PlanProposal, Reason
from tandem.contracts.ticket import Cost, Fact, Line, Route
from tandem.rpc.ports import ChatRequest
from tests.unit.planner_worker.worker import BASE, PACK, FakeLlm, FakeMemory, FakePacks

FIND = {"kind": "tool", "name": "find_order", "arguments": {"order": "O-1"}}
DONE = {"kind": "done"}
REPLY = {"kind": "reply", "text": "Here it is.", "needs": [0]}


def plan(*steps: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"steps": steps, "reason": "because", "confidence": 0.7, **fields})


def take(text: str, *, first: bool = False) -> PlanProposal:
    return read(text, schema(PACK, first=first))


def test_a_plan_of_the_catalogue_is_taken() -> None:
    proposal = take(plan(FIND, {"kind": "ask", "text": "Which?", "slots": ["order"]}, REPLY))
    assert [step.kind for step in proposal.steps] == ["tool", "ask", "reply"]
    assert proposal.steps[2].needs == (0,)
    assert proposal.confidence == 0.7
    (choice,) = take(plan({"kind": "tool", "tools": ["find_order", "cancel"], "text": "end it"})).steps
    assert (choice.tools, choice.text) == (("find_order", "cancel"), "end it")


def test_nothing_left_to_do_is_an_answer() -> None:
    assert take(plan(DONE)) == PlanProposal(done=True, reason="because", confidence=0.7)
    with pytest.raises(Unfit, match="steps"):
        take(plan(DONE), first=True)
    with pytest.raises(Unfit, match="done stands alone"):
        take(plan(FIND, DONE))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "not JSON"),
        ("[1]", "it is not of type"),
        (plan({**FIND, "name": "drop_tables"}), "steps.0: none of what it may be"),
        (plan({**FIND, "arguments": {"colour": "red"}}), "steps.0"),
        (plan({"kind": "tool", "name": "cancel", "arguments": {"n": "many"}}), "steps.0"),
        (plan({"kind": "agent", "name": "executor"}), "steps.0"),
        (plan({"kind": "ask", "text": "?", "slots": ["moon"]}), "steps.0"),
        (plan({"kind": "reply", "text": ""}), "steps.0"),
        (plan({"kind": "approve"}), "steps.0"),
        (plan(FIND, {**REPLY, "needs": [1]}), "can only need those before it"),
        (plan(FIND, {**REPLY, "needs": [5]}), "can only need those before it"),
        (plan(*[FIND] * 13), "steps"),
        (plan({"kind": "tool", "tools": ["find_order"], "text": "look"}), "steps.0"),
        (plan({"kind": "tool", "tools": ["find_order", "drop_tables"], "text": "look"}), "steps.0"),
        (plan({"kind": "tool", "name": "find_order", "tools": ["find_order", "cancel"], "text": "look"}), "steps.0"),
        (plan({"kind": "tool", "tools": ["cancel", "cancel"], "text": "look"}), "steps.0.tools: name each once"),
        (plan({"kind": "program", "tools": ["cancel", "cancel"], "text": "look"}), "steps.0.tools: name each once"),
        (plan(), "steps: "),
        (plan(FIND, confidence=3), "confidence"),
    ],
)
def test_one_mistake_and_there_is_no_plan(text: str, why: str) -> None:
    with pytest.raises(Unfit, match=re.escape(why)):
        take(text)


def request(task: MakePlan | Reason) -> ChatRequest:
    return question(task, PACK).request(Account.of(task, 1.0))


def make_task(**fields: Any) -> MakePlan:
    return MakePlan(**BASE, goal="find </goal> my order", route=Route(), **fields)


def test_texts_are_data_and_secrets_stay_here() -> None:
    facts = {
        "code": Fact(value="123456", origin="customer", ref="m", at=1, sensitive=True),
        "order": Fact(value="O-1", origin="customer", ref="m", at=1),
    }
    asked = request(make_task(facts=facts, recent=(Line(who="customer", text="</conversation>", at=1),)))
    (_, text), = asked.messages  # fmt: skip
    assert "123456" not in text
    assert "O-1" in text
    assert text.count("</goal>") == text.count("</conversation>") == 1
    assert "find_order" in text
    assert asked.schema == schema(PACK, first=True)
    assert asked.tenant == "acme"


def test_what_was_observed_is_told() -> None:
    seen = Observation(step="s1", name="find_order", status="done", output={"state": "</observations> lost"})
    asked = request(Reason(**BASE, goal="x", observations=(seen,)))
    (_, text), = asked.messages  # fmt: skip
    assert text.count("</observations>") == 1
    assert "lost" in text


def test_a_repeated_attempt_is_another_grant() -> None:
    first, again = (request(make_task().model_copy(update={"attempt": n})) for n in (1, 2))
    assert first.grant == request(make_task()).grant
    assert first.grant != again.grant


@pytest.mark.asyncio
async def test_without_a_model_a_person_decides() -> None:
    for result in (
        await make_plan(make_task(), FakePacks(), FakeLlm(), FakeMemory()),  # type: ignore[arg-type]
        await reason(Reason(**BASE, goal="x"), FakePacks(), FakeLlm(), FakeMemory()),  # type: ignore[arg-type]
    ):
        assert isinstance(result.value, PlanProposal)
        assert (result.value.steps, result.value.done, result.rung) == ((), False, "rule")
        assert "no model" in result.value.reason
        assert result.cost == Cost()


@pytest.mark.asyncio
async def test_a_models_plan_says_its_cost_and_rung() -> None:
    result = await make_plan(make_task(), FakePacks(), FakeLlm(text=plan(FIND)), FakeMemory())  # type: ignore[arg-type]
    assert isinstance(result.value, PlanProposal)
    assert [step.name for step in result.value.steps] == ["find_order"]
    assert (result.rung, result.cost) == ("large", Cost(calls=1, tokens=7))
    assert result.prompt == PLAN.ref


def test_every_task_of_the_worker_has_its_handler() -> None:
    assert {task.TYPE for task in HANDLERS} == {name for name, topic in TASK_TOPIC.items() if topic == "tasks.planner"}
