"""`tandem chaos`: the promise under faults."""

from __future__ import annotations

import typer

from tandem.cli import chaos_hostile, chaos_run, chaos_simulate

app = typer.Typer(no_args_is_help=True)


@app.callback()
def chaos() -> None:
    """Prove the promise: a seeded simulation in one process, plans of faults on real ones, or a model that means ill."""


app.command("simulate")(chaos_simulate.command)
app.command("run")(chaos_run.command)
app.command("hostile")(chaos_hostile.command)
