"""The ticket: one customer's matter, a frozen value with one writer.

A conversation has at most one open ticket. The ticket is small: evidence is kept by reference, history is in
`ticket.events`; values that later steps need are in it, capped.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

from pydantic import Field

from tandem.contracts.values import Json, Millis, Value

MAX_PLANS = 3
MAX_SEEN = 256
MAX_UNREAD = 20
MAX_RECENT = 16
MAX_RECENT_TEXT = 600
MAX_FACT_BYTES = 4_000


class Status(StrEnum):
    OPEN = "open"  # accepted; nothing is under way yet
    WORKING = "working"  # the platform is at work
    AWAITING_CUSTOMER = "awaiting_customer"
    AWAITING_EXPERT = "awaiting_expert"
    RESOLVED = "resolved"  # answered; a new message within the reopen window reopens it
    HANDED_OVER = "handed_over"  # a person owns it
    CLOSED = "closed"  # the only terminal status


Origin: TypeAlias = Literal["customer", "knowledge", "tool", "expert", "system"]


class Fact(Value):
    """A typed value the ticket knows, and where it came from."""

    value: Json
    origin: Origin
    ref: str  # the message, step, passage or expert it came from
    at: Millis
    sensitive: bool = False  # masked wherever it is shown or logged


class Candidate(Value):
    intent: str
    confidence: float  # calibrated: of messages scored 0.9, nine in ten are right


class Route(Value):
    """What the router makes of a message."""

    intent: str | None = None  # None: out of scope, or too vague to say
    confidence: float = 0.0
    candidates: tuple[Candidate, ...] = ()  # best first, at most five
    scenario: Literal["consult", "diagnose", "operate"] = "consult"
    out_of_scope: float = 0.0  # calibrated probability
    wants_human: float = 0.0  # calibrated probability
    complexity: Literal["simple", "complex"] = "simple"
    frequency: Literal["head", "tail"] = "head"
    urgency: Literal["low", "normal", "high"] = "normal"
    sentiment: Literal["negative", "neutral", "positive"] = "neutral"
    language: str = "en"
    rung: str = "rule"  # which rung of the ladder decided: rule, small, large
    prompt: str = ""  # name, version and hash of the prompt that a model answered, be the answer used or not


class TypedValue(Value):
    """A value found in a message, by the pack's slot or a general recogniser (`email`, `date`, `yes_no`, …)."""

    slot: str
    value: Json
    text: str  # as written; masked if sensitive
    sensitive: bool = False
    confidence: float = 1.0


class Cost(Value):
    """What work costs. `micros` is money in millionths of the pack's currency."""

    calls: int = 0
    tokens: int = 0
    micros: int = 0

    def __add__(self, other: Cost) -> Cost:
        return self.changed(
            calls=self.calls + other.calls, tokens=self.tokens + other.tokens, micros=self.micros + other.micros
        )

    def __sub__(self, other: Cost) -> Cost:
        return self.changed(
            calls=self.calls - other.calls, tokens=self.tokens - other.tokens, micros=self.micros - other.micros
        )

    def within(self, limit: Cost) -> bool:
        """True if no component exceeds the limit's."""
        return self.calls <= limit.calls and self.tokens <= limit.tokens and self.micros <= limit.micros


FREE = Cost()


class Budget(Value):
    """Reserved at dispatch, settled on the result; an unknown result counts as spent. Spent + reserved ≤ limit."""

    limit: Cost
    spent: Cost = FREE
    reserved: Cost = FREE


class SetAside(Value):
    """What memory may spend on notes of a ticket that came to an end. It is reserved until they come, or `until`."""

    id: str  # of the notes
    cost: Cost
    until: Millis


StepKind: TypeAlias = Literal["agent", "tool", "program", "ask", "approve", "reply", "handover"]


class StepStatus(StrEnum):
    WAITING = "waiting"  # for its needs
    ASSEMBLING = "assembling"  # function_agent is filling in the arguments
    RUNNING = "running"  # dispatched
    ASKING = "asking"  # waits for the customer
    APPROVING = "approving"  # waits for an expert
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"  # an effect whose outcome nobody knows: it cannot be dropped, a person decides


class Called(Value):
    """A call that a program made and what came of it. Run again from its beginning, the program is told the same."""

    tool: str
    arguments: dict[str, Json]
    output: dict[str, Json] = Field(default_factory=dict)
    error: str = ""  # not empty: the call failed, and the program is told so


class Script(Value):
    """A program that a model writes for one step, or a tool that is chosen for it; what it is to do is the step's text."""

    tools: tuple[str, ...]  # what it may call; of a tool's step: one of them
    code: str = ""  # empty: not written yet


