"""`tandem bench`: figures that users can make themselves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop
from rich.table import Table

from tandem import telemetry
from tandem.cli.common import AsJson, console, print_json, quiet, read_settings
from tandem.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure."""


@contextmanager
def own_home(bus: str) -> Iterator[Settings]:
    """A deployment of a benchmark's own, removed when it is over."""
    quiet()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        home = Path(folder)
        os.environ.update(TANDEM_BUS=bus, TANDEM_HOME=str(home), TANDEM_PACKS=str(home / "own-packs"))
        os.environ.setdefault("TANDEM_PREFIX", f"bench-{os.getpid()}")
        os.environ.setdefault("TANDEM_LOG_LEVEL", "WARNING")
        os.environ.setdefault("TANDEM_SHARDS", "8")
        os.environ.setdefault("TANDEM_WORK_PARTITIONS", "4")
        settings = read_settings()
        telemetry.configure(settings, "tandem", None if settings.otlp_endpoint else telemetry.Forgotten())
        try:
            yield settings
        finally:
            telemetry.shutdown()


@app.command()
def pipeline(
    tickets: Annotated[int, typer.Option(min=1, help="Tickets to run.")] = 2_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Tickets in flight.")] = 128,
    bus: Annotated[Literal["local", "kafka"], typer.Option(help="kafka: at TANDEM_KAFKA_BOOTSTRAP_SERVERS.")] = "local",
    broker_pid: Annotated[int | None, typer.Option(help="Count this process's time as the broker's.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a synthetic ticket costs: latency, throughput, CPU by part, messages, Redis round trips."""
    from tandem.bench.pipeline import measure

    with own_home(bus) as settings:
        figures = uvloop.run(measure(settings, tickets, concurrency, broker_pid))
    if as_json:
        print_json(figures)
        return
    table = Table(show_header=False, box=None)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    console().print(table)


@app.command()
def star(
    data: Annotated[Path, typer.Option(help="STAR's folder: dialogues_<split>.jsonl, sop/, apis/.", exists=True)],
    mode: Annotated[
        Literal["free"], typer.Option(help="free: the dialogues' customers against the platform.")
    ] = "free",
    split: Annotated[str, typer.Option(help="Which dialogues.")] = "dev",
    limit: Annotated[int, typer.Option(min=1, help="At most so many dialogues, in turn over the tasks.")] = 40,
    tasks: Annotated[str, typer.Option(help="Only these procedures, comma-separated.")] = "",
    bus: Annotated[Literal["local", "kafka"], typer.Option(help="kafka: at TANDEM_KAFKA_BOOTSTRAP_SERVERS.")] = "local",
    as_json: AsJson = False,
) -> None:
    """Play dialogues that people wrote elsewhere through the whole platform, judged by their own recorded calls."""
    from tandem.bench.star.free import run

    chosen = [task for task in tasks.split(",") if task]
    with own_home(bus) as settings:
        figures = uvloop.run(run(settings, data, split, limit, chosen))
    if as_json:
        print_json(figures)
        return
    table = Table("procedure", "dialogues", "success", "unsafe calls", "turns")
    for name, row in {**figures["by_task"], "all": figures}.items():
        cells = (row["dialogues"], f"{row['success_rate']:.0%}", row["unsafe_calls"], row["turns_mean"])
        table.add_row(name, *map(str, cells))
    console().print(table)
