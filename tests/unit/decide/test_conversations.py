"""Conversations, told as customers live them."""

from __future__ import annotations

import pytest

from services.planner.decide import quarantine
from tandem.contracts.inbox import ExpertReply, ModelUsage, ResolveUnknown, TakeOver
from tandem.contracts.tasks import SettleEffect
from tandem.contracts.ticket import Status
from tandem.packs.model import Edge, Flow, Intent, Node, Pack, Timers
from tests.unit.decide.world import PACK, RESET, World, text, to, tool


def reset_until_consent(world: World) -> None:
    world.say("reset my password", "reset")
    world.say("a@b.c 123456", values={"email": "a@b.c", "code": "123456"})
    world.result({"verified": True})


def test_a_procedure_is_walked_to_its_end() -> None:
    world = World()
    world.say("reset my password", "reset")
    assert world.last == "E-mail and code?"
    assert world.t.status is Status.AWAITING_CUSTOMER
    world.say("a@b.c and 123456", values={"email": "a@b.c", "code": "123456"})
    assert [(call.tool, call.pack_hash) for call in world.calls] == [("verify", PACK.hash)]
    world.result({"verified": True})
    assert world.last == "Reset a@b.c?"
    world.say("yes", values={"yes_no": True})
    assert world.calls[-1].tool == "reset"
    assert world.calls[-1].authority.consent_subject == world.calls[-1].arguments_hash
    assert world.calls[-1].authority.identity == "s2"
    world.result({"ok": True})
    assert world.last == "Done for a@b.c."
    assert world.t.status is Status.RESOLVED
    assert world.t.outcome == "done"


def test_only_what_is_missing_is_asked() -> None:
    world = World()
    world.say("reset password of a@b.c", "reset", values={"email": "a@b.c"})
    assert world.last == "Your code?"


def test_a_wrong_code_three_times_goes_to_a_person() -> None:
    world = World()
    world.say("reset", "reset", values={"email": "a@b.c", "code": "1"})
    for _ in range(2):
        world.result({"verified": False})
        assert world.last == "Code again?"
        world.say("2", values={"code": "2"})
    world.result({"verified": False})
    assert world.last == "A person goes on."
    assert world.t.status is Status.HANDED_OVER
    assert world.expert_tasks[-1].reason == "not_verified"
    world.say("hello?")
    waiting = world.expert_tasks[-1]
    assert (waiting.kind, waiting.reason, waiting.text) == ("message", "not_verified", "hello?")


def test_branches_run_in_parallel_and_join() -> None:
    world = World()
    world.say("fork", "fork")
    world.result({})
    first, second = world.tasks
    world.result({"v": "B"}, task=second)
    assert not world.replies
    world.result({"v": "A"}, task=first)
    assert world.last == "A and B"


def test_results_that_come_together_are_one_decision() -> None:
    apart, at_once = World(), World()
    for world in (apart, at_once):
        world.say("fork", "fork")
        world.result({})
    first, second = apart.tasks
    apart.result({"v": "A"}, task=first)
    apart.result({"v": "B"}, task=second)
    before = at_once.t.version
    sent = at_once.results((first, {"v": "A"}, "done"), (second, {"v": "B"}, "done"))
    assert at_once.t.version == before + 1 == apart.t.version - 1
    assert [output.topic for output in sent] == ["customer.replies", "ticket.events"]
    assert at_once.events == apart.events
    one, other = at_once.t.model_dump(), apart.t.model_dump()
    clocks = ("now", "version", "inbox_offset", "timers", "facts", "recent", "notes")
    assert {k: v for k, v in one.items() if k not in clocks} == {k: v for k, v in other.items() if k not in clocks}
    assert at_once.last == apart.last == "A and B"


def test_results_that_come_together_for_another_ticket_concern_none() -> None:
    world = World()
    world.say("fork", "fork")
    world.result({})
    before, (first, second) = world.t, world.tasks
    others = tuple(task.changed(ticket="another") for task in (first, second))
    assert world.results(*((task, {"v": "A"}, "done") for task in others)) == []
    assert world.t == before


def test_a_choice_and_an_approval() -> None:
    world = World()
    world.say("cancel", "cancel")
    world.result({"orders": [{"id": "O-1"}, {"id": "O-2"}]})
    assert world.last.startswith("Which one?")
    world.say("the second", values={"ordinal": 2})
    assert world.t.status is Status.AWAITING_EXPERT
    assert not [call for call in world.calls if call.tool == "cancel"]
    world.approve()
    assert world.calls[-1].arguments == {"id": "O-2"}
    assert world.calls[-1].authority.approved_by == "ann"
    world.result({})
    assert world.last == "Cancelled O-2."


