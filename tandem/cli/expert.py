"""`tandem expert`: what waits for a person, and what a person decides. Every action is a message into the mailbox."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tandem.cli.common import AsJson, age_text, console, day_text, not_empty, print_json, run
from tandem.cli.scan import awaited, end_for, messages
from tandem.clock import SystemClock
from tandem.contracts.events import Event, ExpertTask, TicketEvents
from tandem.contracts.inbox import Approve, ExpertAction, ExpertReply, GiveBack, Reject, ResolveUnknown, TakeOver
from tandem.contracts.message import Message
from tandem.contracts.topics import EXPERT_TASKS, TICKET_EVENTS, TICKET_INBOX
from tandem.errors import InvalidSettings
from tandem.sending import sent_by
from tandem.wiring import Wiring

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(callback=not_empty, help="A task of the queue, or the beginning of its id.")]
TicketId = Annotated[
    str, typer.Argument(callback=not_empty, help="A task, ticket or conversation, or the beginning of its id.")
]
Me = Annotated[str, typer.Option("--as", help="The expert's name.", envvar="TANDEM_EXPERT")]
Note = Annotated[str, typer.Option(help="Why.")]

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for what becomes of it; 0: do not wait.")]

WAIT_S = 5.0
REFUSED = ("action_refused", "approval_refused")
DECIDABLE = ("approve", "unknown_outcome", "suggestion")


@dataclass(frozen=True, slots=True)
class Told:
    """An expert's action, and the event that says what became of it, if one came in time."""

    action: ExpertAction
    outcome: Event | None


