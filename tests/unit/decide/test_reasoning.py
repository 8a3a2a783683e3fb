"""A model's plan goes on by what it brought, thinks again after a failure, and ends: in an answer, or with a person."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.decide.reasoning import MAX_OBSERVED, MAX_RESULT, MAX_ROUNDS
from tandem.contracts.tasks import AssembleCall, CallProposal, MakePlan, PlanProposal, ProposedStep, Reason
from tandem.contracts.values import canonical_json
from tests.unit.decide.world import PACK, World

OPEN = PACK.model_copy(update={"intents": {}})


def look(what: str = "a", **more: Any) -> ProposedStep:
    return ProposedStep(kind="tool", name="look", arguments={"what": what}, **more)


def say(text: str = "It is blue.", **more: Any) -> ProposedStep:
    return ProposedStep(kind="reply", text=text, **more)


def planned(*steps: ProposedStep, pack: Any = OPEN) -> World:
    """A customer wrote what no procedure covers, and a model proposed this."""
    world = World(pack)
    world.say("what colour is my instance and can it be changed")
    assert isinstance(world.tasks[-1], MakePlan)
    propose(world, *steps)
    return world


def propose(world: World, *steps: ProposedStep, done: bool = False) -> None:
    world.complete(PlanProposal(steps=steps, done=done, reason="because", confidence=0.9))


def asked(world: World) -> Reason:
    task = world.tasks[-1]
    assert isinstance(task, Reason)
    return task


def test_a_plan_that_tells_the_customer_is_done() -> None:
    world = planned(look(), say(needs=(0,)))
    world.result({"colour": "blue"})
    assert (world.last, world.t.outcome) == ("It is blue.", "done")


def test_what_a_tool_brought_is_observed_before_the_next_word() -> None:
    world = planned(look())
    world.result({"colour": "blue"})
    (seen,) = asked(world).observations
    assert (seen.name, seen.status, seen.output) == ("look", "done", {"colour": "blue"})
    assert not [name for name in asked(world).facts if name.startswith("_")]
    propose(world, say())
    assert (world.last, world.t.outcome, world.t.plans) == ("It is blue.", "done", ())


def test_after_a_failure_what_was_to_follow_is_skipped_and_the_model_thinks_again() -> None:
    world = planned(look(), say("It is done.", needs=(0,)))
    world.result({"error": "no such thing"}, status="failed")
    (seen,) = asked(world).observations
    assert (seen.status, list(seen.output)) == ("failed", ["error"])
    assert [reply.text() for reply in world.replies] == []
    assert "set_back" in world.events
    propose(world, look("b"))
    world.result({"colour": "red"})
    assert [item.output for item in asked(world).observations][1] == {"colour": "red"}
    propose(world, say("It is red."))
    assert (world.last, world.t.outcome) == ("It is red.", "done")


def one_of(*tools: str, text: str = "find it", **more: Any) -> ProposedStep:
    return ProposedStep(kind="tool", tools=tools, text=text, **more)


def test_which_of_several_tools_is_chosen_by_function_agent() -> None:
    world = planned(one_of("look", "orders"), say(needs=(0,)))
    task = world.tasks[-1]
    assert isinstance(task, AssembleCall)
    assert (task.tools, task.goal) == (("look", "orders"), "find it")
    world.propose(tool="orders", arguments={})
    assert world.calls[-1].tool == "orders"
    world.result({"orders": []})
    assert world.t.outcome == "done"


def test_what_the_chosen_tool_lacks_is_asked_for() -> None:
    world = planned(one_of("look", "reset"))
    world.propose(tool="reset", missing=(("email",),))
    assert world.last == "Your e-mail?"
    world.say("a@b.c", values={"email": "a@b.c"})
    task = world.tasks[-1]
    assert isinstance(task, AssembleCall)
    assert task.tools == ("reset",)
    world.propose(tool="reset", arguments={"email": "a@b.c"}, origins={"email": "customer"})
    assert world.t.questions[0].kind == "consent"
    assert world.calls == []


def test_a_call_that_was_made_is_not_chosen_again() -> None:
    world = planned(look("a"))
    world.result({"colour": "blue"})
    propose(world, one_of("look", "orders"))
    world.propose(tool="look", arguments={"what": "a"})
    assert len(world.calls) == 1
    assert "before" in str(asked(world).observations[-1].output["error"])


@pytest.mark.parametrize("proposal", [{"reason": "no tool does it"}, {"tool": "cancel"}, {"tool": "drop_tables"}])
def test_of_several_tools_none_other_is_called(proposal: dict[str, Any]) -> None:
    world = planned(one_of("look", "orders"))
    world.propose(**proposal)
    assert world.calls == []
    (seen,) = asked(world).observations
    assert (seen.name, seen.status) == ("look", "failed")


@pytest.mark.parametrize(
    "step", [one_of("look", "drop_tables"), one_of("look", "orders", text=""), one_of("look", "orders", name="look")]
)
def test_a_choice_that_is_none_is_no_plan(step: ProposedStep) -> None:
    assert planned(step).t.outcome == "no_plan"


def test_the_same_call_again_is_a_loop() -> None:
    world = planned(look())
    world.result({"colour": "blue"})
    propose(world, look())
    assert world.t.outcome == "no_plan"
    assert len(world.calls) == 1


def test_a_model_that_never_comes_to_an_end_is_stopped() -> None:
    world = planned(look("0"))
    for number in range(1, 20):
        world.result({"n": number}, status="done" if number % 2 else "failed")
        if world.t.status == "handed_over":
            break
        propose(world, look(str(number)))
    assert world.t.status == "handed_over"
    assert len(world.calls) == MAX_ROUNDS + 1
    assert world.t.outcome in ("too_many_rounds", "failed:look")


@pytest.mark.parametrize(("spoken", "outcome"), [(True, "done"), (False, "no_plan")])
def test_done_without_a_word_to_the_customer_is_a_persons(spoken: bool, outcome: str) -> None:
    world = planned(*([say("I look it up."), look()] if spoken else [look()]))
    world.result({"colour": "blue"})
    propose(world, done=True)
    assert world.t.outcome == outcome


def test_an_open_question_is_answered_by_any_words() -> None:
    world = planned(ProposedStep(kind="ask", text="Which one do you mean?"))
    world.say("the one in the cellar")
    assert asked(world).recent[-1].text == "the one in the cellar"


def test_a_question_for_values_waits_for_them() -> None:
    world = planned(ProposedStep(kind="ask", text="Which instance?", slots=("instance",)))
    assert world.t.questions[0].slots == ("instance",)
    world.say("i-1", values={"instance": "i-1"})
    assert asked(world).facts["instance"].value == "i-1"


def test_a_value_that_the_pack_does_not_know_is_not_asked_for() -> None:
    assert planned(ProposedStep(kind="ask", text="?", slots=("moon",))).t.outcome == "no_plan"


def test_a_customers_no_is_no_failure_to_get_around() -> None:
    world = planned(ProposedStep(kind="tool", name="reset", arguments={"email": "a@b.c"}))
    world.say("no", values={"yes_no": False})
    assert (world.t.outcome, world.calls) == ("declined", [])


def test_a_procedure_asks_no_model_after_a_failure() -> None:
    world = World()
    world.say("diagnose", "diagnose", values={"instance": "i-1"})
    if not world.calls:
        world.propose(tool="diagnose", arguments={"instance": "i-1"}, confidence=1.0)
    world.result(status="failed")
    assert world.t.outcome == "failed:diagnose"


def test_results_are_kept_small_and_without_secrets() -> None:
    world = planned(ProposedStep(kind="ask", text="Your code?", slots=("code",)))
    world.say("my code is 4711", values={"code": "4711"})
    propose(world, look("0"))
    world.result({"code": "4711", "text": "x" * 3 * MAX_RESULT})
    assert "4711" not in canonical_json([item.model_dump() for item in asked(world).observations])
    for number in range(2, MAX_ROUNDS):
        propose(world, *(look(f"{number}.{n}") for n in range(4)))
        for task in list(world.tasks):
            world.result({"text": "y" * 3 * MAX_RESULT}, task=task)
    kept = [fact for name, fact in world.t.facts.items() if name.startswith("_result:")]
    assert len(kept) == MAX_OBSERVED
    assert sum(len(canonical_json(fact.value)) for fact in kept) < MAX_OBSERVED * (MAX_RESULT + 50)


STEPS = st.one_of(
    st.builds(look, st.sampled_from("abc")),
    st.builds(say, st.just("Hm.")),
    st.just(ProposedStep(kind="ask", text="?", slots=("instance",))),
    st.just(ProposedStep(kind="agent", name="rag_agent")),
    st.just(ProposedStep(kind="tool", name="reset", arguments={"email": "x"})),
    st.just(one_of("look", "reset")),
)


@given(st.lists(st.tuples(st.lists(STEPS, max_size=3), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_whatever_a_model_proposes_the_ticket_comes_to_rest_and_is_watched(rounds: list[Any]) -> None:
    world = World(OPEN)
    world.say("what colour is my instance")
    for steps, done, works in rounds:
        for task in list(world.tasks):
            if isinstance(task, MakePlan | Reason):
                world.complete(PlanProposal(steps=tuple(steps), done=done, confidence=0.5), task)
            elif isinstance(task, AssembleCall):
                world.complete(CallProposal(tool=task.tools[-1], arguments={"email": "x", "what": "a"}), task)
            elif task.TYPE == "tandem.execute-tool.v1":
                world.result({"v": 1}, "done" if works else "failed", task)
            elif task.TYPE == "tandem.answer-question.v1":
                world.fail(False, task)
        if world.t.questions:
            world.say("no", values={"yes_no": False})
        assert world.t.timers
        assert sum(isinstance(task, Reason) for task in world.messages("tasks.planner")) <= MAX_ROUNDS
        assert all(call.tool != "reset" for call in world.calls)
