"""A pack as the services see it: loaded, checked and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field

from tandem.contracts.ticket import Cost, StepKind
from tandem.contracts.values import Json, Value

Texts: TypeAlias = dict[str, str]
"""Language → template. `{fact}` and `{fact.field}` are filled from the ticket's facts."""

HOUR_MS = 3_600_000
END = "end"


class PackValue(Value):
    """Packs are written by people: an unknown field is a spelling mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Share = Annotated[float, Field(ge=0, le=1)]
Span = Annotated[int, Field(ge=0)]

SENTENCES = frozenset(
    {
        "approval_rejected",
        "approval_wait",
        "budget",
        "busy",
        "clarify",
        "clarify_open",
        "confirm_call",
        "confirmed",
        "consent_again",
        "declined",
        "follow_up",
        "given_back",
        "handover",
        "handover_failed",
        "no_answer",
        "reask",
        "reject",
        "reminder",
        "resume",
        "taken_over",
        "unanswered",
        "unsuccessful",
        "welcome",
    }
)
"""Names of the platform's own sentences, which a pack's `texts` may say in the business's words."""

PROGRESS = "progress."
"""Before a tool's name in `texts`: the title of its progress card."""


class Thresholds(PackValue):
    """Calibrated confidences from which the platform acts by itself."""

    intent: Share = 0.55  # route to the intent
    margin: Share = 0.08  # over the runner-up; below it, ask which is meant
    out_of_scope: Annotated[float, Field(ge=0)] = 0.75  # above 1: nothing is
    human: Share = 0.7
    answer: Share = 0.35  # support of a grounded answer; below it, abstain
    interpret: Share = 0.6  # a message answers an open question
    switch: Share = 0.7  # a message in mid-plan is a new topic


class Timers(PackValue):
    """Milliseconds."""

    burst: Span = 0  # how long to wait for the rest of what the customer is writing
    step: Span = 60_000  # an agent's answer
    question: Span = 24 * HOUR_MS  # a reminder; as long again, and the ticket is resolved as unanswered
    expert: Span = 8 * HOUR_MS  # a person's decision; then it is raised again with high urgency
    approval: Span = 24 * HOUR_MS  # an approval expires
    follow_up: Span = 0  # after resolving, ask whether it worked; 0: do not ask
    reopen: Span = 72 * HOUR_MS


class Slot(PackValue):
    """A typed value that customers give."""

    name: str
    type: Literal["string", "integer", "number", "boolean", "date", "email", "ip", "phone", "url", "choice"] = "string"
    pattern: str | None = None  # of the value inside a message; a regular expression
    choices: dict[str, list[str]] = Field(default_factory=dict)  # value → words customers use
    ask: Texts = Field(default_factory=dict)  # the question that asks for it
    label: Texts = Field(default_factory=dict)  # what it is called
    sensitive: bool = False
    free_text: bool = False  # the whole message is the value, if nothing better is found
    words: int | None = None  # of a free text: the value is the first clause of at most so many words
    within: str | None = (
        None  # of the value inside a free text; a regular expression, used only on an answer to the question
    )
    cues: list[str] = Field(
        default_factory=list
    )  # words beside a value that say it is this slot's: "from …", "… people"
    only_cued: bool = (
        False  # not asked for, a mention counts only beside a cue: other slots have values of the same form
    )


class Intent(PackValue):
    name: str
    description: str
    examples: dict[str, list[str]]  # language → messages
    scenario: Literal["consult", "diagnose", "operate"] = "consult"
    autonomy: Literal["suggest", "confirm", "act"] = "act"
    procedure: str | None = None  # None: a consult question, answered from the knowledge
    skill_group: str = "general"
    patterns: list[str] = Field(default_factory=list)  # rules: regular expressions that decide by themselves
    label: Texts = Field(default_factory=dict)  # what customers are asked: "Do you mean …?"


class Edge(PackValue):
    to: str  # a node, or `end`
    when: str | None = None  # an expression over facts; the first edge that holds is taken


class Choices(PackValue):
    """Options of a question, made from a list fact."""

    items: str  # expression that gives a list
    id: str  # expression over `item`
    label: Texts  # template over `item`
    save: str  # the fact the chosen item becomes


