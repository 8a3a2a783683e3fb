"""A program that a model writes for a step of its own plan: written, run call by call, each call permitted like any other."""

from __future__ import annotations

from typing import Any

import pytest

from services.planner.decide.programs import MAX_CALLS, MAX_CODE, MAX_STEPS
from tandem.contracts.tasks import (
    ProgramCall,
    ProgramOutput,
    ProgramWritten,
    ProposedStep,
    Reason,
    RunProgram,
    WriteProgram,
)
from tandem.contracts.ticket import Cost, StepStatus
from tandem.packs.model import ApprovalRule, Pack
from tests.unit.decide.test_reasoning import OPEN, planned, propose, say
from tests.unit.decide.world import World

CODE = "def main(inputs):\n    return look(what='a')\n"


def wanted(*tools: str, **fields: Any) -> ProposedStep:
    return ProposedStep(kind="program", tools=tools or ("look", "reset"), text="look at all of them", **fields)


def writing(world: World) -> WriteProgram:
    task = world.tasks[-1]
    assert isinstance(task, WriteProgram)
    return task


def running(world: World) -> RunProgram:
    task = world.tasks[-1]
    assert isinstance(task, RunProgram)
    return task


def written(pack: Pack = OPEN) -> World:
    world = planned(wanted(), pack=pack)
    writing(world)
    world.complete(ProgramWritten(code=CODE, reason="as asked"))
    return world


def call(world: World, tool: str = "look", ordinal: int | None = None, **arguments: Any) -> None:
    made = len(running(world).calls)
    number = made if ordinal is None else ordinal
    world.complete(ProgramCall(ordinal=number, tool=tool, arguments=arguments or {"what": str(made)}))


def test_it_is_written_run_and_its_answer_is_told_to_the_model() -> None:
    world = planned(wanted())
    task = writing(world)
    assert (task.tools, task.goal) == (("look", "reset"), "look at all of them")
    assert task.reserved.tokens > 0
    world.complete(ProgramWritten(code=CODE, reason="as asked"))
    task = running(world)
    assert task.script is not None
    assert (task.script.code, task.script.tools, task.calls) == (CODE, ("look", "reset"), ())
    call(world)
    world.result({"v": 1})
    call(world)
    world.result({"v": 2})
    assert [known.output for known in running(world).calls] == [{"v": 1}, {"v": 2}]
    world.complete(ProgramOutput(output={"total": 3}))
    reason = world.tasks[-1]
    assert isinstance(reason, Reason)
    assert [(seen.name, seen.output) for seen in reason.observations] == [("program", {"total": 3})]
    step = next(step for step in world.t.plans[-1].steps if step.kind == "program")
    assert (step.status, step.script, step.calls, step.arguments) == (StepStatus.DONE, None, (), None)
    propose(world, say("Together 3."))
    assert (world.last, world.t.outcome) == ("Together 3.", "done")
    assert "program_written" in world.events


def test_it_is_run_with_what_is_known_and_no_secret() -> None:
    world = World(OPEN)
    world.say("what colour is my instance and can it be changed")
    ask = ProposedStep(kind="ask", text="Which?", slots=("email", "code"))
    propose(world, ask, wanted(needs=(0,)))
    world.say("a@b.c 123456", values={"email": "a@b.c", "code": "123456"})
    assert writing(world).inputs == {"email": "a@b.c"}
    world.complete(ProgramWritten(code=CODE))
    assert running(world).inputs == {"inputs": {"email": "a@b.c"}}


@pytest.mark.parametrize(
    "answer", [ProgramWritten(reason="no model"), ProgramWritten(code="x" * (MAX_CODE + 1))], ids=["none", "too long"]
)
def test_without_a_program_the_model_thinks_again(answer: ProgramWritten) -> None:
    world = planned(wanted())
    world.complete(answer)
    assert {"program_refused", "set_back"} <= set(world.events)
    assert isinstance(world.tasks[-1], Reason)
    assert world.calls == []


@pytest.mark.parametrize(
    ("tool", "ordinal"), [("verify", 0), ("nothing", 0), ("look", 1)], ids=["not its own", "none", "ahead"]
)
def test_a_call_it_may_not_make_is_a_failed_step(tool: str, ordinal: int) -> None:
    world = written()
    call(world, tool, ordinal, what="a")
    assert world.calls == []
    assert isinstance(world.tasks[-1], Reason)


def test_a_program_that_fails_says_how_far_it_came() -> None:
    world = written()
    call(world)
    world.result(status="failed")
    world.fail(retryable=False)
    reason = world.tasks[-1]
    assert isinstance(reason, Reason)
    (seen,) = reason.observations
    assert seen.output["called"] == [{"tool": "look", "failed": True}]


def test_its_calls_are_bounded() -> None:
    world = written()
    for _ in range(MAX_CALLS):
        call(world)
        world.result({"v": 1})
    call(world)
    assert len(world.calls) == MAX_CALLS
    assert isinstance(world.tasks[-1], Reason)


def test_so_are_a_plans_steps() -> None:
    rich = OPEN.model_copy(update={"budget": Cost(calls=1_000, tokens=10**6, micros=10**8)})
    world = planned(wanted(), *(wanted(needs=(number,)) for number in range(3)), pack=rich)
    for _ in range(3 * 4 * MAX_CALLS):
        match world.tasks[-1]:
            case WriteProgram():
                world.complete(ProgramWritten(code=CODE))
            case RunProgram(calls=calls) if len(calls) < MAX_CALLS:
                number = len(world.calls)
                world.complete(ProgramCall(ordinal=len(calls), tool="look", arguments={"what": str(number)}))
            case RunProgram():
                world.complete(ProgramOutput(output={}))
            case Reason():
                break
            case _:
                world.result({"v": 1})
    assert len(world.t.plans[-1].steps) == MAX_STEPS + 1  # and the one that asks what comes next
    assert 2 * MAX_CALLS < len(world.calls) < MAX_STEPS


def test_a_write_needs_the_customers_consent_and_its_arguments_are_the_models() -> None:
    world = written()
    call(world, "reset", email="a@b.c")
    assert world.calls == []
    assert world.t.questions[-1].kind == "consent"
    world.press("yes", world.question)
    sent = world.calls[-1]
    assert sent.authority.consent_subject == sent.arguments_hash
    assert sent.origins == {"email": "model"}
    assert (sent.authority.identity, sent.authority.authorisation) == (None, None)


def test_a_customer_who_says_no_ends_it() -> None:
    world = written()
    call(world, "reset", email="a@b.c")
    world.press("no", world.question)
    assert (world.calls, world.t.outcome) == ([], "declined")


def test_what_an_expert_must_approve_waits() -> None:
    policies = OPEN.policies.model_copy(update={"approvals": (ApprovalRule(tool="reset"),)})
    world = written(OPEN.model_copy(update={"policies": policies}))
    call(world, "reset", email="a@b.c")
    world.press("yes", world.question)
    assert world.calls == []
    assert [task.kind for task in world.expert_tasks][-1] == "approve"
    world.approve()
    assert world.calls[-1].authority.approved_by == "ann"


@pytest.mark.parametrize(
    "step",
    [
        ProposedStep(kind="program", text="x"),
        ProposedStep(kind="program", text="x", tools=("look", "drop_tables")),
        ProposedStep(kind="program", tools=("look",)),
    ],
    ids=["no tools", "unknown tool", "nothing to do"],
)
def test_a_step_that_is_none_is_no_plan(step: ProposedStep) -> None:
    world = planned(step)
    assert world.t.outcome == "no_plan"
