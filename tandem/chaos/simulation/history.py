"""What ever happened on the bus, read as the promise reads it: claims, valid records, outputs, commits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from tandem.bus.base import Record
from tandem.chaos.simulation.broker import Broker, Written
from tandem.contracts.log import Intent, StateRecord
from tandem.contracts.message import Message, read_body
from tandem.contracts.topics import EFFECTS, TICKET_INBOX, TICKET_STATE
from tandem.fenced_log import epoch_of, is_claim

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Valid:
    """A state record that counts, and when it came into the log."""

    at: int
    record: Record
    state: StateRecord


def body_of(record: Record) -> Message | None:
    """None for a tombstone."""
    type_ = record.header("ce_type")
    return None if record.value is None or type_ is None else read_body(type_.decode(), record.value)


def valid_records(written: list[Written]) -> list[Written]:
    """Of one partition of a fenced log: those of epoch e with no claim between e and them. Facts are left out."""
    highest, found = -1, []
    for one in written:
        if is_claim(one.record):
            highest = one.record.offset
        elif one.record.value is not None and (epoch := epoch_of(one.record)) is not None and epoch >= highest:
            found.append(one)
    return found


class History:
    """Of one run, compaction notwithstanding."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.partitions = range(broker.partitions(TICKET_INBOX.name))

    @cached_property
    def states(self) -> dict[int, list[Valid]]:
        """Partition → its valid state records, in order."""
        return {
            number: [
                Valid(one.at, one.record, state)
                for one in valid_records(self.broker.of(TICKET_STATE.name, number))
                if isinstance(state := body_of(one.record), StateRecord)
            ]
            for number in self.partitions
        }

    @cached_property
    def intents(self) -> dict[str, list[tuple[int, int, Intent]]]:
        """Effect → its valid intents: when in the order of things, append time, intent."""
        found: dict[str, list[tuple[int, int, Intent]]] = {}
        for number in range(self.broker.partitions(EFFECTS.name)):
            for one in valid_records(self.broker.of(EFFECTS.name, number)):
                body = body_of(one.record)
                if isinstance(body, Intent):
                    found.setdefault(body.effect, []).append((one.at, one.record.timestamp, body))
        return found

    @cached_property
    def published(self) -> dict[tuple[str, str], list[tuple[int, Record]]]:
        """(topic, id) → the copies of what the owners have published."""
        found: dict[tuple[str, str], list[tuple[int, Record]]] = {}
        for at, record in self.broker.written:
            if record.header("ce_source") == b"tandem/planner" and record.topic != TICKET_STATE.name:
                id = (record.header("ce_id") or b"").decode()
                found.setdefault((record.topic, id), []).append((at, record))
        return found

    def tickets_at(self, partition: int, applied: int) -> dict[str, StateRecord]:
        """Conversation → its latest valid state at or below an offset."""
        return {v.state.ticket.conversation: v.state for v in self.states[partition] if v.record.offset <= applied}
