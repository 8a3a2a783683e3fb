"""One ticket and everybody around it, for tests of `decide`: what is said, answered, timed and decided by experts."""

from __future__ import annotations

from typing import Any

from services.planner.decide import decide
from tandem.contracts.customer import CardActionPart, CustomerMessage, Reply, TextPart
from tandem.contracts.events import ExpertTask, TicketEvents
from tandem.contracts.inbox import (
    AnyInboxMessage,
    Approve,
    GiveBack,
    ModelUsage,
    Reject,
    RoutedMessage,
    StepCompleted,
    StepFailed,
    StepsCompleted,
    TakeOver,
    TimerFired,
)
from tandem.contracts.log import Output
from tandem.contracts.message import read_body
from tandem.contracts.tasks import Answer, CallProposal, ExecuteTool, Interpretation, Task, ToolResult
from tandem.contracts.ticket import Candidate, Cost, Route, Ticket, TypedValue
from tandem.contracts.values import Value, conversation_id, derive_id
from tandem.packs.model import Choices, Edge, Flow, Intent, Node, Pack, Policies, Slot, Timers, Tool
from tandem.sending import about

EN = {"en": "x"}
SCHEMA = {"type": "object", "properties": {}, "required": []}


def text(words: str) -> dict[str, str]:
    return {"en": words}


def to(node: str, when: str | None = None) -> tuple[Edge, ...]:
    return (Edge(to=node, when=when),)


def tool(name: str, cls: str, *required: str, **more: Any) -> Tool:
    parameters = {"type": "object", "properties": {p: {"type": "string"} for p in required}, "required": list(required)}
    return Tool.model_validate({"name": name, "tool_class": cls, "parameters": parameters, **more})


RESET = Flow(
    procedure="reset",
    intent="reset",
    start="who",
    nodes={
        "who": Node(
            id="who", kind="ask", sentence=1, slots=("email", "code"), text=text("E-mail and code?"), next=to("verify")
        ),
        "again": Node(
            id="again",
            kind="ask",
            sentence=1,
            slots=("code",),
            forget=("code",),
            text=text("Code again?"),
            next=to("verify"),
        ),
        "verify": Node(
            id="verify",
            kind="tool",
            sentence=1,
            tool="verify",
            args={"email": "$email", "code": "$code"},
            next=(Edge(to="agree", when="result.verified"), *to("human", 'visits("verify") >= 3'), *to("again")),
        ),
        "agree": Node(
            id="agree", kind="ask", sentence=2, consent="reset", text=text("Reset {email}?"), next=to("reset")
        ),
        "reset": Node(id="reset", kind="tool", sentence=2, tool="reset", args={"email": "$email"}, next=to("tell")),
        "tell": Node(id="tell", kind="reply", sentence=3, text=text("Done for {email}.")),
        "human": Node(id="human", kind="handover", sentence=4, reason="not_verified", text=text("A person goes on.")),
    },
)
FORK = Flow(
    procedure="fork",
    intent="fork",
    start="begin",
    nodes={
        "begin": Node(
            id="begin",
            kind="tool",
            sentence=1,
            tool="look",
            args={"what": "start"},
            next=(*to("a"), *to("b")),
            all=True,
        ),
        "a": Node(
            id="a", kind="tool", sentence=2, tool="look", args={"what": "a"}, next=to("join"), save={"a": "result.v"}
        ),
        "b": Node(
            id="b", kind="tool", sentence=2, tool="look", args={"what": "b"}, next=to("join"), save={"b": "result.v"}
        ),
        "join": Node(id="join", kind="reply", sentence=3, needs=("a", "b"), text=text("{a} and {b}")),
    },
)
CANCEL = Flow(
    procedure="cancel",
    intent="cancel",
    start="list",
    nodes={
        "list": Node(
            id="list", kind="tool", sentence=1, tool="orders", save={"orders": "result.orders"}, next=to("which")
        ),
        "which": Node(
            id="which",
            kind="ask",
            sentence=2,
            text=text("Which one?"),
            choices=Choices(items="orders", id="item.id", label=text("Order {item.id}"), save="order"),
            next=to("approve"),
            on_failure=to("none"),
        ),
        "approve": Node(
            id="approve",
            kind="approve",
            sentence=3,
            approve="cancel",
            text=text("Cancel {order.id}"),
            next=to("cancel"),
        ),
        "cancel": Node(id="cancel", kind="tool", sentence=3, tool="cancel", args={"id": "$order.id"}, next=to("tell")),
        "tell": Node(id="tell", kind="reply", sentence=4, text=text("Cancelled {order.id}.")),
        "none": Node(id="none", kind="reply", sentence=4, text=text("You have no orders.")),
    },
)
DIAGNOSE = Flow(
    procedure="diagnose",
    intent="diagnose",
    start="diagnose",
    nodes={
        "diagnose": Node(
            id="diagnose", kind="tool", sentence=1, tool="diagnose", save={"found": "result.found"}, next=to("tell")
        ),
        "tell": Node(id="tell", kind="reply", sentence=2, text=text("Found: {found}")),
    },
)

