"""`tandem doctor`: what is stuck, why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from tandem.cli.common import AsJson, console, print_json, redis_of, run
from tandem.wiring import Wiring

if TYPE_CHECKING:
    from tandem.embedded.doctor import Report


def command(as_json: AsJson = False) -> None:
    """Look at lag, tickets, owners, timers, the index and dead letters; change nothing.

    Exit code 1 if tickets are stuck, 0 if all is well or only something to look at.
    """
    from tandem.embedded.doctor import examine

    async def work(wiring: Wiring) -> Report:
        async with redis_of(wiring) as redis:
            return await examine(wiring.bus(), redis, wiring.clock)

    report = run(work)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    raise typer.Exit(0 if report.well else 1)


def _show(report: Report) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("tickets", ", ".join(f"{count} {status}" for status, count in report.tickets.items()) or "none")
    table.add_row("lag", ", ".join(f"{service} {behind}" for service, behind in report.lag.items()))
    console().print(table)
    if not report.findings:
        typer.echo("All is well.")
        return
    found = Table("", "where", "what", "what to do")
    for finding in report.findings:
        style = "red" if finding.level == "error" else "yellow"
        found.add_row(Text(finding.level, style=style), Text(finding.about), Text(finding.what), Text(finding.do))
    console().print(found)
