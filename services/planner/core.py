"""What an owner's shards share: their clients, limits, and the functional core they are given."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tandem.bus.base import Bus
from tandem.clock import Clock
from tandem.contracts.inbox import AnyInboxMessage, StepsCompleted
from tandem.contracts.log import Output
from tandem.contracts.ticket import Ticket
from tandem.contracts.values import Millis
from tandem.errors import IndexUnavailable, TandemError
from tandem.packs.model import Pack
from tandem.redis import Redis

HOUR_MS = 3600 * 1000


def level(trouble: TandemError) -> int:
    """How loud a shard tells its trouble. That Redis is away is said once, by its client, for all shards."""
    return logging.DEBUG if isinstance(trouble, IndexUnavailable) else logging.WARNING


class Decision(Protocol):
    """What `decide` gives: the new ticket (None: nothing changes) and what to publish."""

    @property
    def ticket(self) -> Ticket | None: ...

    @property
    def outputs(self) -> tuple[Output, ...]: ...


Decide = Callable[[Ticket | None, AnyInboxMessage | StepsCompleted, Millis, Pack, int], Decision]
Quarantine = Callable[[Ticket | None, AnyInboxMessage, str, Millis, Pack, int], Decision]


class PackSource(Protocol):
    def get(self, name: str, hash: str | None = None) -> Pack:
        """Raises InvalidPack."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerPolicy:
    """The owner's limits and waits."""

    max_batch: int = 100
    max_pending: int = 1_000  # messages of one shard in memory; past it the partition is paused
    cached_tickets: int = 256  # per shard
    tombstones: int = 256  # superseded records that are removed together
    commit_s: float = 0.02
    check_s: float = 1.0
    drain_s: float = 8.0
    backoff_s: float = 0.1
    max_backoff_s: float = 10.0
    claim_again_s: float = 30.0  # after being fenced, if the shard is still assigned then: longer than a session
    keep_closed_ms: int = (72 + 7 * 24) * HOUR_MS  # reopen window + the inbox's retention
    keep_claims_ms: int = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What all shards of an owner share."""

    bus: Bus
    redis: Redis
    packs: PackSource
    decide: Decide
    quarantine: Quarantine
    clock: Clock
    policy: OwnerPolicy
    kill: Callable[[str], None]  # crash tests stop at named points
    owner_id: str
    group: str


class Commits(Protocol):
    """Inbox offsets on their way to the bus."""

    def note(self, partition: int, offset: int) -> None:
        """Everything below `offset` is done."""
        ...

    def acknowledged(self, partition: int) -> int:
        """Everything below it is known to be committed."""
        ...