@pytest.mark.parametrize(("text", "chosen"), [("O-12", "O-12"), ("the order O-1, please", "O-1"), ("o-1", "O-1")])
def test_an_option_is_named_by_its_whole_id(text: str, chosen: str) -> None:
    world = World()
    world.say("cancel", "cancel")
    world.result({"orders": [{"id": "O-1"}, {"id": "O-12"}]})
    world.say(text)
    world.approve()
    assert world.calls[-1].arguments == {"id": chosen}


@pytest.mark.parametrize("wrong", [{"effect": "other"}, {"arguments_hash": "other"}, {"approval": "other"}])
def test_an_approval_of_something_else_is_refused(wrong: dict[str, str]) -> None:
    world = World()
    world.say("cancel", "cancel")
    world.result({"orders": [{"id": "O-1"}]})
    world.say("O-1")
    world.approve(**wrong)
    assert "approval_refused" in world.events
    assert not [call for call in world.calls if call.tool == "cancel"]
    assert world.expert_tasks[-1].kind == "conflict"


def test_a_rejection_changes_nothing() -> None:
    world = World()
    world.say("cancel", "cancel")
    world.result({"orders": [{"id": "O-1"}]})
    world.say("O-1")
    world.reject()
    assert not [call for call in world.calls if call.tool == "cancel"]
    assert world.t.status is Status.HANDED_OVER


def test_arguments_the_flow_leaves_open_are_assembled_and_asked_for() -> None:
    world = World()
    world.say("cannot connect", "diagnose")
    assert world.messages("tasks.function_agent")
    world.propose(tool="diagnose", missing=(("instance", "ip"),))
    assert world.last == "Which instance?"
    world.say("10.0.0.1", values={"ip": "10.0.0.1"})
    world.propose(tool="diagnose", arguments={"ip": "10.0.0.1"}, origins={"ip": "customer"})
    assert world.calls[-1].arguments == {"ip": "10.0.0.1"}
    world.result({"found": "closed port"})
    assert world.last == "Found: closed port"


def test_a_question_is_answered_from_the_knowledge() -> None:
    world = World()
    world.say("what does it cost?", "prices")
    world.answer("Ten a month.")
    assert world.last == "Ten a month."
    assert world.t.status is Status.RESOLVED


def test_without_support_there_is_no_answer_but_a_person() -> None:
    world = World()
    world.say("what does it cost?", "prices")
    world.answer("", supported=False)
    assert world.t.status is Status.HANDED_OVER


def test_a_burst_is_answered_once() -> None:
    world = World(PACK.model_copy(update={"timers": Timers(burst=400)}))
    for words, intent in (("hi", None), ("one question", None), ("what does it cost?", "prices")):
        world.say(words, intent)
    assert not world.tasks
    world.fire("burst")
    assert len(world.tasks) == 1
    world.answer("Ten a month.")
    assert len(world.replies) == 1
    assert world.replies[0].answers == ("m1", "m2", "m3")


def test_what_is_written_while_an_answer_is_prepared_is_answered_with_it() -> None:
    world = World()
    world.say("what does it cost?", "prices")
    stale = world.tasks[-1]
    world.say("per month I mean")
    world.complete(stale_answer(), stale)
    assert not world.replies
    assert world.tasks[-1].question == "what does it cost?\nper month I mean"
    world.answer("Ten a month.")
    assert len(world.replies) == 1


def stale_answer():
    from tandem.contracts.tasks import Answer

    return Answer(text="Ten.", supported=True)


def test_the_event_of_a_step_says_what_its_model_calls_took() -> None:
    world = World()
    usage = ModelUsage(models=("small",), calls=2, tokens_in=900, tokens_out=40, cached=512, first_token_ms=80.5)
    world.say("what does it cost?", "prices")
    world.complete(stale_answer(), usage=usage)
    world.say("and now?", "prices")
    world.complete(stale_answer())
    told = [event.data for message in world.messages("ticket.events") for event in message.events]
    assert [data["usage"] for data in told if "usage" in data] == [usage.model_dump(mode="json")]


