"""Typed tasks for the agents, and what they answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tandem.contracts.customer import CitationPart
from tandem.contracts.message import Message
from tandem.contracts.ticket import FREE, Called, Cost, Fact, Line, Question, Route, Script, TypedValue
from tandem.contracts.values import Json, Millis, Value


class Task(Message):
    """What every task carries. The answer goes to the ticket's mailbox with `task`, `step` and `attempt`."""

    id: str
    tenant: str
    conversation: str
    channel: str = ""  # where drafts (a running tool's card, streamed text) are shown; empty: nowhere
    thread: str = ""
    ticket: str
    pack: str
    pack_hash: str | None = None  # the version the ticket works by
    step: str
    attempt: int
    turn: int
    plan_version: int = 0
    language: str = "en"
    deadline: Millis  # past it nobody waits for the answer
    reserved: Cost = FREE


class MakePlan(Task, name="make-plan"):
    """planner: what should be done about this message? → PlanProposal"""

    goal: str
    route: Route
    facts: dict[str, Fact] = Field(default_factory=dict)
    recent: tuple[Line, ...] = ()


class Observation(Value):
    """What a step of the plan brought."""

    step: str
    name: str
    status: str
    output: dict[str, Json] = Field(default_factory=dict)


class Reason(Task, name="reason"):
    """planner: given what the steps brought, what next? → PlanProposal"""

    goal: str
    facts: dict[str, Fact] = Field(default_factory=dict)
    recent: tuple[Line, ...] = ()
    observations: tuple[Observation, ...] = ()


class Interpret(Task, name="interpret"):
    """planner: which open question does this message answer, if any? → Interpretation"""

    text: str
    values: tuple[TypedValue, ...] = ()
    route: Route
    questions: tuple[Question, ...]
    recent: tuple[Line, ...] = ()


class AnswerQuestion(Task, name="answer-question"):
    """rag_agent: answer from the pack's knowledge, with citations. → Answer"""

    question: str
    recent: tuple[Line, ...] = ()
    drafts_after: int | None = None  # the answer may be shown while it is written, as drafts after this seq; None: not


class MadeCall(Value):
    """A call made for this ticket before, without sensitive arguments, and what it brought."""

    tool: str
    arguments: dict[str, Json] = Field(default_factory=dict)
    output: dict[str, Json] = Field(default_factory=dict)
    at: Millis


class AssembleCall(Task, name="assemble-call"):
    """function_agent: choose among `tools` (one: given) and assemble the parameters. → CallProposal"""

    tools: tuple[str, ...]
    goal: str
    bound: dict[str, Json] = Field(default_factory=dict)  # arguments that the flow already fixes
    facts: dict[str, Fact] = Field(default_factory=dict)
    recent: tuple[Line, ...] = ()
    calls: tuple[MadeCall, ...] = ()
    sent_at: Millis | None = None  # when the customer last wrote, by the channel's clock
    judge: bool = False  # what is known already is read again too: what was said since may have changed it
    sure: float | None = None  # confidence from which a value that is read counts; None: the pack's


class WriteProgram(Task, name="write-program"):
    """function_agent: write a small program that does this with these tools. → ProgramWritten"""

    tools: tuple[str, ...]
    goal: str
    inputs: dict[str, Json] = Field(default_factory=dict)  # what it will be run with
    recent: tuple[Line, ...] = ()
    at: Millis  # the only time the program sees


class RunProgram(Task, name="run-program"):
    """function_agent: run a program of the pack, or one that was written, up to its next call. → ProgramCall or ProgramOutput"""

    program: str
    inputs: dict[str, Json] = Field(default_factory=dict)
    calls: tuple[Called, ...] = ()  # what it has called already
    at: Millis  # the only time the program sees
    script: Script | None = None  # a model's own; None: the pack's program of this name


class Authority(Value):
    """What permits a call: evidence the executor checks against policies.yaml, never the agent's word."""

    identity: str | None = None  # step that verified the customer
    authorisation: str | None = None  # step that checked they may do this
    consent: str | None = None  # id of the question the customer said yes to
    consent_subject: str | None = None  # hash of what was consented to
    approval: str | None = None  # id of the approval
    approved_by: str | None = None  # expert
    approval_hash: str | None = None  # arguments hash that was approved
    sentence: int | None = None
    procedure: str | None = None


