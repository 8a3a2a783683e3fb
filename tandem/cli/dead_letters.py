"""`tandem dead-letters`: what could not be handled, and sending it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tandem.bus.base import Bus, NewRecord, Outgoing, Record
from tandem.cli.common import AsJson, console, day_text, print_json, run
from tandem.cli.scan import records
from tandem.cli.tail import to_json
from tandem.contracts.topics import DEAD_LETTERS, TOPICS
from tandem.errors import InvalidSettings
from tandem.wiring import Wiring

app = typer.Typer(no_args_is_help=True)

OURS = ("tandem-dead-", "tandem-attempt", "tandem-not-before", "tandem-origin", "tandem-redriven")
"""Headers of the retry and dead-letter machinery; a record sent again starts without them."""

REDRIVEN = "tandem-redriven"

Filter = Annotated[
    str, typer.Option("--filter", help="Only those whose reason, topic or service contains this; `*` or empty: all.")
]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: the original record with why it died."""

    record: Record

    def header(self, name: str) -> str:
        return (self.record.header(name) or b"").decode("utf-8", "replace")

    @property
    def id(self) -> str:
        return f"{self.record.partition}-{self.record.offset}"

    @property
    def reason(self) -> str:
        return self.header("tandem-dead-reason")

    @property
    def topic(self) -> str:
        """Where it lay: `topic/partition/offset` without the last two, and without the retry topic's ending."""
        return self.header("tandem-dead-origin").split("/")[0].removesuffix(".retry")

    def matches(self, text: str) -> bool:
        wanted = text.strip("*")
        return any(wanted in part for part in (self.reason, self.topic, self.header("tandem-dead-service"), self.id))

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "reason": self.reason,
            "detail": self.header("tandem-dead-detail"),
            "origin": self.header("tandem-dead-origin"),
            "service": self.header("tandem-dead-service"),
            "at": self.record.timestamp,
            "bytes": len(self.record.value or b""),
        }


@app.command("list")
def list_letters(filter: Filter = "", as_json: AsJson = False) -> None:
    """Every dead letter, oldest first."""

    async def work(wiring: Wiring) -> list[Letter]:
        return [letter async for letter in letters(wiring.bus(), filter)]

    found = run(work)
    if as_json:
        print_json([letter.to_json() for letter in found])
        return
    table = Table("id", "when", "from", "service", "reason", "detail")
    for letter in found:
        place, service = letter.header("tandem-dead-origin"), letter.header("tandem-dead-service")
        detail = Text(letter.header("tandem-dead-detail")[:120])
        table.add_row(letter.id, day_text(letter.record.timestamp), place, service, letter.reason, detail)
    console().print(table if found else "No dead letters.")


@app.command()
def show(id: Annotated[str, typer.Argument(help="As `list` gives it, e.g. 0-12.")]) -> None:
    """One dead letter with its headers and body, as JSON."""

    async def work(wiring: Wiring) -> Letter:
        async for letter in letters(wiring.bus(), ""):
            if letter.id == id:
                return letter
        raise InvalidSettings(f"there is no dead letter {id!r}; `tandem dead-letters list` says which there are")

    letter = run(work)
    print_json({**letter.to_json(), "record": to_json(letter.record)})


@app.command()
def redrive(
    ids: Annotated[list[str] | None, typer.Argument(help="As `list` gives them; or say which with --filter.")] = None,
    filter: Filter = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, send nothing.")] = False,
    rate: Annotated[float, typer.Option(help="At most this many a second.", min=0.1, max=10_000)] = 50.0,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent again before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to the topic they came from, as they were. What was sent again before is left out."""
    wanted = frozenset(ids or ())
    if bool(wanted) == bool(filter):
        raise InvalidSettings("say which: ids as `tandem dead-letters list` gives them, or --filter REASON; '*' is all")

    async def work(wiring: Wiring) -> list[Letter]:
        bus = wiring.bus()
        every = [letter async for letter in letters(bus, filter)]
        if unknown := wanted - {letter.id for letter in every}:
            raise InvalidSettings(
                f"there is no dead letter {min(unknown)!r}; `tandem dead-letters list` says which there are"
            )
        done = set() if again else await _redriven(bus)
        chosen = [letter for letter in every if letter.id not in done and (not wanted or letter.id in wanted)]
        if not dry_run:
            for letter in chosen:
                await bus.publish([_again(letter), _mark(letter)])
                await asyncio.sleep(1 / rate)
        return chosen

    sent = run(work)
    if as_json:
        print_json({"dry_run": dry_run, "redriven": [letter.to_json() for letter in sent]})
        return
    for letter in sent:
        typer.echo(f"{'would send' if dry_run else 'sent'} {letter.id} to {letter.topic} ({letter.reason})")
    typer.echo(f"{len(sent)} in all", err=True)


async def letters(bus: Bus, filter: str) -> AsyncIterator[Letter]:
    """Dead letters that match, oldest first."""
    async for record in records(bus, DEAD_LETTERS.name):
        letter = Letter(record)
        if record.header(REDRIVEN) is None and letter.matches(filter):
            yield letter


async def _redriven(bus: Bus) -> set[str]:
    """Ids of what was sent again: `redrive` leaves a mark in the dead-letter topic."""
    return {
        mark.decode()
        async for record in records(bus, DEAD_LETTERS.name)
        if (mark := record.header(REDRIVEN)) is not None
    }


def _again(letter: Letter) -> Outgoing:
    if letter.topic not in TOPICS:
        raise InvalidSettings(f"dead letter {letter.id} came from {letter.topic!r}, which is no topic of this version")
    headers = tuple(header for header in letter.record.headers if not header[0].startswith(OURS))
    return Outgoing(letter.topic, NewRecord(letter.record.key, letter.record.value, headers))


def _mark(letter: Letter) -> Outgoing:
    """Remembers, where everybody looks, that the letter was sent again."""
    return Outgoing(DEAD_LETTERS.name, NewRecord(letter.record.key, b"", ((REDRIVEN, letter.id.encode()),)))
