"""Names of spans, attributes and metrics, each with its meaning. OpenTelemetry's messaging and GenAI conventions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class SpanName(StrEnum):
    """The operation; most are followed by what it is done to, e.g. `process ticket.inbox`."""

    SEND = "send"  # a message is published
    PROCESS = "process"  # a message is handled
    AGENT = "invoke_agent"  # an agent works on a task
    PLAN = "plan"  # a plan is made
    TOOL = "execute_tool"  # a tool is called
    RETRIEVAL = "retrieval"  # the vector store is searched
    ASK = "ask"  # a prompt is put to a model, and its answer checked
    CHAT = "chat"  # a model is asked
    EMBEDDINGS = "embeddings"  # texts are embedded
    WORKFLOW = "invoke_workflow"  # the owner decides about a ticket


class Attribute:
    """Names of attributes."""

    MESSAGING_SYSTEM: Final = "messaging.system"
    OPERATION_NAME: Final = "messaging.operation.name"
    OPERATION_TYPE: Final = "messaging.operation.type"
    DESTINATION: Final = "messaging.destination.name"
    PARTITION: Final = "messaging.destination.partition.id"
    OFFSET: Final = "messaging.kafka.offset"
    GROUP: Final = "messaging.consumer.group.name"
    MESSAGE_ID: Final = "messaging.message.id"
    GEN_AI_OPERATION: Final = "gen_ai.operation.name"
    CONVERSATION: Final = "gen_ai.conversation.id"
    AGENT_NAME: Final = "gen_ai.agent.name"
    TOOL_NAME: Final = "gen_ai.tool.name"
    MODEL: Final = "gen_ai.request.model"
    INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
    OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
    ERROR_TYPE: Final = "error.type"
    TICKET: Final = "ticket.id"
    PLAN_VERSION: Final = "plan.version"
    SEGMENT: Final = "segment"  # the ticket's turn
    PROMPT: Final = "tandem.prompt"  # a prompt's name
    PROMPT_HASH: Final = "tandem.prompt.hash"  # of exactly this text of it
    RUNG: Final = "tandem.rung"  # which rung of the ladder did the work
    STEP: Final = "tandem.step"
    EFFECT: Final = "tandem.effect"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Counters end in `_total`, durations are in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # of a histogram, in seconds; empty: Prometheus's own, up to 10


MESSAGES: Final = Metric(
    "tandem_messages_total", "counter", "Messages handled, by what became of them", ("service", "topic", "outcome")
)
HANDLER_SECONDS: Final = Metric(
    "tandem_handler_seconds", "histogram", "Seconds a handler took for one message", ("service", "topic")
)
LAG: Final = Metric("tandem_lag_records", "gauge", "Records this process has still to handle", ("service", "topic"))
RETRIES: Final = Metric("tandem_retries_total", "counter", "Messages sent to a retry topic", ("service", "topic"))
DEAD_LETTERS: Final = Metric(
    "tandem_dead_letters_total", "counter", "Messages dead-lettered, by reason", ("service", "topic", "reason")
)
STEPS: Final = Metric(
    "tandem_steps_total", "counter", "Tasks an agent answered, by outcome and rung", ("service", "outcome", "rung")
)
DECISIONS: Final = Metric("tandem_decisions_total", "counter", "Transitions the owner committed", ("cause",))
SHARDS: Final = Metric("tandem_shards_owned", "gauge", "Shards this process owns", ())
REBUILDS: Final = Metric("tandem_rebuilds_total", "counter", "Replays of a shard's log, by cause", ("cause",))
FENCED: Final = Metric("tandem_fenced_total", "counter", "Times another claim stopped this process", ("service",))
TICKETS: Final = Metric(
    "tandem_tickets_total",
    "counter",
    "Tickets that reached an outcome, e.g. resolved, handed_over",
    ("pack", "outcome"),
)
TICKET_SECONDS: Final = Metric(
    "tandem_ticket_seconds",
    "histogram",
    "Seconds from a ticket's opening to its outcome",
    ("pack", "outcome"),
    (1, 3, 10, 30, 60, 180, 600, 1_800, 3_600, 14_400, 86_400, 259_200),
)
TICKET_COST: Final = Metric(
    "tandem_ticket_cost_micros_total",
    "counter",
    "What tickets had cost at their outcome (noted: memory's notes of them), in millionths of the currency",
    ("pack", "outcome"),
)
TICKET_TOKENS: Final = Metric(
    "tandem_ticket_tokens_total",
    "counter",
    "Tokens of tickets at their outcome (noted: memory's notes of them)",
    ("pack", "outcome"),
)
CLOSED: Final = Metric(
    "tandem_closed_total",
    "counter",
    "Tickets closed; independent: answered or confirmed, never reopened, and no person stepped in",
    ("pack", "outcome", "independent"),
)
SUGGESTIONS: Final = Metric(
    "tandem_suggestions_total", "counter", "Suggested replies that an expert sent or turned down", ("pack", "adopted")
)
EXPERT_ACTIONS: Final = Metric("tandem_expert_actions_total", "counter", "What experts did", ("expert", "action"))
HANDOVERS: Final = Metric("tandem_handovers_total", "counter", "Tickets handed to a person, by reason", ("reason",))
REOPENED: Final = Metric("tandem_reopened_total", "counter", "Tickets reopened after they were resolved", ("pack",))
TOOL_CALLS: Final = Metric("tandem_tool_calls_total", "counter", "Tool calls, by status", ("tool", "status"))
TOOL_SECONDS: Final = Metric("tandem_tool_seconds", "histogram", "Seconds a tool call took", ("tool",))
MODEL_CALLS: Final = Metric("tandem_model_calls_total", "counter", "Model calls, by outcome", ("model", "outcome"))
MODEL_TOKENS: Final = Metric(
    "tandem_model_tokens_total",
    "counter",
    "Tokens in, out, and of those in found in a prefix cache",
    ("model", "direction"),
)
MODEL_SECONDS: Final = Metric("tandem_model_seconds", "histogram", "Seconds of one model call", ("model",))
MODEL_FIRST_TOKEN: Final = Metric(
    "tandem_model_first_token_seconds",
    "histogram",
    "Seconds from a streamed call's arrival to its first token, queue included",
    ("model",),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
MODEL_COST: Final = Metric(
    "tandem_model_cost_micros_total", "counter", "Cost of model calls, in millionths of the currency unit", ("model",)
)
MODEL_WAITING: Final = Metric(
    "tandem_model_waiting", "gauge", "Calls that wait for a slot of a pool, by class", ("model", "class")
)
MODEL_IN_FLIGHT: Final = Metric("tandem_model_in_flight", "gauge", "Calls in flight at a replica", ("model", "replica"))
MODEL_BREAKER: Final = Metric(
    "tandem_model_breaker", "gauge", "A replica's circuit breaker: 0 closed, 1 half-open, 2 open", ("model", "replica")
)
MODEL_FAILURES: Final = Metric(
    "tandem_model_failures_total", "counter", "Attempts at a replica that failed, by how", ("model", "outcome")
)
MODEL_REFUSED: Final = Metric(
    "tandem_model_refused_total", "counter", "Calls refused for a full queue, a quota or a spent grant", ("reason",)
)
MODEL_REPEATED: Final = Metric(
    "tandem_model_repeated_total", "counter", "Calls answered without a model: by grant, cache or record", ("by",)
)
MODEL_HEDGES: Final = Metric(
    "tandem_model_hedges_total",
    "counter",
    "Second replicas asked for a first token, and whether they were first",
    ("won",),
)
PROMPTS: Final = Metric(
    "tandem_prompts_total",
    "counter",
    "Prompts put to a model, by what came of it: answered, repaired, unfit, unavailable",
    ("prompt", "outcome"),
)
EMBEDDED: Final = Metric(
    "tandem_embedded_texts_total", "counter", "Texts embedded, and those found in the cache", ("cache",)
)

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric."""
