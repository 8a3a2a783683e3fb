"""Reading the mailbox: what a record of `ticket.inbox` says, or why it cannot be read, and what is decided on together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from tandem.bus.base import Outgoing, Record
from tandem.bus.dead_letters import dead_letter, tell_ticket
from tandem.contracts.inbox import AnyInboxMessage, InboxMessage, StepCompleted, StepsCompleted, TaskDeadLettered
from tandem.contracts.message import read_body
from tandem.errors import InvalidMessage

SERVICE = "planner"
MAX_CONVERSATION = 100
MAX_TOGETHER = 8


class Letter(NamedTuple):
    """A readable message and where it lies; of several decided on together, the last one's place."""

    record: Record
    conversation: str
    message: AnyInboxMessage | StepsCompleted
    parts: tuple[Letter, ...] = ()  # of several, each by itself


def read_letter(record: Record) -> Letter:
    """Raises InvalidMessage."""
    conversation = _conversation(record)
    if conversation is None:
        raise InvalidMessage("bad-key", "the key of a mailbox's record must be a conversation")
    type_ = record.header("ce_type")
    if type_ is None:
        raise InvalidMessage("missing-header", "header 'ce_type' is missing or null")
    message = read_body(type_.decode("utf-8", "backslashreplace"), record.value)
    if not isinstance(message, InboxMessage):
        raise InvalidMessage("wrong-topic", f"{message.TYPE} does not belong into a mailbox")
    if message.conversation != conversation:
        raise InvalidMessage("wrong-key", "the key is not the message's conversation")
    return Letter(record, conversation, cast(AnyInboxMessage, message))


def together(letters: Iterable[Letter]) -> list[Letter]:
    """Results for one ticket with no other message of its conversation between them become one letter. Steps that run side by
    side are often done at once: then one decision, one record and one event say so."""
    found: list[Letter] = []
    newest: dict[str, int] = {}  # conversation → place of its last letter
    for letter in letters:
        place = newest.get(letter.conversation)
        joined = None if place is None else _joined(found[place], letter)
        if place is not None and joined is not None:
            found[place] = joined
        else:
            newest[letter.conversation] = len(found)
            found.append(letter)
    return found


def _joined(before: Letter, letter: Letter) -> Letter | None:
    parts = (*(before.parts or (before,)), letter)
    results = tuple(part.message for part in parts if isinstance(part.message, StepCompleted))
    if len(results) < len(parts) or len(parts) > MAX_TOGETHER or results[0].ticket != results[-1].ticket:
        return None
    return Letter(letter.record, letter.conversation, StepsCompleted(results), parts)


def undeliverable(record: Record, reason: str, detail: str) -> list[Outgoing]:
    """The dead letter, and word of it to the ticket, unless such word is what cannot be delivered."""
    dead = [dead_letter(record, reason, detail, SERVICE)]
    if record.header("ce_type") != TaskDeadLettered.TYPE.encode():
        word = tell_ticket(record, reason, SERVICE, record.timestamp)
        dead += [word] if word is not None else []
    return dead


def _conversation(record: Record) -> str | None:
    """The key, if it can be a conversation."""
    if not record.key or len(record.key) > MAX_CONVERSATION:
        return None
    try:
        return record.key.decode()
    except UnicodeDecodeError:
        return None