class ExecuteTool(Task, name="execute-tool"):
    """executor: run a tool by the effect protocol. → ToolResult"""

    tool: str
    effect: str  # call_identity(ticket, tool, arguments, n), the first
    n: int = 0
    arguments: dict[str, Json]
    arguments_hash: str
    expires: Millis  # past it: answer `expired`, never call
    authority: Authority = Authority()
    origins: dict[str, str] = Field(default_factory=dict)  # argument → origin of its value


class SettleEffect(Task, name="settle-effect"):
    """executor: a person has found out whether a call of unknown outcome took effect. The effect log keeps it; nothing is
    called, and nothing answered."""

    call: ExecuteTool
    happened: bool
    output: dict[str, Json] = Field(default_factory=dict)
    expert: str


# What the agents answer ------------------------------------------------------------------------------------------


class ProposedStep(Value):
    kind: Literal["agent", "tool", "program", "ask", "reply", "handover"]
    name: str = ""  # agent or tool
    arguments: dict[str, Json] = Field(default_factory=dict)
    needs: tuple[int, ...] = ()  # positions in the proposal
    text: str = ""  # of an ask or reply; what a program, or one of several tools, is to do
    tools: tuple[str, ...] = ()  # of a program: what it may call; of a tool without a name: one of them
    slots: tuple[str, ...] = ()


class PlanProposal(Value):
    """A plan, or what comes next in one. Checked against the catalogue by the owner before anything runs."""

    steps: tuple[ProposedStep, ...] = ()
    done: bool = False
    reason: str = ""
    confidence: float = 0.0


class Interpretation(Value):
    """Which question a message answers. `kind` = "other" if none: then it is a matter of its own."""

    kind: Literal["answer", "other", "unsure"]
    question: str | None = None
    values: dict[str, Json] = Field(default_factory=dict)  # slot → value
    yes: bool | None = None
    choice: str | None = None
    confidence: float = 0.0


class Answer(Value):
    """A grounded answer. `supported` is False when the knowledge does not answer: then there is no text."""

    text: str = ""
    citations: tuple[CitationPart, ...] = ()
    supported: bool = False
    confidence: float = 0.0


class CallProposal(Value):
    """A call ready to run, or what is missing for it. Each of `missing` groups lists alternatives, any one is enough."""

    tool: str | None = None
    arguments: dict[str, Json] = Field(default_factory=dict)
    missing: tuple[tuple[str, ...], ...] = ()
    origins: dict[str, str] = Field(default_factory=dict)
    confidence: float = 0.0
    reason: str = ""


class ProgramWritten(Value):
    """A program that a model has written, checked before anything of it runs. Without code, why there is none."""

    code: str = ""
    reason: str = ""


class ProgramCall(Value):
    """A program stands at a call: the `ordinal`th of its run, from 0."""

    ordinal: int
    tool: str
    arguments: dict[str, Json] = Field(default_factory=dict)


class ProgramOutput(Value):
    """A program has ended."""

    output: dict[str, Json] = Field(default_factory=dict)


class ToolResult(Value):
    """What came of an effect. `unknown`: nobody knows whether it happened."""

    effect: str
    status: Literal["done", "failed", "refused", "expired", "unknown"]
    output: dict[str, Json] = Field(default_factory=dict)
    error: str = ""
    reason: str = ""  # refused: the policy's code
    evidence: str | None = None  # reference: request id at the other side
    repeated: bool = False  # answered from the log, not by a second call


OUTPUTS: dict[str, type[Value]] = {
    model.__name__: model
    for model in (
        PlanProposal,
        Interpretation,
        Answer,
        CallProposal,
        ProgramWritten,
        ProgramCall,
        ProgramOutput,
        ToolResult,
    )
}
"""Agents' answers by name, as `StepCompleted.output_type` says it. An agent of a pack's own may answer any object."""

TASK_TOPIC: dict[str, str] = {
    MakePlan.TYPE: "tasks.planner",
    Reason.TYPE: "tasks.planner",
    Interpret.TYPE: "tasks.planner",
    AnswerQuestion.TYPE: "tasks.rag_agent",
    AssembleCall.TYPE: "tasks.function_agent",
    WriteProgram.TYPE: "tasks.function_agent",
    RunProgram.TYPE: "tasks.function_agent",
    ExecuteTool.TYPE: "tasks.executor",
    SettleEffect.TYPE: "tasks.executor",
}


def output_of(kind: str, body: dict[str, Any]) -> Value:
    """The agent's answer as its type; a plain Value for a type of the pack's own."""
    return OUTPUTS.get(kind, Value).model_validate(body)
