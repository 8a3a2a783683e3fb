"""A program's step in a ticket: each call is a step like any other, and the program is told what came of it."""

from __future__ import annotations

from typing import Any

import pytest

from services.planner.decide.programs import MAX_CALLS_BYTES
from tandem.contracts.inbox import ResolveUnknown
from tandem.contracts.tasks import ExecuteTool, PlanProposal, ProgramCall, ProgramOutput, ProposedStep, RunProgram
from tandem.contracts.ticket import Fact, Status, StepStatus
from tandem.packs.model import Flow, Intent, Node, Pack, Program
from tests.unit.decide.world import PACK, World, text, to

FLOW = Flow(
    procedure="sum",
    intent="sum",
    start="sum",
    nodes={
        "sum": Node(
            id="sum",
            kind="program",
            sentence=1,
            program="sum",
            args={"what": "$email"},
            save={"total": "result.total"},
            next=to("tell"),
            on_failure=to("sorry"),
        ),
        "tell": Node(id="tell", kind="reply", sentence=2, text=text("Together {total}.")),
        "sorry": Node(id="sorry", kind="reply", sentence=2, text=text("That did not work.")),
    },
)


def pack(**changes: Any) -> Pack:
    program = Program(name="sum", tools=("look", "reset", "cancel"), max_calls=4)
    intent = Intent(name="sum", description="sum", examples={"en": ["sum"]}, procedure="sum")
    return PACK.model_copy(
        update={
            "flows": {**PACK.flows, "sum": FLOW},
            "intents": {**PACK.intents, "sum": intent},
            "programs": {"sum": program.model_copy(update=changes)},
        }
    )


@pytest.fixture
def world() -> World:
    world = World(pack())
    world.say("sum up", "sum")
    return world


def call(world: World, tool: str = "look", **arguments: Any) -> None:
    """The program stands at its next call."""
    task = world.tasks[-1]
    assert isinstance(task, RunProgram)
    world.complete(ProgramCall(ordinal=len(task.calls), tool=tool, arguments=arguments or {"what": "a"}))


def program(world: World) -> RunProgram:
    task = world.tasks[-1]
    assert isinstance(task, RunProgram)
    return task


def test_a_program_runs_to_its_end(world: World) -> None:
    call(world, what="a")
    world.result({"v": 1})
    call(world, what="b")
    world.result({"v": 2})
    assert [(known.arguments["what"], known.output) for known in program(world).calls] == [
        ("a", {"v": 1}),
        ("b", {"v": 2}),
    ]
    world.complete(ProgramOutput(output={"total": 3}))
    assert world.last == "Together 3."
    assert world.t.status is Status.RESOLVED
    assert [task.tool for task in world.calls] == ["look", "look"]


def test_its_time_and_its_inputs_stay_what_they_were(world: World) -> None:
    first = program(world)
    call(world)
    world.say("and my mail is x@y.z", values={"email": "x@y.z"})
    world.result({"v": 1})
    again = next(task for task in reversed(world.messages("tasks.function_agent")) if isinstance(task, RunProgram))
    assert (again.at, again.inputs, again.id != first.id) == (first.at, first.inputs, True)


def test_a_failed_call_is_told_to_the_program(world: World) -> None:
    call(world)
    world.result(status="failed")
    assert [known.error for known in program(world).calls] == ["failed"]


@pytest.mark.parametrize(
    ("tool", "ordinal"),
    [("verify", 0), ("nothing", 0), ("look", 1), ("look", -1)],
    ids=["not its own", "none", "ahead", "before"],
)
def test_a_call_it_may_not_make_is_a_failed_step(world: World, tool: str, ordinal: int) -> None:
    world.complete(ProgramCall(ordinal=ordinal, tool=tool, arguments={"what": "a"}))
    assert world.calls == []
    assert world.last == "That did not work."
    assert "program_refused" in world.events


def test_more_calls_than_it_may_make_are_a_failed_step(world: World) -> None:
    for number in range(4):
        call(world, what=str(number))
        world.result({"v": number})
    call(world, what="one more")
    assert len(world.calls) == 4
    assert world.last == "That did not work."