PACK = Pack(
    name="test",
    hash="h1",
    root="",
    timers=Timers(),
    slots={
        "email": Slot(name="email", type="email", ask=text("Your e-mail?")),
        "code": Slot(name="code", ask=text("Your code?"), sensitive=True),
        "instance": Slot(name="instance", ask=text("Which instance?")),
        "ip": Slot(name="ip", type="ip", ask=text("Which address?")),
    },
    intents={
        name: Intent(
            name=name, description=name, examples={"en": [name]}, procedure=procedure, label=text(f"the {name}")
        )
        for name, procedure in (
            ("reset", "reset"),
            ("fork", "fork"),
            ("cancel", "cancel"),
            ("diagnose", "diagnose"),
            ("prices", None),
        )
    },
    flows={flow.procedure: flow for flow in (RESET, FORK, CANCEL, DIAGNOSE)},
    tools={
        t.name: t
        for t in (
            tool("verify", "read", "email", "code"),
            tool("reset", "idempotent", "email"),
            tool("look", "read", "what"),
            tool("orders", "read"),
            tool("cancel", "unsafe", "id"),
            Tool(
                name="diagnose",
                tool_class="read",
                parameters={"type": "object", "properties": {"instance": {"type": "string"}, "ip": {"type": "string"}}},
                alternatives=(("instance", "ip"),),
            ),
        )
    },
    policies=Policies(identity_tools=("verify",), no_consent=("cancel",), authorisation="none"),
)


def tool_result(task: Task, output: dict[str, Any] | None = None, status: str = "done") -> ToolResult:
    """What comes of a call."""
    assert isinstance(task, ExecuteTool)
    return ToolResult.model_validate({"effect": task.effect, "status": status, "output": output or {}})


