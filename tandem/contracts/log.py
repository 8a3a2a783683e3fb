"""Records of the two fenced logs: `ticket.state` (the owner's) and `effects` (the executor's)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tandem.contracts.message import Message
from tandem.contracts.tasks import ToolResult
from tandem.contracts.ticket import Ticket
from tandem.contracts.values import Json, Millis, Value


class Output(Value):
    """A message to publish, exactly as it will be: recomputing or replaying it sends the same bytes."""

    topic: str
    key: str
    partition: int | None = None
    id: str
    type: str
    body: str  # JSON
    kinds: str = ""  # of the events in it, as the header says them


class OwnerClaim(Message, name="owner-claim"):
    """The epoch is this record's offset: monotone, and no loss of Redis touches it. Key: `claim|<claim_id>`."""

    owner: str
    claim_id: str
    claimed_at: Millis


class StateRecord(Message, name="state-record"):
    """One committed transition. Key: `<conversation>|<epoch>|<version>`. The append is the commit."""

    epoch: int
    version: int
    cause: int  # inbox offset
    ticket: Ticket
    outputs: tuple[Output, ...] = ()
    time: Millis  # of the outputs' envelopes
    traceparent: str | None = None


class Intent(Message, name="intent"):
    """A call is about to be made. No call before this is committed; the intent is the claim. Key: `i|<effect>|<epoch>`."""

    epoch: int
    effect: str
    task: str
    tool: str
    arguments_hash: str
    call_by_ms: int  # a duration: the caller counts it from before the append, others from the append time + grace
    once: str | None = None  # tool and `once_per` values, if the tool declares them
    arguments: dict[str, Json] = Field(default_factory=dict)  # for people, sensitive ones masked
    attempt: int = 1
    first_at: Millis = 0  # append time of the effect's first intent; 0: this is it. `key_ttl` counts from there
    counts: tuple[str, ...] = ()  # what the pack's limits count it under


class JobStarted(Message, name="job-started"):
    """A long run has begun at the other side: whoever takes over polls this job instead of calling. Key: `j|<effect>`."""

    effect: str
    task: str
    tool: str
    job: Json
    at: Millis


class EffectRecorded(Message, name="effect-recorded"):
    """A result is a fact: accepted from any epoch. Key: `r|<effect>|<status>`, so that compaction can never put a late
    `unknown` in the place of a definite result; among several, done beats failed beats the others."""

    effect: str
    task: str
    tool: str
    arguments_hash: str
    once: str | None = None
    result: ToolResult
    definite: bool = True
    at: Millis
    source: Literal["call", "ask", "person"] = "call"
    ticket: str = ""
    step: str = ""
    proves: bool = False  # of an identity or authorisation tool: evidence for the ticket's later calls
    counts: tuple[str, ...] = ()
    keep_until: Millis = 0  # tombstoned afterwards
