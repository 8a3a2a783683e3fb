"""`tandem tail`: what passes over the bus."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tandem.bus.base import Record
from tandem.cli.common import AsJson, clock_text, console, print_json, run
from tandem.cli.scan import follow, read
from tandem.contracts.customer import CustomerMessage, Reply
from tandem.contracts.events import TicketEvents
from tandem.contracts.message import Message
from tandem.contracts.topics import CUSTOMER_MESSAGES, CUSTOMER_REPLIES, TICKET_EVENTS, TOPICS
from tandem.errors import InvalidSettings
from tandem.wiring import Wiring

DEFAULT = [CUSTOMER_MESSAGES.name, TICKET_EVENTS.name, CUSTOMER_REPLIES.name]
MAX_TEXT = 160


def command(
    topics: Annotated[list[str] | None, typer.Argument(help="Topics; by default messages, events and replies.")] = None,
    conversation: Annotated[str, typer.Option(help="Only this conversation (an id or its beginning).")] = "",
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with what is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow topics until Ctrl-C. Adds no consumer group, so it disturbs nobody."""
    chosen = topics or DEFAULT
    unknown = [topic for topic in chosen if topic not in TOPICS]
    if unknown:
        raise InvalidSettings(f"no topic is called {', '.join(unknown)}; `tandem topics list` says which there are")

    async def work(wiring: Wiring) -> None:
        out = console()
        async for record in follow(wiring.bus(), chosen, from_start):
            if conversation and not _about(record).startswith(conversation):
                continue
            if as_json:
                print_json(to_json(record))
            else:
                out.print(f"{clock_text(record.timestamp)}  {record.topic:<18} {_about(record)[:8]}  {_words(record)}")

    run(work)


def to_json(record: Record) -> dict[str, Any]:
    """A record for programs; bytes that are no UTF-8 are shown with replacement characters."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "at": record.timestamp,
        "key": _text(record.key),
        "headers": {name: _text(value) for name, value in record.headers if name != "tandem-signature"},
        "body": _body(record.value),
    }


def _about(record: Record) -> str:
    return _text(record.header("ce_subject")) or _text(record.key) or ""


def _words(record: Record) -> str:
    found = read(record)
    return _summary(found[1])[:MAX_TEXT] if found else f"unreadable record, {len(record.value or b'')} bytes"


def _summary(message: Message) -> str:
    name = message.TYPE.removeprefix("tandem.").rpartition(".")[0]
    match message:
        case CustomerMessage():
            return f"customer: {message.text()}"
        case Reply():
            return f"{message.author} ({message.state}): {message.text()}"
        case TicketEvents():
            return " · ".join(f"{event.kind} {event.name or ''}".strip() for event in message.events)
        case _:
            return name


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _body(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")