def test_a_change_of_topic_and_the_return() -> None:
    world = World()
    reset_until_consent(world)
    consent = world.question
    world.say("what does it cost?", "prices")
    world.answer("Ten a month.")
    assert [reply.text() for reply in world.replies[-3:]] == ["Ten a month.", "Back to the reset.", "Reset a@b.c?"]
    assert world.question != consent
    world.say("yes", values={"yes_no": True})
    assert world.calls[-1].tool == "reset"


def test_a_yes_to_an_older_question_is_not_acted_on() -> None:
    world = World()
    reset_until_consent(world)
    older = world.question
    world.say("what does it cost?", "prices")
    world.answer("Ten a month.")
    world.press("yes", older)
    assert "reset" not in [call.tool for call in world.calls]
    assert "earlier question" in world.last
    world.press("yes", world.question)
    assert world.calls[-1].tool == "reset"


def test_a_yes_written_before_the_question_is_not_consent() -> None:
    world = World()
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True}, sent_at=5)
    assert "reset" not in [call.tool for call in world.calls]


def test_a_no_changes_nothing() -> None:
    world = World()
    reset_until_consent(world)
    world.say("no", values={"yes_no": False})
    assert "reset" not in [call.tool for call in world.calls]
    assert world.t.outcome == "declined"


def test_a_write_without_a_consent_node_asks_by_itself() -> None:
    pack = PACK.model_copy(update={"policies": PACK.policies.model_copy(update={"no_consent": ()})})
    world = World(pack)
    world.say("cancel", "cancel")
    world.result({"orders": [{"id": "O-1"}]})
    world.say("O-1")
    world.approve()
    assert world.t.questions[0].kind == "consent"
    world.say("yes", values={"yes_no": True})
    assert world.calls[-1].tool == "cancel"


def test_what_was_assembled_is_the_customers_after_their_consent_too() -> None:
    opened = tool("open", "idempotent", "address", "size", "kind", slots={"address": "ip"})
    nodes = {
        "open": Node(id="open", kind="tool", sentence=1, tool="open", args={"kind": "small"}, next=to("tell")),
        "tell": Node(id="tell", kind="reply", sentence=2, text=text("Open.")),
    }
    flow = Flow(procedure="open", intent="open", start="open", nodes=nodes)
    about = Intent(name="open", description="open", examples={"en": ["open"]}, procedure="open", label=text("open"))
    changed = {"tools": {**PACK.tools, "open": opened}, "flows": {"open": flow}, "intents": {"open": about}}
    world = World(PACK.model_copy(update=changed))
    world.say("open 10.0.0.1", "open", values={"ip": "10.0.0.1"})
    arguments = {"address": "10.0.0.1", "size": "9", "kind": "small"}
    world.propose(tool="open", arguments=arguments, origins={**dict.fromkeys(arguments, "customer"), "kind": "system"})
    assert world.t.questions[0].kind == "consent"
    world.say("yes", values={"yes_no": True})
    assert world.calls[-1].origins == {"address": "customer", "size": "customer", "kind": "system"}


@pytest.mark.parametrize("resolved", [True, False])
def test_an_expert_takes_over_and_gives_back(resolved: bool) -> None:
    world = World()
    reset_until_consent(world)
    turn = world.t.turn
    world.take()
    assert world.t.owner == "expert:ann"
    assert world.t.turn > turn
    world.say("hello?", values={"yes_no": True})
    assert world.expert_tasks[-1].kind == "message"
    assert "reset" not in [call.tool for call in world.calls]
    world.give_back(resolved)
    assert world.t.owner == "bot"
    if resolved:
        assert world.t.outcome == "resolved_by_expert"
    else:
        assert world.last == "Reset a@b.c?"


@pytest.mark.parametrize(("even_so", "owner", "said"), [(False, "ann", "action_refused"), (True, "bob", "taken_over")])
def test_a_second_expert_takes_over_only_on_purpose(even_so: bool, owner: str, said: str) -> None:
    world = World()
    reset_until_consent(world)
    world.take()
    world.expert(TakeOver, "bob", even_so=even_so)
    assert world.t.owner == f"expert:{owner}"
    [event] = world.messages("ticket.events")[-1].events
    assert (event.kind, event.name) == (said, "bob")
    assert even_so or event.text == "ann has the ticket; with even-so you take it all the same"
    world.expert(ExpertReply, "bob", text="from bob")
    assert (world.last == "from bob") is even_so


def test_a_result_that_arrives_while_an_expert_owns_waits_for_the_give_back() -> None:
    world = World()
    world.say("reset", "reset", values={"email": "a@b.c", "code": "1"})
    world.take()
    said = len(world.replies)
    world.result({"verified": True})
    assert len(world.replies) == said
    world.give_back()
    assert world.last == "Reset a@b.c?"


