"""The topic registry: every topic, once.

Names are logical; the bus puts the deployment's prefix before them. Topics, compose entries and Kubernetes manifests are
derived from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 24 * 3600 * 1000

AGENTS = ("planner", "rag_agent", "function_agent", "executor")
"""Services that take tasks. A new agent is one more name here."""

SERVICES = ("router", *AGENTS, "memory", "llm_gateway")
"""Every deployable of `services/`."""


class Spread(StrEnum):
    """How many partitions a topic has; the numbers are settings of the deployment."""

    SHARD = "shard"  # the same fixed count for all: 64; embedded 8
    WORK = "work"  # as many as workers may run: 32; embedded 4
    ONE = "one"


class Key(StrEnum):
    CONVERSATION = "conversation"
    RECORD = "record"  # unique per record: compaction keeps what no tombstone names
    EFFECT = "effect"
    TASK = "task"  # no order
    ORIGINAL = "original"  # as the record it copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic. `retention_ms` None: compacted, kept until tombstoned."""

    name: str
    title: str
    key: Key
    spread: Spread
    retention_ms: int | None
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    retries: int = 0  # times through `<name>.retry`; 0: no retry topic
    dead_letters: bool = True

    @property
    def retry(self) -> str:
        return f"{self.name}.retry"


CUSTOMER_MESSAGES = Topic(
    name="customer.messages",
    title="What customers write, signed by the adapter",
    key=Key.CONVERSATION,
    spread=Spread.WORK,
    retention_ms=7 * DAY_MS,
    producers=("adapter",),
    consumers=("router",),
    retries=5,
)
TICKET_INBOX = Topic(
    name="ticket.inbox",
    title="A ticket's mailbox: everything that may change it",
    key=Key.CONVERSATION,
    spread=Spread.SHARD,
    retention_ms=7 * DAY_MS,
    producers=("router", *AGENTS, "memory", "console"),  # memory: word of a dead letter
    consumers=("planner",),
)
TICKET_STATE = Topic(
    name="ticket.state",
    title="The truth: claims and committed transitions",
    key=Key.RECORD,
    spread=Spread.SHARD,
    retention_ms=None,
    producers=("planner",),
    consumers=("planner",),
    dead_letters=False,
)
EFFECTS = Topic(
    name="effects",
    title="Intents and results of effects",
    key=Key.RECORD,
    spread=Spread.SHARD,
    retention_ms=None,
    producers=("executor",),
    consumers=("executor",),
    dead_letters=False,
)
CUSTOMER_REPLIES = Topic(
    name="customer.replies",
    title="What customers are shown",
    key=Key.CONVERSATION,
    spread=Spread.WORK,
    retention_ms=7 * DAY_MS,
    producers=("planner", "rag_agent", "executor"),
    consumers=("adapter",),
)
EXPERT_TASKS = Topic(
    name="expert.tasks",
    title="Work for people",
    key=Key.CONVERSATION,
    spread=Spread.WORK,
    retention_ms=90 * DAY_MS,
    producers=("planner",),
    consumers=("console",),
)
TICKET_EVENTS = Topic(
    name="ticket.events",
    title="What happened to each ticket",
    key=Key.CONVERSATION,
    spread=Spread.WORK,
    retention_ms=90 * DAY_MS,
    producers=("planner",),
    consumers=("memory", "console"),
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    title="What could not be handled, with its original bytes and the reason",
    key=Key.ORIGINAL,
    spread=Spread.ONE,
    retention_ms=90 * DAY_MS,
    producers=SERVICES,
    consumers=("console",),
    dead_letters=False,
)


def tasks_of(service: str) -> str:
    """The name of a service's topic of tasks."""
    return f"tasks.{service}"


def task_topic(service: str) -> Topic:
    """The topic of tasks for one service."""
    executor = service == "executor"
    return Topic(
        name=tasks_of(service),
        title=f"Tasks for {service}",
        key=Key.EFFECT if executor else Key.TASK,
        spread=Spread.SHARD if executor else Spread.WORK,
        retention_ms=7 * DAY_MS,
        producers=("planner",),
        consumers=(service,),
        retries=5,
    )


def _with_retries(topics: tuple[Topic, ...]) -> tuple[Topic, ...]:
    retries = tuple(
        Topic(
            name=topic.retry,
            title=f"{topic.title}: waiting to be tried again",
            key=Key.ORIGINAL,
            spread=topic.spread,
            retention_ms=topic.retention_ms,
            producers=topic.consumers,
            consumers=topic.consumers,
        )
        for topic in topics
        if topic.retries
    )
    return topics + retries


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in _with_retries(
        (
            CUSTOMER_MESSAGES,
            TICKET_INBOX,
            TICKET_STATE,
            *(task_topic(agent) for agent in AGENTS),
            EFFECTS,
            CUSTOMER_REPLIES,
            EXPERT_TASKS,
            TICKET_EVENTS,
            DEAD_LETTERS,
        )
    )
}
"""Every topic by its logical name, retry topics included."""
