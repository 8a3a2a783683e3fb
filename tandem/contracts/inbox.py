"""What may change a ticket: everything here goes through its mailbox, `ticket.inbox`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from tandem.contracts.customer import CustomerMessage
from tandem.contracts.message import Message
from tandem.contracts.ticket import FREE, Cost, Route, TypedValue
from tandem.contracts.values import Json, Millis, Value


class InboxMessage(Message):
    """What every message into a mailbox carries; the key is the conversation."""

    tenant: str
    conversation: str


class RoutedMessage(InboxMessage, name="routed-message"):
    """A customer's message, masked and classified. `id` is derived from the envelope's source and id."""

    id: str
    message: CustomerMessage  # text masked
    route: Route
    values: tuple[TypedValue, ...] = ()
    pack: str
    pack_hash: str
    cost: Cost = FREE  # of the model that was asked about it


class ReceiptForwarded(InboxMessage, name="receipt-forwarded"):
    """An adapter has shown a reply."""

    reply: str
    delivered_at: Millis


class StepMessage(InboxMessage):
    """What every word from an agent about a step carries."""

    ticket: str
    task: str
    step: str
    attempt: int
    service: str


class ModelUsage(Value):
    """What the model calls of a step took together. `cached`: of the tokens in, those found in a prefix cache."""

    models: tuple[str, ...] = ()
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    first_token_ms: float = 0.0  # of the slowest; without streaming, to the answer


class StepCompleted(StepMessage, name="step-completed"):
    output_type: str
    output: dict[str, Json] = Field(default_factory=dict)
    cost: Cost = FREE
    rung: str = "rule"  # which rung of the ladder did it
    prompt: str = ""  # name, version and hash of the prompt that a model answered, be the answer used or not
    usage: ModelUsage | None = None  # None: no model was asked
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class StepsCompleted:
    """Results for one ticket that lie one behind the other in its mailbox, decided on together. Each came as a message of its
    own; nothing of this type is ever sent."""

    results: tuple[StepCompleted, ...]

    TYPE: ClassVar[str] = StepCompleted.TYPE

    @property
    def conversation(self) -> str:
        return self.results[0].conversation

    @property
    def ticket(self) -> str:
        return self.results[0].ticket


class StepFailed(StepMessage, name="step-failed"):
    error: str  # for people
    reason: str  # a short stable code
    retryable: bool = False
    cost: Cost = FREE


class StepProgress(StepMessage, name="step-progress"):
    """A long run's progress; the executor also shows it to the customer as a card."""

    state: Literal["running", "done", "failed"] = "running"
    percent: int | None = None
    line: str = ""


class TimerFired(InboxMessage, name="timer-fired"):
    """A timer is due. `decide` ignores a disarmed one and re-arms an early one."""

    ticket: str
    name: str
    due: Millis


class ExpertAction(InboxMessage):
    """What every expert's action carries. `id` makes a repeated action one."""

    id: str
    ticket: str
    expert: str


class Approve(ExpertAction, name="approve"):
    """Permit exactly the call whose effect id and arguments hash are named."""

    approval: str
    effect: str
    arguments_hash: str
    note: str = ""


class Reject(ExpertAction, name="reject"):
    approval: str
    note: str = ""


class ResolveUnknown(ExpertAction, name="resolve-unknown"):
    """A person has found out whether an effect of unknown outcome happened."""

    approval: str
    effect: str
    happened: bool
    output: dict[str, Json] = Field(default_factory=dict)
    note: str = ""


class TakeOver(ExpertAction, name="take-over"):
    """Own the ticket. It is refused (`action_refused` in `ticket.events`) while another expert does."""

    reason: str = ""
    even_so: bool = False  # also from another expert, who may have gone home


class ExpertReply(ExpertAction, name="expert-reply"):
    text: str


class GiveBack(ExpertAction, name="give-back"):
    reason: str = ""
    resolved: bool = False  # the matter is settled; otherwise the plan goes on


class Noted(Value):
    """What a customer said of themselves that may be of use later: data with its source, never an instruction. Past `until` it
    is not told any more."""

    name: str = Field(max_length=40)
    value: str = Field(max_length=120)  # as it stands in the message
    ticket: str
    message: str
    at: Millis
    until: Millis


class TicketNoted(InboxMessage, name="ticket-noted"):
    """memory has had a model read a ticket that came to an end. Without a summary it is only word of what that cost."""

    id: str
    ticket: str
    summary: str = Field("", max_length=600)
    facts: tuple[Noted, ...] = Field((), max_length=8)
    cost: Cost = FREE
    prompt: str = ""
    usage: ModelUsage | None = None


class TaskDeadLettered(InboxMessage, name="task-dead-lettered"):
    """A message about this ticket could not be handled and lies in the dead-letter topic."""

    topic: str
    reason: str
    ticket: str | None = None
    task: str | None = None
    step: str | None = None
    attempt: int | None = None


AnyInboxMessage: TypeAlias = (
    RoutedMessage
    | ReceiptForwarded
    | StepCompleted
    | StepFailed
    | StepProgress
    | TimerFired
    | Approve
    | Reject
    | ResolveUnknown
    | TakeOver
    | ExpertReply
    | GiveBack
    | TicketNoted
    | TaskDeadLettered
)
