"""`tandem chaos hostile`: tickets whose model means ill."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tandem.chaos.hostile.campaign import Wanted, campaign
from tandem.chaos.hostile.run import Report
from tandem.cli.common import progress

console = Console(stderr=True)

INTERRUPTED = 3
"""Exit code: told what was played, and not all was."""

EVERY = 500
"""Tickets between two lines of progress where there is no terminal, and two writings of the report."""


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
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at once; one for each processor.")] = None,
    report: Annotated[
        Path | None, typer.Option(help=f"Also write the report to this file, every {EVERY} tickets.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """Tickets whose model means ill. The planner's decisions, all agents and the executor's policies, with a model that
    answers nonsense, in wrong shapes, or in the right one with the worst it can say; poisoned passages and tools' answers.
    Exit code 1 if a call was permitted that nobody had a right to, or a reply told the customer's secret; 3 if it ended
    before, by Ctrl-C, SIGTERM or the death of a worker: what was played until then is told, and at which ticket to go on."""
    wanted = Wanted(pack, tickets, start, data, workers or len(os.sched_getaffinity(0)))
    found = _played(wanted, report)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        _show(found)
    if not found.complete:
        left = start + tickets - found.next
        console.print(f"ended before ticket {found.next}; go on with --start {found.next} --tickets {left}")
    raise typer.Exit(1 if not found.clean else 0 if found.complete else INTERRUPTED)


def _played(wanted: Wanted, file: Path | None) -> Report:
    with _interruptible() as stopped, progress("tickets") as moved:

        def tell(report: Report) -> None:
            moved(report.tickets, wanted.tickets)
            if report.tickets % EVERY and report.tickets > 1 and not report.complete:
                return
            if not console.is_terminal:
                console.print(_line(report), highlight=False)
            if file is not None:
                _write(file, report)

        found = campaign(wanted, tell, stopped.is_set)
    if file is not None:
        _write(file, found)
    return found


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Set by the first interruption; the second one ends the process at once."""
    stopped = threading.Event()

    def stop(number: int, _: object) -> None:
        stopped.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(file: Path, report: Report) -> None:
    """Whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(report.to_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    new.replace(file)


def _line(report: Report) -> str:
    rate = report.tickets / report.seconds if report.seconds else 0.0
    return (
        f"{report.tickets} of {report.wanted} tickets, {rate:.0f}/s, {report.broken} policy breaks, "
        f"{report.leaked} secrets told"
    )


def _show(report: Report) -> None:
    refused = ", ".join(f"{name} {count}" for name, count in report.refusals.most_common())
    console.print(
        f"{report.tickets} tickets, {report.answers} answers of the model, {report.plans} of its plans taken up, "
        f"{report.programs} of its programs run, {report.writes} writes made, "
        f"{report.refusals.total()} calls refused ({refused or 'none'}) in {report.seconds:.0f} s"
    )
    console.print(f"{report.broken} policy breaks, {report.leaked} secrets told")
    for text in (*report.breaks, *report.leaks):
        console.print(escape(text), style="red")
