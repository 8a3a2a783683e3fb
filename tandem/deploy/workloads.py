"""The workloads: what cannot be asked of the services. Sizes and times are measured; docs/deploy.md has the figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tandem.contracts.topics import TICKET_INBOX, TOPICS, Topic, tasks_of
from tandem.deploy.facts import Facts, facts

WAIT_S = 2.0
"""How long a message may wait before a replica more is wanted."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked for, in millicores and MiB. The CPU's limit is 2 for all: above what one event loop can take."""

    cpu: int
    memory: int
    memory_limit: int


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One deployable in one role."""

    service: str
    role: str | None = None
    stateful: bool = False  # keeps its name over restarts, and with it its partitions
    replicas: int
    size: Size
    message_ms: float | None = None  # CPU time of one message; None: not scaled by lag

    @property
    def name(self) -> str:
        """As Kubernetes takes it."""
        return "-".join(filter(None, (self.service, self.role))).replace("_", "-")

    @property
    def kind(self) -> str:
        return "StatefulSet" if self.stateful else "Deployment"

    @cached_property
    def facts(self) -> Facts:
        return facts(self.service, self.role)

    @property
    def user(self) -> str:
        """On Kafka and Redis."""
        return f"tandem-{self.service}".replace("_", "-")

    @property
    def group(self) -> str:
        """Its consumer group, less the prefix."""
        return "planner.owner" if self.role == "owner" else self.service

    @property
    def topic(self) -> Topic:
        """The topic whose lag says that it cannot keep up."""
        if self.role == "owner":
            return TICKET_INBOX
        [topic] = [
            topic
            for topic in TOPICS.values()
            if self.service in topic.consumers
            and topic.name in (tasks_of(self.service), "customer.messages", "ticket.events")
        ]
        return topic

    @property
    def lag_threshold(self) -> int:
        """As many records as one replica works off in `WAIT_S`, rounded down to tens."""
        if self.message_ms is None:
            raise ValueError(f"{self.name} is not scaled by lag")
        return max(10, math.floor(WAIT_S * 1000 / self.message_ms / 10) * 10)


WORKLOADS: tuple[Workload, ...] = (
    Workload(service="router", replicas=2, size=Size(250, 192, 384), message_ms=1.23),
    Workload(service="planner", role="owner", stateful=True, replicas=3, size=Size(500, 256, 512)),
    Workload(service="planner", role="worker", replicas=2, size=Size(250, 192, 384), message_ms=4.7),
    Workload(service="rag_agent", replicas=2, size=Size(250, 192, 384), message_ms=4.7),
    Workload(service="function_agent", replicas=2, size=Size(250, 192, 384), message_ms=4.7),
    Workload(service="executor", stateful=True, replicas=2, size=Size(250, 192, 384), message_ms=1.72),
    Workload(service="memory", replicas=2, size=Size(100, 192, 384)),
    Workload(service="llm_gateway", replicas=2, size=Size(500, 320, 640)),
)
