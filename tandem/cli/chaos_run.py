"""`tandem chaos run`: a plan of faults on real processes, a real Kafka and a real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from tandem.cli.common import AsJson, console, print_json, quiet, run_async

if TYPE_CHECKING:
    from tandem.chaos.runner import Outcome


def command(
    plans: Annotated[list[Path], typer.Argument(help="Plan files; tests/chaos/plans/ has some.")],
    size: Annotated[Literal["per_change", "by_hand"], typer.Option(help="How much of it.")] = "per_change",
    kafka: Annotated[str, typer.Option(help="Brokers to use; by default TANDEM_KAFKA_BOOTSTRAP_SERVERS.")] = "",
    kafka_jars: Annotated[
        Path | None, typer.Option(help="Start brokers of its own from this folder of Apache Kafka's jars.")
    ] = None,
    packs: Annotated[Path, typer.Option(help="Folder of packs; the plans speak to cloud_support.")] = Path("packs"),
    report: Annotated[Path, typer.Option(help="Where report and picture of each plan are written.")] = Path("chaos"),
    tickets: Annotated[int, typer.Option(min=0, help="Another number of tickets than the plan's.")] = 0,
    rounds: Annotated[int, typer.Option(min=0, help="Another number of rounds than the plan's.")] = 0,
    seed: Annotated[int, typer.Option(help="Of what is left to chance.")] = 1,
    as_json: AsJson = False,
) -> None:
    """A plan of faults on real processes, Kafka and Redis. Customers come, and what crossed the edges is judged.

    Exit code 0 only if nothing was lost, done twice, or written by a former owner.
    """
    from tandem.chaos.deployment import Deployment
    from tandem.chaos.plan import read_plan
    from tandem.chaos.runner import play

    quiet()
    bootstrap = kafka or os.environ.get("TANDEM_KAFKA_BOOTSTRAP_SERVERS", "")
    chosen = [read_plan(path).resized(size, tickets, rounds) for path in plans]
    brokers = max(plan.brokers for plan in chosen)

    async def work() -> list[Outcome]:
        outcomes: list[Outcome] = []
        if task := asyncio.current_task():  # what was started is stopped
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with tempfile.TemporaryDirectory(prefix="tandem-chaos-") as folder:
            async with Deployment(
                Path(folder), packs, bootstrap=bootstrap, jars=kafka_jars, brokers=brokers
            ) as deployment:
                for plan in chosen:
                    sys.stderr.write(f"{plan.plan}: {plan.about}\n")
                    outcomes.append(await play(plan, size, deployment, report, seed))
                    for line in outcomes[-1].complaints():
                        sys.stderr.write(f"  {line}\n")
        return outcomes

    try:
        outcomes = run_async(work())
    except asyncio.CancelledError:
        raise typer.Exit(143) from None
    _show(outcomes, as_json)
    raise typer.Exit(0 if all(outcome.kept for outcome in outcomes) else 1)


def _show(outcomes: list[Outcome], as_json: bool) -> None:
    if as_json:
        for outcome in outcomes:
            print_json(outcome.to_json())
    else:
        console().print(_table(outcomes))


def _table(outcomes: list[Outcome]) -> Table:
    names = list(outcomes[0].to_json())
    table = Table(*(name.replace("_", " ") for name in names))
    for outcome in outcomes:
        table.add_row(*(str(value) for value in outcome.to_json().values()))
    return table