def test_a_wish_for_a_person_is_granted() -> None:
    world = World()
    world.say("a human please", route={"wants_human": 0.9})
    assert world.t.status is Status.HANDED_OVER


def test_a_vague_message_is_clarified() -> None:
    world = World()
    world.say("help", candidates=("reset", "prices"))
    assert world.last.startswith("I want to be sure")
    world.press("prices", world.question)
    assert world.tasks[-1].TYPE == "tandem.answer-question.v1"


def test_in_a_pack_that_names_no_intents_everything_is_planned() -> None:
    world = World(PACK.model_copy(update={"intents": {}}))
    world.say("cancel it")
    assert world.tasks[-1].TYPE == "tandem.make-plan.v1"


def test_out_of_scope_is_refused_politely() -> None:
    world = World()
    world.say("tell me a joke", route={"out_of_scope": 0.95})
    assert "outside" in world.last
    assert world.t.outcome == "rejected"


def test_the_same_request_twice_is_the_same_effect() -> None:
    world = World()
    for words in ("reset my password", "please reset the password"):
        world.say(words, "reset", values={"email": "a@b.c", "code": "1"})
        world.result({"verified": True})
        world.say("yes", values={"yes_no": True})
        world.result({"ok": True})
    first, second = (call for call in world.calls if call.tool == "reset")
    assert first.effect == second.effect


def test_a_message_repeated_by_its_adapter_is_one() -> None:
    world = World()
    world.say("what does it cost?", "prices", id="same")
    world.say("what does it cost?", "prices", id="same")
    assert world.events.count("duplicate_ignored") == 1
    assert len(world.messages("tasks.")) == 1


def test_an_effect_nobody_knows_of_is_decided_by_a_person() -> None:
    world = World()
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True})
    world.result(status="unknown")
    assert world.t.status is Status.AWAITING_EXPERT
    approval = world.t.approvals[-1]
    call = world.calls[-1]
    world.expert(ResolveUnknown, approval=approval.id, effect=approval.effect, happened=True)
    assert world.last == "Done for a@b.c."
    world.result({"no": 1}, status="failed", task=call)
    assert world.t.outcome == "done"


def test_what_an_expert_found_out_is_kept_as_the_calls_answer() -> None:
    nodes = {**RESET.nodes, "reset": RESET.nodes["reset"].model_copy(update={"save": {"ticket": "result.number"}})}
    nodes["tell"] = nodes["tell"].model_copy(update={"text": text("Done under {ticket}.")})
    world = World(PACK.model_copy(update={"flows": {"reset": RESET.model_copy(update={"nodes": nodes})}}))
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True})
    world.result(status="unknown")
    approval, output = world.t.approvals[-1], {"number": "R-7"}
    for _ in range(2):
        world.expert(ResolveUnknown, approval=approval.id, effect=approval.effect, happened=True, output=output)
    assert world.last == "Done under R-7."
    (told,) = [task for task in world.messages("tasks.executor") if isinstance(task, SettleEffect)]
    made = world.calls[-1]
    assert (told.call.effect, told.call.arguments_hash) == (made.effect, made.arguments_hash)
    assert (told.call.arguments, told.call.n) == (made.arguments, made.n)
    assert (told.happened, told.output) == (True, output)


def test_no_answer_is_not_told_by_what_an_earlier_visit_was_told() -> None:
    gone = (Edge(to="human", when="seen.code != 'gone'"), Edge(to="again"))
    look = {"kind": "tool", "tool": "look", "args": {"what": "$email"}, "save": {"seen": "result"}, "on_failure": gone}
    nodes = {
        "look": Node.model_validate({"id": "look", "sentence": 1, "next": to("tell"), **look}),
        "again": RESET.nodes["who"].model_copy(
            update={"id": "again", "slots": ("email",), "forget": ("email",), "next": to("look")}
        ),
        "tell": Node(id="tell", kind="reply", sentence=2, text=text("Seen.")),
        "human": RESET.nodes["human"],
    }
    flow = Flow(procedure="reset", intent="reset", start="again", nodes=nodes)
    world = World(PACK.model_copy(update={"flows": {"reset": flow}}))
    world.say("look", "reset", values={"email": "a@b.c"})
    for email in ("a@b.c", "d@e.f"):
        world.say(email, values={"email": email})
        assert world.calls[-1].arguments == {"what": email}
        if email == "a@b.c":
            world.result({"code": "gone"}, status="failed")
    for _ in range(3):
        world.fail(retryable=True)
    assert world.last == "A person goes on."