class World:
    """A ticket, its mailbox, and all that was published."""

    def __init__(self, pack: Pack = PACK, now: int = 1_000_000) -> None:
        self.pack = pack
        self.now = now
        self.offset = -1
        self.said = 0
        self.ticket: Ticket | None = None
        self.conversation = conversation_id("acme", "chat", "t1")
        self.outputs: list[Output] = []
        self.inbox: list[tuple[AnyInboxMessage | StepsCompleted, int, int]] = []

    def feed(self, message: AnyInboxMessage | StepsCompleted) -> list[Output]:
        """Append a message to the mailbox and decide on it."""
        self.now += 10
        self.offset += 1
        self.inbox.append((message, self.now, self.offset))
        decision = decide(self.ticket, message, self.now, self.pack, self.offset)
        self.ticket = decision.ticket or self.ticket
        self.outputs += decision.outputs
        return list(decision.outputs)

    @property
    def t(self) -> Ticket:
        assert self.ticket is not None
        return self.ticket

    # The customer ------------------------------------------------------------------------------------------------

    def say(self, words: str, intent: str | None = None, confidence: float = 0.95, **more: Any) -> list[Output]:
        """The customer writes. `values`: slot → value; `typed`: whole values; `route`: more of the route; `sent_at`; `cost`."""
        self.said += 1
        values = tuple(TypedValue(slot=k, value=v, text=str(v)) for k, v in more.get("values", {}).items())
        values += tuple(more.get("typed", ()))
        candidates = tuple(Candidate(intent=i, confidence=0.4) for i in more.get("candidates", ()))
        route = Route(
            intent=intent, confidence=confidence if intent else 0.2, candidates=candidates, **more.get("route", {})
        )
        parts: tuple[Any, ...] = (TextPart(text=words),)
        if "press" in more:
            parts = (CardActionPart(question=more["question"], action=more["press"]),)
        message = CustomerMessage(
            id=more.get("id", f"m{self.said}"),
            tenant="acme",
            channel="chat",
            thread="t1",
            conversation=self.conversation,
            parts=parts,
            sent_at=more.get("sent_at", self.now + 5),
        )
        return self.feed(
            RoutedMessage(
                tenant="acme",
                conversation=self.conversation,
                id=derive_id("adapter", message.id),
                message=message,
                route=route,
                values=values,
                pack=self.pack.name,
                pack_hash=self.pack.hash,
                cost=more.get("cost", Cost()),
            )
        )

    def press(self, action: str, question: str) -> list[Output]:
        return self.say("", press=action, question=question)

    # The agents --------------------------------------------------------------------------------------------------

    def messages(self, topic: str) -> list[Any]:
        return [read_body(o.type, o.body.encode()) for o in self.outputs if o.topic.startswith(topic)]

    @property
    def tasks(self) -> list[Task]:
        """Tasks whose answer the ticket waits for."""
        waiting = {s.task for plan in self.t.plans for s in plan.steps if s.task}
        return [task for task in self.messages("tasks.") if task.id in waiting]

    @property
    def calls(self) -> list[ExecuteTool]:
        return [task for task in self.messages("tasks.executor") if isinstance(task, ExecuteTool)]

    def completed(
        self, output: Value, task: Task, cost: Cost | None = None, usage: ModelUsage | None = None
    ) -> StepCompleted:
        return StepCompleted(
            **about(task, "s"),
            output_type=type(output).__name__,
            output=output.model_dump(mode="json"),
            cost=cost or Cost(calls=1),
            usage=usage,
        )

    def complete(
        self, output: Value, task: Task | None = None, cost: Cost | None = None, usage: ModelUsage | None = None
    ) -> list[Output]:
        return self.feed(self.completed(output, task or self.tasks[-1], cost, usage))

    def result(
        self, output: dict[str, Any] | None = None, status: str = "done", task: Task | None = None
    ) -> list[Output]:
        """The executor answers a call."""
        return self.complete(tool_result(task or self.tasks[-1], output, status), task)

    def results(self, *answers: tuple[Task, dict[str, Any], str]) -> list[Output]:
        """The executor answers several calls, and the owner finds the answers together."""
        return self.feed(
            StepsCompleted(
                tuple(self.completed(tool_result(task, output, status), task) for task, output, status in answers)
            )
        )

    def fail(self, retryable: bool, task: Task | None = None) -> list[Output]:
        task = task or self.tasks[-1]
        return self.feed(StepFailed(**about(task, "s"), error="e", reason="r", retryable=retryable))

    def answer(self, words: str, supported: bool = True) -> list[Output]:
        return self.complete(Answer(text=words, supported=supported, confidence=0.9))

    def propose(self, **proposal: Any) -> list[Output]:
        return self.complete(CallProposal(**proposal))

    def interpret(self, **found: Any) -> list[Output]:
        return self.complete(Interpretation(**found))

    # Time and experts --------------------------------------------------------------------------------------------

    def fire(self, name: str, early: bool = False) -> list[Output]:
        due = next(timer.due for timer in self.t.timers if timer.name == name)
        if not early:
            self.now = max(self.now, due)
        return self.feed(
            TimerFired(tenant="acme", conversation=self.conversation, ticket=self.t.id, name=name, due=due)
        )

    def expert(self, kind: type[Any], expert: str = "ann", **fields: Any) -> list[Output]:
        common = {"tenant": "acme", "conversation": self.conversation, "ticket": self.t.id, "expert": expert}
        fields.setdefault("id", f"{kind.__name__}{self.offset}")
        return self.feed(kind(**common, **fields))

    def take(self) -> list[Output]:
        return self.expert(TakeOver, reason="I know this customer")

    def give_back(self, resolved: bool = False) -> list[Output]:
        return self.expert(GiveBack, reason="over to you", resolved=resolved)

    def approve(self, **wrong: str) -> list[Output]:
        approval = self.t.approvals[-1]
        named = {"approval": approval.id, "effect": approval.effect, "arguments_hash": approval.arguments_hash}
        return self.expert(Approve, **(named | wrong))

    def reject(self) -> list[Output]:
        return self.expert(Reject, approval=self.t.approvals[-1].id)

    # What was published ------------------------------------------------------------------------------------------

    @property
    def replies(self) -> list[Reply]:
        return self.messages("customer.replies")

    @property
    def last(self) -> str:
        return self.replies[-1].text()

    @property
    def expert_tasks(self) -> list[ExpertTask]:
        return self.messages("expert.tasks")

    @property
    def events(self) -> list[str]:
        found: list[TicketEvents] = self.messages("ticket.events")
        return [event.kind for message in found for event in message.events]

    @property
    def question(self) -> str:
        return self.t.questions[-1].id