class Node(PackValue):
    """A node of a flow. Which fields matter follows from the kind."""

    id: str
    kind: StepKind
    sentence: int
    sentence_hash: str = ""
    next: tuple[Edge, ...] = ()
    all: bool = False  # take every edge that holds, not the first: the branches run in parallel
    needs: tuple[str, ...] = ()  # join: enter only when these nodes are done
    max_visits: int = 3
    forget: tuple[str, ...] = ()  # facts dropped on entering
    # ask
    slots: tuple[str, ...] = ()  # facts to ask for; those already known are not asked
    any_of: bool = False  # one of the slots is enough
    text: Texts = Field(default_factory=dict)  # ask, reply, handover
    consent: str | None = None  # the tool node whose call the customer must agree to
    confirm: str | None = None  # fact set to true or false by the customer's yes or no, without permitting a call
    choices: Choices | None = None
    # tool
    tool: str | None = None
    args: dict[str, Json] = Field(default_factory=dict)  # "$expression" or a literal; what is absent is assembled
    save: dict[str, str] = Field(default_factory=dict)  # fact → expression over `result`
    on_failure: tuple[Edge, ...] = ()  # the tool said no or failed; without it, a person
    repeat: bool = False  # another visit is another effect (n + 1)
    # program: `args` are its inputs
    program: str | None = None
    # agent
    agent: str | None = None
    # approve
    approve: str | None = None  # the tool node whose call an expert must approve
    # handover
    reason: str | None = None
    skill_group: str | None = None


class Flow(PackValue):
    """A procedure's checked graph."""

    procedure: str
    intent: str
    start: str
    nodes: dict[str, Node]
    sentences: dict[int, str] = Field(default_factory=dict)  # of the procedure, by number


ToolClass: TypeAlias = Literal["read", "idempotent", "lookup", "unsafe"]


class Progress(PackValue):
    """A long run: the call answers with a job, which is polled. Paths are dotted, from the answer's root."""

    poll: str  # tool name of the read that asks
    argument: str  # its parameter that takes the job's id
    job: str = "job_id"
    state: str = "state"  # "running", "done", "failed"
    percent: str = "percent"
    line: str = "line"
    output: str | None = None  # path of the result in the poll's answer; None: the answer itself
    every_ms: int = 300


class Lookup(PackValue):
    """How to ask whether an effect happened."""

    tool: str  # a read tool
    args: dict[str, Json]  # "$effect", "$args.<name>" or literals
    happened: str  # expression over `result`
    output: str | None = None  # expression over `result`: the effect's own output


class Tool(PackValue):
    """An operation of the outside world."""

    name: str
    description: str = ""
    tool_class: ToolClass
    transport: Literal["http", "mcp", "python"] = "http"
    method: str = "GET"
    path: str = ""  # "/orders/{order_id}"
    server: str = ""  # base URL, or the name of a setting that holds it: "${CLOUD_API_URL}"
    parameters: dict[str, Json] = Field(default_factory=dict)  # JSON Schema of the arguments object
    places: dict[str, Literal["path", "query", "header", "body"]] = Field(default_factory=dict)
    output: dict[str, Json] = Field(default_factory=dict)  # JSON Schema of the answer
    alternatives: tuple[tuple[str, ...], ...] = ()  # groups: one of each is enough, e.g. instance_id or ip
    slots: dict[str, str] = Field(default_factory=dict)  # parameter → the slot customers give it by
    recorded_as: str | None = None  # what the models call it, if not by its name
    scopes: tuple[str, ...] = ()
    timeout_ms: int = 10_000
    key_ttl_ms: int = 24 * HOUR_MS  # how long the other side remembers our key
    once_per: tuple[str, ...] = ()
    once_per_ms: int = 90 * 24 * HOUR_MS  # how long that holds
    lookup: Lookup | None = None
    progress: Progress | None = None
    evidence: str | None = None  # path of the reference in the answer
    secret: str | None = None  # name of the environment variable that holds the bearer token
    price_micros: int = 0
    pinned: str | None = None  # imported: the hash of its description as a person approved it
    examples: tuple[dict[str, Json], ...] = ()  # answers, for rehearsals; the first is the usual one

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Parameters that must be given whatever the alternatives."""
        return _required(self.parameters)

    @property
    def writes(self) -> bool:
        return self.tool_class != "read"

    @cached_property
    def properties(self) -> Mapping[str, dict[str, Json]]:
        """Parameter → its JSON Schema."""
        raw = self.parameters.get("properties", {})
        return {k: v for k, v in raw.items() if isinstance(v, dict)} if isinstance(raw, dict) else {}


class Program(PackValue):
    """A small Python program for several calls that belong together. It runs in a sandbox and changes nothing itself: each
    call of a tool is a step of the plan, with the consent and the checks of any other."""

    name: str
    description: str = ""
    tools: tuple[str, ...]  # what it may call
    inputs: dict[str, Json] = Field(default_factory=dict)  # JSON Schema of the arguments of `main`
    output: dict[str, Json] = Field(default_factory=dict)  # JSON Schema of what `main` returns
    max_calls: int = Field(20, ge=1, le=40)
    code: str = Field("", max_length=50_000)

    @property
    def parameters(self) -> Mapping[str, Json]:
        """Input → its JSON Schema."""
        raw = self.inputs.get("properties", {})
        return raw if isinstance(raw, dict) else {}

    @property
    def required(self) -> tuple[str, ...]:
        return _required(self.inputs)


def _required(schema: Mapping[str, Json]) -> tuple[str, ...]:
    raw = schema.get("required", [])
    return tuple(str(name) for name in raw) if isinstance(raw, list) else ()


class ApprovalRule(PackValue):
    """A call that needs an expert's approval."""

    tool: str
    when: str | None = None  # expression over `args`; None: always


