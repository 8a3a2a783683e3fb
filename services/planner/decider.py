"""From a batch of the mailbox to transitions: read, decide message by message, and what to do when either fails."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence

from services.planner.core import Core, Decision
from services.planner.mailbox import SERVICE, Letter, read_letter, together, undeliverable
from services.planner.store import Held, Transition
from tandem import telemetry
from tandem.bus.base import Outgoing, Record
from tandem.contracts.inbox import RoutedMessage, StepsCompleted
from tandem.contracts.ticket import Status, Ticket
from tandem.contracts.values import Millis
from tandem.errors import InvalidMessage, InvalidPack
from tandem.packs.model import Pack
from tandem.telemetry import Attribute, SpanName

logger = logging.getLogger(__name__)


class _Apart(Exception):
    """Several messages cannot be decided on together: each must be by itself."""


class Decider:
    """Calls `decide` for one shard. What it must publish besides goes into `dead`."""

    def __init__(self, core: Core, partition: int) -> None:
        self._core = core
        self.partition = partition

    def read(self, batch: Sequence[Record]) -> tuple[list[Letter], list[Outgoing]]:
        """The readable messages, and the dead letters of the rest."""
        letters: list[Letter] = []
        dead: list[Outgoing] = []
        for record in batch:
            try:
                letters.append(read_letter(record))
            except InvalidMessage as error:
                dead += self._undeliverable(record, error.reason, error.detail)
        return letters, dead

    def _undeliverable(self, record: Record, reason: str, detail: str) -> list[Outgoing]:
        where = {"shard": self.partition, "offset": record.offset}
        logger.warning("message dead-lettered", extra={"reason": reason, **where})
        telemetry.count(telemetry.names.DEAD_LETTERS, SERVICE, record.topic, reason)
        return undeliverable(record, reason, detail)

    def transitions(
        self, letters: Sequence[Letter], held: Mapping[str, Held], epoch: int, dead: list[Outgoing]
    ) -> list[Transition]:
        """What the messages do, in order, chained within a conversation. Those applied before are passed over."""
        made: list[Transition] = []
        latest = {name: one.ticket for name, one in held.items()}
        waiting = deque(together(letter for letter in letters if not _applied(letter, held)))
        while waiting:
            letter = waiting.popleft()
            try:
                transition = self._transition(letter, latest.get(letter.conversation), epoch, dead)
            except _Apart:
                waiting.extendleft(reversed(letter.parts))
                continue
            if transition is not None:
                made.append(transition)
                latest[letter.conversation] = transition.ticket
        return made

    def _transition(self, letter: Letter, ticket: Ticket | None, epoch: int, dead: list[Outgoing]) -> Transition | None:
        record, message = letter.record, letter.message
        now = record.timestamp if ticket is None else max(ticket.now, record.timestamp)
        others = [part.record for part in letter.parts[:-1]]
        with telemetry.consume_span(record, SERVICE, others) as span:
            traceparent = telemetry.current_traceparent()
            try:
                decision = self._decision(letter, ticket, now)
            except InvalidPack as error:
                dead += self._undeliverable(record, "unknown-pack", str(error))
                return None
            except _Apart:
                raise
            except Exception as error:
                logger.exception("quarantine failed", extra={"shard": self.partition, "offset": record.offset})
                dead += self._undeliverable(record, "decide-failed", repr(error))
                return None
            if span is not None and decision is not None and decision.ticket is not None:
                _describe(record, ticket, decision.ticket)
        if decision is None or decision.ticket is None:
            return None
        telemetry.count(telemetry.names.DECISIONS, message.TYPE)
        return Transition(
            epoch=epoch,
            cause=record.offset,
            ticket=decision.ticket.changed(traceparent=traceparent),
            outputs=decision.outputs,
            time=now,
            traceparent=traceparent,
        )

    def _decision(self, letter: Letter, ticket: Ticket | None, now: Millis) -> Decision | None:
        """An exception in `decide` quarantines the ticket, not the shard. Raises _Apart."""
        message, offset = letter.message, letter.record.offset
        pack = self._pack(letter, ticket)
        if pack is None:
            return None
        try:
            return _checked(self._core.decide(ticket, message, now, pack, offset), ticket, offset)
        except Exception as error:
            if isinstance(message, StepsCompleted):
                raise _Apart from error
            logger.exception("ticket quarantined", extra={"shard": self.partition, "offset": offset})
            return _checked(self._core.quarantine(ticket, message, repr(error), now, pack, offset), ticket, offset)

    def _pack(self, letter: Letter, ticket: Ticket | None) -> Pack | None:
        """The ticket's pack; None for word about a ticket that is not there. Raises InvalidPack."""
        message = letter.message
        if isinstance(message, RoutedMessage) and (ticket is None or ticket.status is Status.CLOSED):
            return self._core.packs.get(message.pack, message.pack_hash)
        return None if ticket is None else self._core.packs.get(ticket.pack, ticket.pack_hash)


def _applied(letter: Letter, held: Mapping[str, Held]) -> bool:
    one = held.get(letter.conversation)
    return one is not None and letter.record.offset <= one.ticket.inbox_offset


def _describe(record: Record, before: Ticket | None, after: Ticket) -> None:
    """Whose ticket the span is about, and which segment came before this one."""
    version = after.plans[-1].version if after.plans else 0
    telemetry.annotate_ids(telemetry.Ids(after.conversation, after.id, after.turn, version))
    telemetry.annotate({Attribute.GEN_AI_OPERATION: SpanName.WORKFLOW.value})
    if before is not None and record.header("tracelink") is None:
        telemetry.link(before.traceparent)


def _checked(decision: Decision, before: Ticket | None, offset: int) -> Decision:
    """Versions of a conversation form one chain, whatever `decide` does."""
    after = decision.ticket
    if after is None:
        if decision.outputs:
            raise ValueError("outputs without a ticket")
        return decision
    version = before.version + 1 if before else 1
    if (after.version, after.inbox_offset) != (version, offset):
        raise ValueError(f"version {after.version} at {after.inbox_offset}, expected {version} at {offset}")
    return decision
