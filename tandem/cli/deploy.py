"""`tandem deploy`: the Kubernetes manifests that follow from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tandem.deploy import render

app = typer.Typer(no_args_is_help=True)


@app.callback()
def deploy() -> None:
    """The Kubernetes manifests that follow from the code."""


@app.command("render")
def render_files(root: Annotated[Path, typer.Argument(help="Where deploy/ is.")] = Path()) -> None:
    """Write the generated files under deploy/k8s. A test fails when they are stale."""
    for path in render.write(root):
        typer.echo(path)