class Limit(PackValue):
    """At most `max` effects of the tool per value of `per` ("tenant", "ticket", "conversation" or an argument)."""

    tool: str
    max: int
    per: str = "conversation"
    window_ms: int = 24 * HOUR_MS


class Policies(PackValue):
    """What this business permits. The executor checks it, whoever asks."""

    identity: Literal["required", "as_procedure", "none"] = "required"  # before writes
    identity_tools: tuple[str, ...] = ()  # whose success verifies the customer
    identity_when: str = "result.verified"  # expression over `result` that means success
    authorisation: Literal["required", "as_procedure", "none"] = "required"
    authorisation_tools: tuple[str, ...] = ()
    authorisation_when: str = "result.allowed"
    consent: Literal["customer_confirms", "none"] = "customer_confirms"  # before writes
    no_consent: tuple[str, ...] = ()  # writes that need none, e.g. notifications
    no_identity: tuple[str, ...] = ()  # writes that need none, e.g. filing a complaint
    approvals: tuple[ApprovalRule, ...] = ()
    limits: tuple[Limit, ...] = ()
    links: tuple[str, ...] = ()  # hosts that replies may link to


class Pack(PackValue):
    """What a business brings, compiled. `hash` names exactly this version."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    hash: str
    root: str  # folder it was loaded from
    description: str = ""
    languages: tuple[str, ...] = ("en",)
    thresholds: Thresholds = Thresholds()
    timers: Timers = Timers()
    budget: Cost = Cost(calls=80, tokens=50_000, micros=5_000_000)
    reserve: Cost = Cost(calls=1, tokens=0, micros=0)  # of one step with no model
    reserve_model: Cost = Cost(
        calls=4, tokens=16_000, micros=200_000
    )  # of one step that may ask a model, if there is room
    classifier: Literal["embedding", "rule"] = "embedding"  # rule: patterns and keywords alone
    reads: bool = False  # before a question or a call the models read the whole conversation for values
    reply_style: Texts = Field(default_factory=dict)
    texts: dict[str, Texts] = Field(default_factory=dict)  # the platform's own sentences, in the business's words
    office_hours: str | None = None
    skill_groups: tuple[str, ...] = ("general",)
    human_patterns: dict[str, list[str]] = Field(default_factory=dict)  # language → regular expressions
    slots: dict[str, Slot] = Field(default_factory=dict)
    intents: dict[str, Intent] = Field(default_factory=dict)
    flows: dict[str, Flow] = Field(default_factory=dict)  # by procedure
    tools: dict[str, Tool] = Field(default_factory=dict)
    programs: dict[str, Program] = Field(default_factory=dict)
    policies: Policies = Policies()

    def flow_of(self, intent: str | None) -> Flow | None:
        """The flow that covers an intent, if one does."""
        known = self.intents.get(intent or "")
        return self.flows.get(known.procedure) if known and known.procedure else None

    def say(self, texts: Texts, language: str) -> str:
        """The text in the language, else in the pack's first language, else in any."""
        return texts.get(language) or texts.get(self.languages[0]) or next(iter(texts.values()), "")
