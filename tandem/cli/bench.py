"""`tandem bench`: figures that users can make themselves."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop
from rich.table import Table

from tandem.cli.common import AsJson, console, print_json, quiet, read_settings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure."""


@app.command()
def pipeline(
    tickets: Annotated[int, typer.Option(min=1, help="Tickets to run.")] = 2_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Tickets in flight.")] = 128,
    bus: Annotated[Literal["local", "kafka"], typer.Option(help="kafka: at TANDEM_KAFKA_BOOTSTRAP_SERVERS.")] = "local",
    broker_pid: Annotated[int | None, typer.Option(help="Count this process's time as the broker's.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a synthetic ticket costs: latency, throughput, CPU by part, messages, Redis round trips."""
    from tandem import telemetry
    from tandem.bench.pipeline import measure

    quiet()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        home = Path(folder)
        os.environ.update(TANDEM_BUS=bus, TANDEM_HOME=str(home), TANDEM_PACKS=str(home / "own-packs"))
        os.environ.setdefault("TANDEM_PREFIX", f"bench-{os.getpid()}")
        os.environ.setdefault("TANDEM_LOG_LEVEL", "WARNING")
        os.environ.setdefault("TANDEM_SHARDS", "8")
        os.environ.setdefault("TANDEM_WORK_PARTITIONS", "4")
        settings = read_settings()
        telemetry.configure(settings, "tandem")
        figures = uvloop.run(measure(settings, tickets, concurrency, broker_pid))
    if as_json:
        print_json(figures)
        return
    table = Table(show_header=False, box=None)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    console().print(table)
