"""`tandem chaos`: the promise under faults."""

from __future__ import annotations

import typer

from tandem.cli import chaos_run, chaos_simulate

app = typer.Typer(no_args_is_help=True)


@app.callback()
def chaos() -> None:
    """Prove the promise: a seeded simulation in one process, or plans of faults on real ones."""


app.command("simulate")(chaos_simulate.command)
app.command("run")(chaos_run.command)
