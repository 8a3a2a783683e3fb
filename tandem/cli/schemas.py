"""`tandem schemas`: the adapters' contract as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tandem import asyncapi


def command(root: Annotated[Path, typer.Argument(help="Where docs/ is.")] = Path()) -> None:
    """Write docs/asyncapi.yaml and docs/schemas/ from the code. A test fails when they are stale."""
    for path in asyncapi.write(root):
        typer.echo(path)
