"""`tandem chaos hostile`: tickets whose model means ill."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tandem.chaos.hostile.run import Report, play

console = Console(stderr=True)


def command(
    tickets: Annotated[int, typer.Option(min=1, help="How many tickets.")] = 500,
    start: Annotated[
        int, typer.Option(min=0, help="The first ticket's number; the same number is the same ticket.")
    ] = 1,
    pack: Annotated[Path, typer.Option(help="The pack that is played.", exists=True, file_okay=False)] = Path(
        "packs/cloud_support"
    ),
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of injections as JSON lines, beside our own.", exists=True, file_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """The planner's decisions, all agents and the executor's policies, with a model that answers nonsense, in wrong shapes, or in
    the right one with the worst it can say; poisoned passages and tools' answers. Exit code 1 if a call was permitted that nobody
    had a right to, or a reply told the customer's secret."""
    logging.disable(logging.CRITICAL)
    columns = (TextColumn("tickets"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("tickets", total=tickets)
        report = play(pack, tickets, start, data, lambda _: bar.advance(task))
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        _show(report)
    raise typer.Exit(0 if report.clean else 1)


def _show(report: Report) -> None:
    refused = ", ".join(f"{name} {count}" for name, count in report.refusals.most_common())
    console.print(
        f"{report.tickets} tickets, {report.answers} answers of the model, {report.plans} of its plans taken up, "
        f"{report.programs} of its programs run, {report.writes} writes made, "
        f"{report.refusals.total()} calls refused ({refused or 'none'}) in {report.seconds:.0f} s"
    )
    console.print(f"{len(report.breaks)} policy breaks, {len(report.leaks)} secrets told")
    for text in (*report.breaks, *report.leaks):
        console.print(escape(text), style="red")
