"""`tandem dashboards`: what SREs look at, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tandem import dashboards


def command(root: Annotated[Path, typer.Argument(help="Where deploy/ is.")] = Path()) -> None:
    """Write deploy/observability/dashboards/ from the code. A test fails when they are stale."""
    for path in dashboards.write(root):
        typer.echo(path)
