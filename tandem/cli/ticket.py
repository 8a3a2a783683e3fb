"""`tandem ticket show`: a ticket as the bus tells it, and its timeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tandem.bus.base import Bus
from tandem.cli.common import AsJson, clock_text, console, day_text, not_empty, print_json, run
from tandem.cli.scan import messages, records
from tandem.contracts.events import Event, TicketEvents
from tandem.contracts.log import StateRecord
from tandem.contracts.ticket import Cost, Ticket
from tandem.contracts.topics import TICKET_EVENTS, TICKET_STATE
from tandem.contracts.values import Json
from tandem.errors import InvalidSettings
from tandem.fenced_log import Judge, decode
from tandem.packs.registry import Packs
from tandem.wiring import Wiring

app = typer.Typer(no_args_is_help=True)


@app.callback()
def ticket() -> None:
    """Look at a ticket."""


@dataclass(frozen=True, slots=True)
class Found:
    """A ticket: its history, and its present state as long as the log still has it."""

    id: str
    history: list[TicketEvents]
    state: Ticket | None


@app.command()
def show(
    id: Annotated[str, typer.Argument(callback=not_empty, help="Ticket or conversation, or the beginning of its id.")],
    timeline: Annotated[bool, typer.Option("--timeline", help="Everything that happened, in order.")] = False,
    as_json: AsJson = False,
) -> None:
    """Who owns a ticket, what was done, by which sentence, at what cost."""

    async def work(wiring: Wiring) -> None:
        found = await find(wiring.bus(), id)
        if as_json:
            print_json(to_json(found, timeline))
            return
        console().print(_head(found))
        if timeline:
            console().print(_timeline(found, wiring.packs()))

    run(work)


async def find(bus: Bus, id: str) -> Found:
    """The ticket of that id; of several in a conversation, the latest. Raises InvalidSettings if none, or several."""
    pairs = await messages(
        bus, TICKET_EVENTS.name, TicketEvents, lambda e: e.ticket.startswith(id) or e.conversation.startswith(id)
    )
    events = [event for _, event in pairs]
    if not events:
        raise InvalidSettings(f"no ticket or conversation begins with {id!r}; `tandem tail --from-start` shows them")
    conversations = {event.conversation for event in events}
    if len(conversations) > 1:
        raise InvalidSettings(f"{id!r} begins {len(conversations)} conversations: {', '.join(sorted(conversations))}")
    chosen = events[-1].ticket
    history = {event.version: event for event in events if event.ticket == chosen}
    state = await _state(bus, events[-1].conversation, chosen)
    return Found(chosen, [history[version] for version in sorted(history)], state)


async def _state(bus: Bus, conversation: str, ticket: str) -> Ticket | None:
    """The newest valid record of the ticket; None once it was closed and its records were removed."""
    judge = Judge()
    async for record in records(bus, TICKET_STATE.name, conversation):
        judge.feed([record])
    newest: StateRecord | None = None
    for record in judge.survey().valid:
        if record.key is None or not record.key.startswith(conversation.encode()):
            continue
        state = decode(record)
        if isinstance(state, StateRecord) and state.ticket.id == ticket:
            newest = state
    return newest.ticket if newest else None


def to_json(found: Found, timeline: bool) -> dict[str, Any]:
    """A ticket for programs. Sensitive facts are left out."""
    last = found.history[-1]
    body: dict[str, Any] = {
        "ticket": found.id,
        "conversation": last.conversation,
        "tenant": last.tenant,
        "pack": last.pack,
        "owner": last.owner,
        "status": last.status,
        "version": last.version,
        "turn": last.turn,
        "spent": last.spent.model_dump(mode="json"),
    }
    if found.state is not None:
        body["outcome"] = found.state.outcome
        body["facts"] = {name: f.value for name, f in found.state.facts.items() if not f.sensitive}
        body["effects"] = [effect.model_dump(mode="json") for effect in found.state.effects.values()]
    if timeline:
        body["timeline"] = [
            {"at": events.at, "version": events.version, "owner": events.owner, **event.model_dump(mode="json")}
            for events, event in _events(found)
        ]
    return body


def _events(found: Found) -> Iterator[tuple[TicketEvents, Event]]:
    for events in found.history:
        for event in events.events:
            yield events, event


def _head(found: Found) -> Table:
    last = found.history[-1]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {
        "ticket": found.id,
        "conversation": last.conversation,
        "tenant, pack": f"{last.tenant}, {last.pack}",
        "owner": last.owner,
        "status": last.status,
        "opened": day_text(found.history[0].at),
        "last change": f"{day_text(last.at)} (version {last.version}, turn {last.turn})",
        "spent": cost_text(last.spent),
    }
    if found.state is not None:
        rows["outcome"] = found.state.outcome or "–"
        shown = {n: f.value for n, f in found.state.facts.items() if not f.sensitive and not n.startswith("_")}
        rows["facts"] = ", ".join(f"{name}={_told(value)}" for name, value in shown.items()) or "–"
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _told(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


TOLD_OTHERWISE = frozenset({"timer_fired", "question_asked", "plan_finished"})
"""Events that another line of the timeline tells as well; `--json` has them all."""


def _timeline(found: Found, packs: Packs) -> Table:
    """What happened, in order. A sentence is written once, above all that it made happen."""
    table = Table("time", "owner", "what", "effect", "cost", title_justify="left", show_lines=False)
    before = ""
    for events, event in _events(found):
        if event.kind in TOLD_OTHERWISE or (event.kind == "effect_done" and _completes(events, event)):
            continue
        sentence = sentence_text(packs, events.pack, event)
        if sentence and sentence != before:
            table.add_row("", "", Text(sentence, style="italic yellow"), "", "")
            before = sentence
        effect, cost = (event.effect or "")[:8], cost_text(event.cost) if event.cost else ""
        table.add_row(clock_text(events.at), events.owner, Text(what(event)), effect, cost)
    return table


def _completes(events: TicketEvents, effect: Event) -> bool:
    """Whether a completed step beside it tells the same."""
    return any(event.kind == "step_completed" and event.effect == effect.effect for event in events.events)


def what(event: Event) -> str:
    """An event in words, with the rung and the prompt it came by. Names that are ids of messages and questions say nothing to
    people."""
    name = (
        ""
        if event.kind in ("message_received", "reply_sent") or event.kind.startswith(("question", "consent"))
        else event.name
    )
    parts = [event.kind.replace("_", " "), name or "", event.status or ""]
    head = " ".join(part for part in parts if part)
    by = ", ".join(part for part in (event.rung, str(event.data.get("prompt", ""))) if part)
    head = f"{head} ({by})" if by else head
    return f"{head}: {event.text}" if event.text else head


def sentence_text(packs: Packs, pack: str, event: Event) -> str:
    """The sentence that made it so: its number and words, or only its place when the pack is not at hand."""
    if event.sentence is None:
        return ""
    place = f"{event.procedure or '?'} §{event.sentence}"
    if event.procedure is None or pack not in packs.names():
        return place
    flow = packs.get(pack).flows.get(event.procedure)
    words = flow.sentences.get(event.sentence) if flow else None
    return f"{place}: {words}" if words else place


def cost_text(cost: Cost) -> str:
    """Calls, tokens and money."""
    parts = [
        f"{cost.calls} call{'s' if cost.calls > 1 else ''}" if cost.calls else "",
        f"{cost.tokens} tokens" if cost.tokens else "",
    ]
    parts.append(f"{cost.micros / 1_000_000:.4f}" if cost.micros else "")
    return ", ".join(part for part in parts if part) or "nothing"
