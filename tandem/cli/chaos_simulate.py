"""`tandem chaos simulate`: the promise in a simulated world, seed by seed."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tandem.chaos.simulation.campaign import Summary, campaign
from tandem.chaos.simulation.invariants import INVARIANTS
from tandem.chaos.simulation.run import Outcome

console = Console(stderr=True)


def command(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 100,
    start: Annotated[int, typer.Option(min=0, help="The first seed; with --seeds 1 it is played again.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at once; one for each processor.")] = None,
    away_h: Annotated[
        float, typer.Option(min=0, help="All customers want what an expert approves, and none comes for so many hours.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON on stdout.")] = False,
) -> None:
    """All services under a virtual clock, with faults by the seed. Crashes, freezes, lost and doubled messages, a forgetful
    Redis. Exit code 1 if one of the twelve invariants did not hold; the same seed plays the same run again."""
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("seeds", total=seeds)

        def tell(outcome: Outcome) -> None:
            bar.advance(task)
            for one in outcome.violations:
                bar.console.print(f"seed {outcome.seed}, invariant {one.invariant}: {one.detail}", style="red")
            if seeds == 1:
                bar.console.print("\n".join(outcome.faults), style="dim", highlight=False)

        summary = campaign(start, seeds, tell, workers, away_h * 3600)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), ensure_ascii=False))
    else:
        _show(summary)
    raise typer.Exit(1 if summary.violations else 0)


def _show(summary: Summary) -> None:
    """For people."""
    console.print(
        f"{summary.seeds} seeds, {summary.tickets} tickets, {summary.effects} effects in {summary.seconds:.0f} s: "
        f"{len(summary.violations)} violations"
    )
    for number in sorted({invariant for _, invariant, _ in summary.violations}):
        broken = [seed for seed, invariant, _ in summary.violations if invariant == number]
        words = INVARIANTS[number - 1][0] if number else "An exception that nobody caught."
        console.print(f"  {number}. {words} Seeds: {', '.join(map(str, broken[:10]))}", style="red")
        console.print(f"  again: tandem chaos simulate --seeds 1 --start {broken[0]}", style="dim")