class Step(Value):
    """One step of a plan. Ids are never reused inside a ticket."""

    id: str  # "s1", "s2", …
    kind: StepKind
    name: str  # the agent's, tool's or program's name, or the flow's node
    node: str | None = None  # the flow's node it comes from
    sentence: int | None = None  # the procedure's sentence it comes from
    status: StepStatus = StepStatus.WAITING
    needs: tuple[str, ...] = ()  # ids of steps
    attempt: int = 0
    deadline: Millis | None = None
    arguments: dict[str, Json] | None = None
    effect: str | None = None  # effect id, once the arguments are known
    reserved: Cost = FREE
    task: str | None = None  # id of the task in flight
    text: str = ""  # of a model's ask or reply, or of a suggestion that waits for an expert
    calls: tuple[Called, ...] = ()  # program: what it has called so far; dropped when it is done
    caller: str | None = None  # tool: the program step whose call this is
    script: Script | None = None  # program: a model's own; None: one of the pack. tool: until one is chosen


class Plan(Value):
    """A growing graph of steps. Where it came from is `origin`: procedure, shortcut, model or person."""

    id: str
    origin: Literal["procedure", "shortcut", "model", "person"]
    intent: str | None = None
    procedure: str | None = None
    version: int = 1
    goal: str = ""  # the customer's words, capped
    steps: tuple[Step, ...] = ()
    visits: dict[str, int] = Field(default_factory=dict)  # node → times entered
    started_at: Millis = 0


class Choice(Value):
    id: str
    label: str
    value: Json


class Question(Value):
    """A question the customer has been asked and has not answered. Consent counts only for its own question."""

    id: str
    step: str | None
    plan: str | None
    kind: Literal["slots", "consent", "choice", "clarify", "follow_up"]
    slots: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    subject: str | None = None  # consent: the hash of what is consented to
    text: str
    asked_at: Millis
    turn: int
    tries: int = 1


class Timer(Value):
    """An armed timer. Its id on the bus is (ticket, name, due)."""

    name: str  # "burst", "step:s3", "question", "expert", "follow_up", "close"
    due: Millis


class Unread(Value):
    """A message accepted and not yet acted on."""

    id: str
    text: str
    route: Route
    values: tuple[TypedValue, ...] = ()
    sent_at: Millis
    received_at: Millis
    question: str | None = None  # the card's question, if a card was pressed
    action: str | None = None


class Line(Value):
    """One of the last lines of the conversation, capped; the whole of it is in `ticket.events`."""

    who: str  # "customer", "bot" or "expert:<id>"
    text: str
    at: Millis
    step: str = ""  # node of the procedure by which the bot said it


class Approval(Value):
    """A decision an expert has been asked for. Effect id and hash must match, and it expires."""

    id: str
    step: str
    plan: str
    effect: str
    arguments_hash: str
    expires: Millis
    kind: Literal["approve", "unknown_outcome", "suggestion"] = "approve"


class Effect(Value):
    """What the ticket knows of an effect it asked for."""

    id: str
    tool: str
    step: str
    n: int
    status: Literal["pending", "done", "failed", "refused", "unknown"]
    arguments_hash: str


class Ticket(Value):
    """A customer's matter. Written by the owner of its shard alone."""

    id: str
    conversation: str
    tenant: str
    channel: str
    thread: str
    pack: str
    pack_hash: str
    created_at: Millis
    now: Millis  # the latest append time decided at; never goes back
    owner: str = "bot"  # or "expert:<id>"
    turn: int = 1
    seq: int = 0  # replies sent in this turn
    version: int = 0
    status: Status = Status.OPEN
    language: str = "en"
    route: Route | None = None
    plans: tuple[Plan, ...] = ()  # the last one is active; at most MAX_PLANS
    facts: dict[str, Fact] = Field(default_factory=dict)
    budget: Budget
    notes: SetAside | None = None  # of what is reserved, memory's part
    timers: tuple[Timer, ...] = ()
    questions: tuple[Question, ...] = ()
    approvals: tuple[Approval, ...] = ()
    effects: dict[str, Effect] = Field(default_factory=dict)
    unread: tuple[Unread, ...] = ()
    answering: tuple[str, ...] = ()  # ids of the customer's messages that this turn answers
    recent: tuple[Line, ...] = ()
    inbox_offset: int = -1  # of the last message applied
    seen: tuple[str, ...] = ()  # the last MAX_SEEN message ids, as short digests
    steps_made: int = 0  # step ids are never reused
    outcome: str | None = None  # why it is resolved, handed over or closed
    quarantined: str | None = None  # the error, if `decide` failed on this ticket
    experts_note: str | None = None
    reopened: int = 0
    helped: int = 0  # how often a person had to step in
    traceparent: str | None = None  # of the segment's last span