def test_a_step_that_fails_for_good_is_told_once() -> None:
    world = World()
    world.say("what does it cost", "prices")
    world.fail(retryable=False)
    assert world.events.count("step_failed") == 1
    assert world.t.status is Status.HANDED_OVER


def test_a_late_definite_result_replaces_unknown() -> None:
    world = World()
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True})
    call = world.calls[-1]
    world.result(status="unknown")
    world.result({"ok": True}, task=call)
    assert world.last == "Done for a@b.c."


def test_a_task_without_an_answer_is_sent_again_with_the_same_effect() -> None:
    world = World()
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True})
    first = world.calls[-1]
    world.fire(f"step:{first.step}")
    assert world.calls[-1].effect == first.effect
    assert world.calls[-1].attempt == 2
    for _ in range(2):
        world.fire(f"step:{first.step}")
    assert world.t.status is Status.AWAITING_EXPERT
    assert world.t.approvals[-1].kind == "unknown_outcome"


def test_silence_is_reminded_once_then_closed() -> None:
    world = World()
    world.say("reset", "reset")
    world.fire("question")
    assert world.last == "Are you still there? E-mail and code?"
    world.fire("question")
    assert world.t.outcome == "unanswered"
    world.fire("close")
    assert world.t.status is Status.CLOSED
    assert not world.t.timers


def test_a_new_message_reopens_a_resolved_ticket_and_a_closed_one_is_followed_by_another() -> None:
    world = World()
    world.say("what does it cost?", "prices")
    world.answer("Ten.")
    first = world.t.id
    world.say("reset", "reset")
    assert world.t.id == first
    assert world.t.reopened == 1
    world.fire("question")
    world.fire("question")
    world.fire("close")
    world.say("what does it cost?", "prices")
    assert world.t.id != first


def test_the_budget_is_a_limit() -> None:
    world = World(PACK.model_copy(update={"budget": PACK.budget.model_copy(update={"calls": 1})}))
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True})
    assert world.t.status is Status.HANDED_OVER
    assert world.t.outcome == "budget"


def test_an_early_timer_is_armed_again_and_a_disarmed_one_ignored() -> None:
    world = World()
    world.say("reset", "reset")
    before = next(timer.due for timer in world.t.timers if timer.name == "question")
    world.fire("question", early=True)
    after = next(timer.due for timer in world.t.timers if timer.name == "question")
    assert after > before
    assert len(world.replies) == 1


def test_an_unclear_answer_is_interpreted_then_asked_again() -> None:
    world = World()
    world.say("reset", "reset")
    world.say("hm, it is the usual one")
    assert world.tasks[-1].TYPE == "tandem.interpret.v1"
    world.interpret(kind="unsure")
    assert world.last == "Sorry, I did not get that. E-mail and code?"
    world.say("the usual")
    world.interpret(kind="answer", question=world.question, values={"email": "a@b.c", "code": "1"}, confidence=0.9)
    assert world.calls[-1].tool == "verify"


def test_an_interpretation_may_not_give_consent() -> None:
    world = World()
    reset_until_consent(world)
    world.say("well, I suppose")
    world.interpret(kind="answer", question=world.question, yes=True, confidence=1.0)
    assert "reset" not in [call.tool for call in world.calls]


def test_secrets_are_in_no_event_and_no_reply() -> None:
    world = World()
    world.say("reset", "reset", values={"email": "a@b.c"})
    world.say("••••••", values={"code": "918273"})
    published = [o.body for o in world.outputs if not o.topic.startswith("tasks.")]
    assert not any("918273" in body for body in published)


@pytest.mark.parametrize(("worked", "status"), [(True, Status.RESOLVED), (False, Status.HANDED_OVER)])
def test_the_follow_up_asks_whether_it_worked(worked: bool, status: Status) -> None:
    world = World(PACK.model_copy(update={"timers": Timers(follow_up=1_000)}))
    world.say("what does it cost?", "prices")
    world.answer("Ten.")
    world.fire("follow_up")
    assert world.last == "Did that solve it?"
    world.press("yes" if worked else "no", world.question)
    assert world.t.status is status
    assert world.t.outcome == ("confirmed" if worked else "not_solved")