def test_answers_too_large_to_keep_are_a_failed_step(world: World) -> None:
    call(world)
    world.result({"v": "x" * MAX_CALLS_BYTES})
    assert world.last == "That did not work."


def test_a_program_that_cannot_be_run_is_a_failed_step(world: World) -> None:
    world.fail(retryable=False)
    assert world.last == "That did not work."


def test_a_program_is_tried_again_however_far_it_is(world: World) -> None:
    for number in range(3):
        call(world, what=str(number))
        world.result({"v": number})
    world.fail(retryable=True)
    world.fail(retryable=True)
    assert len(program(world).calls) == 3
    world.fail(retryable=True)
    assert world.last == "That did not work."


def test_a_write_needs_the_customers_consent(world: World) -> None:
    call(world, "reset", email="a@b.c")
    assert world.calls == []
    assert world.t.questions[-1].kind == "consent"
    world.press("yes", world.question)
    sent = world.calls[-1]
    assert sent.authority.consent_subject == sent.arguments_hash
    assert sent.origins == {"email": "tool"}
    world.result({})
    assert [known.tool for known in program(world).calls] == ["reset"]


def test_a_write_the_customer_declines_is_not_made(world: World) -> None:
    call(world, "reset", email="a@b.c")
    world.press("no", world.question)
    assert world.calls == []
    assert world.t.outcome == "declined"


def test_a_refused_call_goes_to_a_person_and_is_not_told_to_the_program(world: World) -> None:
    call(world)
    world.result(status="refused")
    assert world.t.status is Status.HANDED_OVER
    step = world.t.plans[-1].steps[0]
    assert (step.calls, step.status) == ((), StepStatus.WAITING)


def test_an_unknown_outcome_waits_for_a_person_and_the_program_goes_on_with_what_they_say(world: World) -> None:
    call(world, "cancel", id="o-1")
    world.result(status="unknown")
    assert world.t.status is Status.AWAITING_EXPERT
    approval = world.t.approvals[-1]
    world.expert(
        ResolveUnknown, approval=approval.id, effect=approval.effect, happened=True, output={"cancelled": True}
    )
    assert program(world).calls[-1].output == {"cancelled": True}


def test_a_person_takes_over_and_gives_back_between_two_calls(world: World) -> None:
    call(world)
    running = world.tasks[-1]
    world.take()
    world.result({"v": 1}, task=running)
    assert not [task for task in world.tasks if isinstance(task, RunProgram)]
    world.give_back()
    assert [known.output for known in program(world).calls] == [{"v": 1}]


def test_another_topic_between_two_calls(world: World) -> None:
    call(world)
    running = world.tasks[-1]
    world.say("reset my password", "reset")
    world.result({"v": 1}, task=running)
    assert world.t.plans[0].steps[0].status is StepStatus.WAITING
    assert [task for task in world.tasks if isinstance(task, RunProgram | ExecuteTool)] == []


def test_the_calls_are_dropped_when_it_is_done() -> None:
    world = World(pack())
    world.say("sum up", "sum")
    call(world)
    world.result({"v": 1})
    world.complete(ProgramOutput(output={"total": 1}))
    done = [event for event in world.events if event == "step_completed"]
    assert len(done) == 3
    assert world.t.facts["total"].value == 1
    assert world.t.plans == ()


def test_what_stands_in_the_knowledge_chooses_no_write_by_way_of_a_program(world: World) -> None:
    assert world.ticket is not None
    known = Fact(value="a@b.c", origin="knowledge", ref="p1", at=1)
    world.ticket = world.ticket.model_copy(update={"facts": {**world.ticket.facts, "mentioned": known}})
    call(world, "cancel", id="o-1")
    assert world.calls[-1].origins == {"id": "knowledge"}


def test_a_models_arguments_are_no_rules() -> None:
    world = World(pack())
    world.say("do it all", route={"complexity": "complex"})
    world.complete(
        PlanProposal(steps=(ProposedStep(kind="tool", name="cancel", arguments={"id": "o-1"}),), confidence=1.0)
    )
    assert world.calls[-1].origins == {"id": "model"}