@app.command()
def queue(
    group: Annotated[str, typer.Option(help="Only this skill group.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Closed tasks too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, the urgent first."""

    async def work(wiring: Wiring) -> list[ExpertTask]:
        return await tasks(wiring)

    found = [
        task for task in run(work) if (everything or task.state == "open") and (not group or task.skill_group == group)
    ]
    found.sort(key=lambda task: (("high", "normal", "low").index(task.urgency), task.created_at))
    if as_json:
        print_json([task.model_dump(mode="json") for task in found])
        return
    table = Table("id", "waits", "kind", "urgency", "group", "ticket", "reason")
    now = SystemClock().now()
    for task in found:
        waits = age_text(now - task.created_at) if task.state == "open" else task.state
        reason = Text(f"{task.reason} {task.tool or ''}".strip()[:100], overflow="fold")
        table.add_row(task.id[:8], waits, task.kind, task.urgency, task.skill_group, task.ticket[:8], reason)
    console().print(table if found else "Nothing waits.")


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """One task: what is asked, with which arguments, and why. With the last lines of the conversation."""

    async def work(wiring: Wiring) -> ExpertTask:
        return await task_of(wiring, id)

    task = run(work)
    if as_json:
        print_json(task.model_dump(mode="json"))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in task.model_dump(mode="json", exclude={"recent"}, exclude_defaults=True).items():
        shown = day_text(value) if name in ("created_at", "expires") else str(value)
        table.add_row(Text(name.replace("_", " "), style="dim"), Text(shown))
    for line in task.recent:
        table.add_row(Text(line.who, style="dim"), Text(line.text))
    console().print(table)


@app.command()
def approve(id: Id, me: Me = "", note: Note = "", wait: Wait = WAIT_S, as_json: AsJson = False) -> None:
    """Permit exactly the call the task names. Its arguments are bound by their hash."""

    async def work(wiring: Wiring) -> Told:
        task = await task_of(wiring, id, DECIDABLE)
        action = Approve(
            **_about(task, me),
            approval=task.id,
            effect=task.effect or "",
            arguments_hash=task.arguments_hash or "",
            note=note,
        )
        return await _send(wiring, action, wait)

    _report(run(work), as_json)


@app.command()
def reject(id: Id, me: Me = "", note: Note = "", wait: Wait = WAIT_S, as_json: AsJson = False) -> None:
    """Refuse the call the task names."""

    async def work(wiring: Wiring) -> Told:
        task = await task_of(wiring, id, DECIDABLE)
        return await _send(wiring, Reject(**_about(task, me), approval=task.id, note=note), wait)

    _report(run(work), as_json)


@app.command()
def resolve(
    id: Id,
    happened: Annotated[bool, typer.Option("--happened/--did-not-happen", help="What you found out.")],
    me: Me = "",
    note: Note = "",
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Say whether an effect of unknown outcome happened."""

    async def work(wiring: Wiring) -> Told:
        task = await task_of(wiring, id, ("unknown_outcome",))
        action = ResolveUnknown(
            **_about(task, me), approval=task.id, effect=task.effect or "", happened=happened, note=note
        )
        return await _send(wiring, action, wait)

    _report(run(work), as_json)


@app.command()
def take(
    id: TicketId,
    me: Me = "",
    reason: Note = "",
    even_so: Annotated[bool, typer.Option("--even-so", help="Also from another expert who has it.")] = False,
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Take a ticket over; the customer is told."""

    async def work(wiring: Wiring) -> Told:
        return await _send(wiring, TakeOver(**await _ticket(wiring, id, me), reason=reason, even_so=even_so), wait)

    _report(run(work), as_json)


@app.command()
def reply(
    id: TicketId,
    text: Annotated[str, typer.Argument(callback=not_empty, help="What you write.")],
    me: Me = "",
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Answer the customer of a ticket you have taken over."""

    async def work(wiring: Wiring) -> Told:
        return await _send(wiring, ExpertReply(**await _ticket(wiring, id, me), text=text), wait)

    _report(run(work), as_json)


@app.command("give-back")
def give_back(
    id: TicketId,
    me: Me = "",
    reason: Note = "",
    resolved: Annotated[bool, typer.Option("--resolved", help="The matter is settled.")] = False,
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Give a ticket back to the platform; the customer is told."""

    async def work(wiring: Wiring) -> Told:
        return await _send(wiring, GiveBack(**await _ticket(wiring, id, me), reason=reason, resolved=resolved), wait)

    _report(run(work), as_json)


async def tasks(wiring: Wiring) -> list[ExpertTask]:
    """Every task as it stands now: a later one with the same id replaces it."""
    found = await messages(wiring.bus(), EXPERT_TASKS.name, ExpertTask, lambda task: True)
    return list({task.id: task for _, task in found}.values())


async def task_of(wiring: Wiring, id: str, kinds: tuple[str, ...] = ()) -> ExpertTask:
    """The one task whose id begins so. Raises InvalidSettings if there is none, several, or one of another kind."""
    found = [task for task in await tasks(wiring) if task.id.startswith(id)]
    if len(found) != 1:
        raise InvalidSettings(f"{_count(found, 'task')} with {id!r}; `tandem expert queue --all` says which there are")
    [task] = found
    if kinds and (task.kind not in kinds or task.state != "open"):
        raise InvalidSettings(f"task {task.id} is {task.state} and of kind {task.kind}: there is nothing to decide")
    return task


async def _ticket(wiring: Wiring, id: str, me: str) -> dict[str, Any]:
    """What an action says of the ticket: found by a task, or by the ticket's own events."""
    by_task = [task for task in await tasks(wiring) if task.id.startswith(id)]
    if len(by_task) == 1:
        return _about(by_task[0], me)
    events = await messages(
        wiring.bus(),
        TICKET_EVENTS.name,
        TicketEvents,
        lambda event: event.ticket.startswith(id) or event.conversation.startswith(id),
    )
    found = {event.conversation: event for _, event in events}
    if len(found) != 1:
        raise InvalidSettings(f"{_count(found, 'ticket')} with {id!r}; `tandem tail --from-start` shows them")
    [event] = found.values()
    return _about(event, me)


def _count(found: Sized, what: str) -> str:
    return f"{len(found)} {what}s begin" if found else f"no {what} begins"


def _about(source: ExpertTask | TicketEvents, me: str) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "tenant": source.tenant,
        "conversation": source.conversation,
        "ticket": source.ticket,
        "expert": me or getpass.getuser(),
    }


async def _send(wiring: Wiring, action: ExpertAction, wait: float) -> Told:
    """Send it, and wait for what becomes of it: another may have been faster."""
    bus, conversation = wiring.bus(), action.conversation
    start = await end_for(bus, TICKET_EVENTS.name, conversation)
    await bus.publish([sent_by("console", TICKET_INBOX.name, action, action.id, wiring.clock.now())])

    def wanted(message: Message) -> bool:
        return isinstance(message, TicketEvents) and _outcome(action, message) is not None

    found = await awaited(bus, TICKET_EVENTS.name, conversation, start, wanted, wait) if wait else None
    return Told(action, _outcome(action, found) if isinstance(found, TicketEvents) else None)


def _outcome(action: ExpertAction, found: TicketEvents) -> Event | None:
    """What the decision that an action caused says of it; None if it is another's."""
    if found.conversation != action.conversation or found.cause != action.TYPE:
        return None
    mine = (event for event in found.events if event.name == action.expert)
    said = (
        event for event in found.events if event.kind == "reply_sent" and event.text == getattr(action, "text", None)
    )
    return next(mine, None) or next(said, None)


def _report(told: Told, as_json: bool) -> None:
    """Say what became of the action; exit code 1 if it was refused."""
    action, outcome = told.action, told.outcome
    refused = outcome is not None and outcome.kind in REFUSED
    if as_json:
        became = None if outcome is None else {"kind": outcome.kind, "text": outcome.text}
        print_json({"sent": action.TYPE, **action.model_dump(mode="json"), "outcome": became})
    if outcome is None:
        typer.echo(
            f"{type(action).__name__} sent; see `tandem ticket show {action.ticket}` for what becomes of it", err=True
        )
    elif refused:
        typer.echo(f"tandem: refused: {outcome.text}", err=True)
    elif not as_json:
        typer.echo(f"{outcome.kind.replace('_', ' ')}: ticket {action.ticket[:8]}, as {action.expert}")
    raise typer.Exit(1 if refused else 0)