def test_thanks_after_the_answer_is_no_new_matter() -> None:
    world = World()
    world.say("what does it cost?", "prices")
    world.answer("Ten.")
    world.say("thank you", route={"sentiment": "positive"})
    assert world.last == "You are welcome."
    assert world.t.outcome == "confirmed"
    assert world.t.reopened == 0


def test_what_a_customer_cannot_say_is_asked_again_unless_the_flow_knows_better() -> None:
    world = World()
    world.say("reset", "reset")
    world.say("I don't remember", values={"dont_know": True})
    assert world.last == "E-mail and code?"
    flow = PACK.flows["reset"]
    who = flow.nodes["who"].model_copy(update={"on_failure": to("human")})
    nodes = {**flow.nodes, "who": who}
    world = World(PACK.model_copy(update={"flows": {**PACK.flows, "reset": flow.model_copy(update={"nodes": nodes})}}))
    world.say("reset", "reset")
    world.say("I don't remember", values={"dont_know": True})
    assert world.last == "A person goes on."


def with_autonomy(name: str, autonomy: str) -> Pack:
    intent = PACK.intents[name].model_copy(update={"autonomy": autonomy})
    return PACK.model_copy(update={"intents": {**PACK.intents, name: intent}})


def test_an_answer_may_be_shown_as_drafts_after_what_was_said_and_only_where_it_will_be_the_reply() -> None:
    world = World()
    world.say("a question", "prices")
    [task] = world.tasks
    assert (task.drafts_after, task.turn, task.channel != "") == (world.t.seq, world.t.turn, True)
    world.answer("Ten a month.")
    assert world.replies[-1].seq > task.drafts_after
    world = World(with_autonomy("prices", "suggest"))
    world.say("a question", "prices")
    assert world.tasks[0].drafts_after is None


@pytest.mark.parametrize("intent", ["prices", "fork"])
def test_under_suggest_an_expert_sends_the_answer(intent: str) -> None:
    world = World(with_autonomy(intent, "suggest"))
    world.say("a question", intent)
    if intent == "prices":
        world.answer("Ten a month.")
    else:
        world.result({})
        first, second = world.tasks
        world.result({"v": "A"}, task=first)
        world.result({"v": "B"}, task=second)
    assert not world.replies
    assert world.t.status is Status.AWAITING_EXPERT
    assert (world.expert_tasks[-1].kind, world.expert_tasks[-1].text != "") == ("suggestion", True)
    world.approve()
    assert world.last == world.expert_tasks[0].text
    assert world.t.status is Status.RESOLVED


def test_under_suggest_a_write_waits_for_an_expert() -> None:
    world = World(with_autonomy("reset", "suggest"))
    reset_until_consent(world)
    world.say("yes", values={"yes_no": True})
    assert "reset" not in [call.tool for call in world.calls]
    world.approve()
    assert world.calls[-1].authority.approved_by == "ann"


def test_under_confirm_a_write_asks_though_the_policies_do_not() -> None:
    policies = PACK.policies.model_copy(update={"consent": "none", "no_consent": ()})
    world = World(with_autonomy("cancel", "confirm").model_copy(update={"policies": policies}))
    world.say("cancel", "cancel")
    world.result({"orders": [{"id": "O-1"}]})
    world.say("O-1")
    world.approve()
    assert world.t.questions[0].kind == "consent"


def test_a_quarantined_ticket_goes_to_a_person_and_later_messages_queue_in_it() -> None:
    world = World()
    world.say("reset", "reset")
    decision = quarantine(world.t, world.inbox[-1][0], "KeyError: x", world.now + 1, world.pack, world.offset + 1)
    assert decision.ticket is not None
    assert decision.ticket.status is Status.HANDED_OVER
    assert decision.ticket.timers
    world.ticket, world.offset = decision.ticket, world.offset + 1
    world.outputs += decision.outputs
    said = len(world.replies)
    world.say("hello?", "prices")
    assert len(world.replies) == said
    assert world.expert_tasks[-1].kind == "message"


@pytest.mark.parametrize("helped", [False, True])
def test_a_ticket_closed_without_any_person_was_resolved_independently(helped: bool) -> None:
    world = World()
    reset_until_consent(world)
    if helped:
        world.take()
        world.give_back()
    world.say("yes", values={"yes_no": True})
    world.result({"ok": True})
    world.fire("close")
    closed = [
        event for message in world.messages("ticket.events") for event in message.events if event.kind == "closed"
    ]
    assert [(event.status, event.data) for event in closed] == [("done", {"independent": not helped})]
