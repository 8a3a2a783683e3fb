"""In a pack that wants it the models read the conversation before a question and before a look-up."""

from __future__ import annotations

from typing import Any

from tandem.contracts.tasks import AssembleCall, Interpret
from tandem.contracts.ticket import Status
from tests.unit.decide.world import PACK, World

READS = PACK.model_copy(update={"reads": True})


def read(world: World) -> AssembleCall:
    task = world.tasks[-1]
    assert isinstance(task, AssembleCall)
    assert task.judge
    return task


def found(world: World, **arguments: Any) -> None:
    world.propose(tool=read(world).tools[0], arguments=arguments, origins=dict.fromkeys(arguments, "customer"))


def test_only_what_was_not_said_is_asked() -> None:
    world = World(READS)
    world.say("reset it, I am a@b.c", "reset", sent_at=77)
    assert not world.replies
    assert (read(world).tools, read(world).sent_at) == (("verify",), 77)
    found(world, email="a@b.c")
    assert world.last == "Your code?"
    assert world.t.facts["email"].value == "a@b.c"


def test_secret_values_and_values_of_others_are_not_taken() -> None:
    world = World(READS)
    world.say("reset it", "reset")
    world.propose(
        tool="verify", arguments={"email": "a@b.c", "code": "1"}, origins={"email": "tool", "code": "customer"}
    )
    assert world.last == "E-mail and code?"
    assert not {"email", "code"} & world.t.facts.keys()


def test_without_an_answer_of_the_reader_the_question_is_asked() -> None:
    world = World(READS)
    world.say("reset it", "reset")
    world.fail(retryable=True)
    assert world.last == "E-mail and code?"
    assert world.t.status is Status.AWAITING_CUSTOMER


def test_an_answer_that_no_rule_understands_is_read_and_then_interpreted() -> None:
    world = World(READS)
    world.say("reset it", "reset")
    found(world)
    world.say("the usual one")
    found(world, email="a@b.c")
    assert isinstance(world.tasks[-1], Interpret)
    assert world.tasks[-1].text == "the usual one"


def test_what_the_customer_cannot_say_is_guessed_and_else_asked_again() -> None:
    world = World(READS)
    world.say("reset it", "reset", values={"code": "1"})
    found(world)
    world.say("I don't remember", values={"dont_know": True})
    assert read(world).sure == 0.35
    found(world)
    assert world.last == "Your e-mail?"
    world.say("I don't remember", values={"dont_know": True})
    found(world, email="a@b.c")
    assert world.calls[-1].arguments == {"email": "a@b.c", "code": "1"}


def test_an_answer_that_is_read_needs_no_interpretation() -> None:
    world = World(READS)
    world.say("reset it", "reset", values={"code": "1"})
    found(world)
    assert world.last == "Your e-mail?"
    world.say("the usual one")
    found(world, email="a@b.c")
    assert world.calls[-1].arguments == {"email": "a@b.c", "code": "1"}
    assert "interpret" not in {step.name for plan in world.t.plans for step in plan.steps}


def test_nothing_is_read_between_a_consent_and_its_call() -> None:
    world = World(READS)
    world.say("reset it", "reset", values={"email": "a@b.c", "code": "1"})
    found(world)
    world.result({"verified": True})
    assert world.last == "Reset a@b.c?"
    world.press("yes", world.question)
    assert world.calls[-1].tool == "reset"


def test_the_reader_is_told_of_calls_without_their_secrets() -> None:
    world = World(READS)
    world.say("reset it", "reset", values={"email": "a@b.c", "code": "1"})
    found(world)
    world.result({"verified": False})
    assert world.last == "Code again?"
    world.say("I do not have it")
    (call,) = read(world).calls
    assert (call.tool, call.arguments, call.output) == ("verify", {"email": "a@b.c"}, {"verified": False})
    assert [line.step for line in read(world).recent] == ["", "again", ""]
