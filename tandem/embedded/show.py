"""Tickets in the terminal: the running ones live, each finished one whole, and a table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tandem.contracts.customer import CardPart, Reply
from tandem.contracts.events import Event
from tandem.contracts.ticket import Cost
from tandem.embedded.case import Case
from tandem.embedded.player import Played
from tandem.packs.model import Pack

WIDTH = 110
SHOWN = {
    "plan_started": "plan",
    "topic_changed": "topic",
    "plan_resumed": "back",
    "messages_merged": "merged",
    "step_dispatched": "step",
    "effect_done": "done",
    "consent_given": "consent",
    "consent_refused": "refused",
    "stale_answer_ignored": "ignored",
    "approval_asked": "approval",
    "approved": "approved",
    "approval_rejected": "rejected",
    "handed_over": "person",
    "taken_over": "person",
    "given_back": "back",
    "resolved": "resolved",
    "refused": "refused",
    "program_written": "program",
    "program_refused": "program",
    "noted": "noted",
}


def money(cost: Cost) -> str:
    """Calls, and money in the pack's currency."""
    return f"{cost.calls} call{'' if cost.calls == 1 else 's'}, cost {cost.micros / 1_000_000:.4f}"


def running(played: Sequence[Played]) -> RenderableType:
    """One line for each ticket under way: where it stands, the last thing said, and its progress."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=34, no_wrap=True)
    table.add_column(width=18, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True)
    for one in played:
        case = one.case
        elapsed = time.monotonic() - case.started
        table.add_row(
            Text(one.scenario.name, style="bold"),
            Text(f"{case.status or '…'} {elapsed:.1f} s", style="cyan"),
            _now(case),
        )
    return Constrain(Panel(table, title="under way", title_align="left", border_style="cyan"), WIDTH) if played else ""


def _now(case: Case) -> RenderableType:
    card = next((card for card in case.cards.values() if card.state == "running"), None)
    if card is not None:
        return _bar(card)
    if case.replies and len(case.replies) >= len(case.said):
        return Text(f"← {case.replies[-1].text()}", style="green", overflow="ellipsis")
    return Text(f"→ {case.said[-1][1]}" if case.said else "", overflow="ellipsis")


def _bar(card: CardPart) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    line = card.log[-1] if card.log else card.title
    grid.add_row(ProgressBar(total=100, completed=card.percent or 0, width=20), Text(f"{card.percent or 0} % {line}"))
    return grid


def finished(played: Played, pack: Pack, problems: Sequence[str]) -> RenderableType:
    """The whole ticket: what was said, what was done, by which sentence, with which evidence, at what cost."""
    case = played.case
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9, no_wrap=True, justify="right")
    grid.add_column()
    for label, body in _story(case, pack):
        grid.add_row(label, body)
    rows: list[RenderableType] = [grid]
    rows += [Text(f"✗ {problem}", style="bold red") for problem in problems]
    mark, style = ("✗", "red") if problems else ("✓", "green")
    panel = Panel(
        Group(*rows),
        title=f"[{style}]{mark}[/] [bold]{played.scenario.name}[/] ({played.scenario.language})",
        subtitle=f"ticket {case.ticket[:8]} · {case.status} · {money(case.spent)} · {played.seconds:.1f} s",
        title_align="left",
        subtitle_align="right",
        border_style=style,
    )
    return Constrain(panel, WIDTH)


def _story(case: Case, pack: Pack) -> Iterator[tuple[Text, RenderableType]]:
    """The ticket's events in order, with the replies as they were shown."""
    replies = iter(case.replies)
    bars = {card.card: card for card in case.cards.values()}
    for event in case.events:
        if event.kind == "message_received":
            yield Text("customer", style="bold"), Text(event.text)
        elif event.kind == "reply_sent":
            yield from _reply(next(replies, None), event)
        elif event.kind in SHOWN:
            yield Text(SHOWN[event.kind], style="dim"), _event(event, pack)
    for card in bars.values():
        if card.state in ("done", "failed"):
            yield Text("progress", style="dim"), _bar(card)


def _reply(reply: Reply | None, event: Event) -> Iterator[tuple[Text, RenderableType]]:
    author = reply.author if reply else "bot"
    who = "tandem" if author == "bot" else author.removeprefix("expert:")
    yield Text(who, style="bold green" if author == "bot" else "bold magenta"), Text(event.text, style="green")
    for part in reply.parts if reply else ():
        if part.kind == "citation":
            yield Text("source", style="dim"), Text(f"{part.title} ({part.passage})", style="blue")


def event_line(event: Event, pack: Pack) -> Text | None:
    """What happened, in one line; None for what is not told."""
    if event.kind not in SHOWN:
        return None
    return Text(f"{SHOWN[event.kind]} ", style="dim") + _event(event, pack)


def _event(event: Event, pack: Pack) -> Text:
    text = Text(style="dim")
    if event.name and not event.kind.startswith("consent"):
        text.append(event.name, style="yellow")
    arguments = event.data.get("arguments")
    if isinstance(arguments, dict) and arguments:
        text.append("(" + ", ".join(f"{name}={value}" for name, value in arguments.items()) + ")")
    if event.kind == "effect_done":
        text.append(f" effect {(event.effect or '')[:8]}")
        if event.data.get("evidence"):
            text.append(f", evidence {event.data['evidence']}")
        if event.data.get("repeated"):
            text.append(" (done before, answered from the log)")
    if event.text:
        text.append(f" {event.text}")
    flow = pack.flows.get(event.procedure or "")
    if flow and event.sentence in flow.sentences and event.kind in ("step_dispatched", "approval_asked"):
        text.append(f"  “{flow.sentences[event.sentence]}”", style="italic dim")
    return text


def summary(played: Sequence[Played], problems: dict[str, list[str]]) -> RenderableType:
    """The table at the end."""
    table = Table(title="What became of each conversation", title_justify="left")
    table.add_column()
    table.add_column("conversation", ratio=1)
    for name in ("", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("seconds", "steps", "calls", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in played:
        row = figures(one)
        ok = not problems[one.scenario.name]
        mark = Text("✓", style="green") if ok else Text("✗", style="red")
        cells = (f"{row['seconds']:.1f}", str(row["steps"]), str(row["tool_calls"]), f"{row['cost']:.4f}")
        table.add_row(mark, one.scenario.name, one.scenario.language, one.case.status, *cells)
    return Constrain(table, WIDTH)


def figures(played: Played) -> dict[str, float]:
    """Seconds, steps, tool calls, cost (in the pack's currency)."""
    events = played.case.events
    return {
        "seconds": round(played.seconds, 2),
        "steps": len({event.step for event in events if event.step}),
        "tool_calls": sum(event.kind == "step_dispatched" and event.effect is not None for event in events),
        "cost": played.case.spent.micros / 1_000_000,
    }
