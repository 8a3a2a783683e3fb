"""What must hold whatever is said, answered, timed and decided, in whatever order (design §12)."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.planner.decide import decide
from tandem.contracts.inbox import ExpertReply, ResolveUnknown, TakeOver, TicketNoted
from tandem.contracts.tasks import (
    Answer,
    AnswerQuestion,
    AssembleCall,
    CallProposal,
    ExecuteTool,
    Interpret,
    Interpretation,
)
from tandem.contracts.ticket import MAX_PLANS, MAX_SEEN, MAX_UNREAD, Cost, Status
from tandem.packs.model import Timers
from tests.unit.decide.world import PACK, World

INTENTS = st.sampled_from([None, "reset", "fork", "cancel", "diagnose", "prices"])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "email": st.just("a@b.c"),
        "code": st.sampled_from(["111111", "222222"]),
        "instance": st.just("i-1"),
        "yes_no": st.booleans(),
        "ordinal": st.integers(1, 3),
    },
)
OUTPUTS: dict[str, list[dict[str, Any]]] = {
    "verify": [{"verified": True}, {"verified": False}],
    "orders": [{"orders": [{"id": "O-1"}, {"id": "O-2"}]}, {"orders": []}],
}


class Ticket(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            PACK.model_copy(update={"timers": Timers(burst=300), "budget": Cost(calls=30, tokens=9, micros=9)})
        )
        self.consents: set[str] = set()

    @rule(intent=INTENTS, values=VALUES, late=st.booleans(), human=st.sampled_from([0.0, 0.0, 0.0, 0.9]))
    def say(self, intent: str | None, values: dict[str, Any], late: bool, human: float) -> None:
        sent_at = self.world.now + 5 if late else 1
        self.world.say(
            "words", intent, values=values, sent_at=sent_at, route={"wants_human": human}, candidates=("reset",)
        )

    @precondition(lambda self: self.world.ticket and self.world.said)
    @rule()
    def repeat_the_last_message(self) -> None:
        self.world.say("words", "reset", id=f"m{self.world.said}")

    @precondition(lambda self: self.world.ticket and self.world.ticket.questions)
    @rule(action=st.sampled_from(["yes", "no", "O-1", "prices"]))
    def press(self, action: str) -> None:
        self.world.press(action, self.world.question)

    @precondition(lambda self: self.world.ticket and self.world.tasks)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.world.tasks))
        match task:
            case ExecuteTool():
                status = data.draw(st.sampled_from(["done", "done", "done", "failed", "refused", "expired", "unknown"]))
                output = data.draw(st.sampled_from(OUTPUTS.get(task.tool, [{"v": 1, "found": "x"}])))
                self.world.result(output, status, task)
            case AssembleCall():
                complete = CallProposal(tool="diagnose", arguments={"instance": "i-1"})
                missing = CallProposal(tool="diagnose", missing=(("instance", "ip"),))
                self.world.complete(data.draw(st.sampled_from([complete, missing])), task)
            case Interpret():
                question = task.questions[-1]
                values = dict.fromkeys(question.slots, "v")
                self.world.complete(
                    Interpretation(kind="answer", question=question.id, values=values, yes=True, confidence=1.0), task
                )
            case AnswerQuestion():
                self.world.complete(Answer(text="t", supported=data.draw(st.booleans())), task)

    @precondition(lambda self: self.world.ticket and self.world.tasks)
    @rule(retryable=st.booleans())
    def fail(self, retryable: bool) -> None:
        self.world.fail(retryable)

    @precondition(lambda self: self.world.calls)
    @rule(data=st.data())
    def results_come_together(self, data: st.DataObject) -> None:
        """Awaited ones, late ones and the same twice, in any order."""
        calls = st.sampled_from([*self.world.calls, *(task for task in self.world.tasks if task in self.world.calls)])
        status = st.sampled_from(["done", "done", "failed", "unknown"])
        answers = data.draw(
            st.lists(st.tuples(calls, st.just({"verified": True, "v": 1}), status), min_size=2, max_size=4)
        )
        self.world.results(*answers)

    @precondition(lambda self: self.world.calls)
    @rule(data=st.data())
    def a_result_comes_late(self, data: st.DataObject) -> None:
        self.world.result({"verified": True}, "done", data.draw(st.sampled_from(self.world.calls)))

    @precondition(lambda self: self.world.ticket and self.world.ticket.timers)
    @rule(data=st.data(), early=st.booleans())
    def fire(self, data: st.DataObject, early: bool) -> None:
        timer = data.draw(st.sampled_from(self.world.t.timers))
        self.world.fire(timer.name, early)

    @precondition(lambda self: self.world.ticket)
    @rule(data=st.data())
    def notes_come(self, data: st.DataObject) -> None:
        """Any that are awaited, for any cost that was set aside."""
        awaited = self.world.t.notes
        if awaited:
            cost = Cost(**{name: data.draw(st.integers(0, most)) for name, most in awaited.cost.model_dump().items()})
            about = {"tenant": "acme", "conversation": self.world.conversation, "ticket": self.world.t.id}
            self.world.feed(TicketNoted(**about, id=awaited.id, cost=cost))

    @precondition(lambda self: self.world.ticket)
    @rule(expert=st.sampled_from(["ann", "bob"]), even_so=st.booleans())
    def take(self, expert: str, even_so: bool) -> None:
        """Only who says so takes a ticket that another expert has."""
        before = self.world.t.owner
        self.world.expert(TakeOver, expert, even_so=even_so)
        if self.world.t.status is not Status.CLOSED:
            free = even_so or before in ("bot", f"expert:{expert}")
            assert self.world.t.owner == (f"expert:{expert}" if free else before)

    @precondition(lambda self: self.world.ticket)
    @rule(resolved=st.booleans(), act=st.sampled_from(["give", "reply"]))
    def expert(self, resolved: bool, act: str) -> None:
        if act == "give":
            self.world.give_back(resolved)
        else:
            self.world.expert(ExpertReply, text="from me")

    @precondition(lambda self: self.world.ticket and self.world.ticket.approvals)
    @rule(yes=st.booleans())
    def decide_on_an_approval(self, yes: bool) -> None:
        approval = self.world.t.approvals[-1]
        if approval.kind == "unknown_outcome":
            self.world.expert(ResolveUnknown, approval=approval.id, effect=approval.effect, happened=yes)
        elif yes:
            self.world.approve()
        else:
            self.world.reject()

    @invariant()
    def a_ticket_that_is_not_closed_has_an_armed_timer(self) -> None:
        if self.world.ticket:
            assert bool(self.world.t.timers) == (self.world.t.status is not Status.CLOSED)

    @invariant()
    def the_budget_holds(self) -> None:
        if self.world.ticket:
            budget = self.world.t.budget
            assert (budget.spent + budget.reserved).within(budget.limit)
            assert Cost().within(budget.reserved)

    @invariant()
    def the_ticket_stays_small(self) -> None:
        if self.world.ticket:
            t = self.world.t
            assert len(t.plans) <= MAX_PLANS
            assert len(t.seen) <= MAX_SEEN
            assert len(t.unread) <= MAX_UNREAD
            assert len(t.model_dump_json()) < 100_000

    @invariant()
    def one_id_has_one_content(self) -> None:
        bodies: dict[str, str] = {}
        for output in self.world.outputs:
            assert bodies.setdefault(output.id, output.body) == output.body

    @invariant()
    def the_bot_is_silent_while_an_expert_owns(self) -> None:
        owned = False
        for message, kind in ((m, m.TYPE) for m in self.world.messages("ticket.events")):
            owned = message.owner != "bot"
            if owned and kind and message.cause != "tandem.take-over.v1":
                said = [event for event in message.events if event.kind == "reply_sent"]
                assert not said or message.cause == "tandem.expert-reply.v1"

    @invariant()
    def no_write_without_its_consent_or_approval(self) -> None:
        for call in self.world.calls:
            if call.tool == "reset":
                assert call.authority.consent_subject == call.arguments_hash
            if call.tool == "cancel":
                assert call.authority.approval_hash == call.arguments_hash

    @invariant()
    def steps_in_flight_are_timed(self) -> None:
        if self.world.ticket:
            armed = {timer.name for timer in self.world.t.timers}
            for plan in self.world.t.plans:
                for step in plan.steps:
                    if step.task:
                        assert f"step:{step.id}" in armed

    def teardown(self) -> None:
        """`decide` over the recorded inbox is byte-identical."""
        ticket, bodies = None, []
        for message, now, offset in self.world.inbox:
            decision = decide(ticket, message, now, self.world.pack, offset)
            ticket = decision.ticket or ticket
            bodies += [output.body for output in decision.outputs]
        assert bodies == [output.body for output in self.world.outputs]
        assert ticket == self.world.ticket


TestTicket = Ticket.TestCase
TestTicket.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
