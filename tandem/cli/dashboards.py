"""`tandem dashboards`: what SREs look at, as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tandem import dashboards
from tandem.dashboard_pictures import draw, prometheus


def command(
    root: Annotated[Path, typer.Argument(help="Where deploy/ is.")] = Path(),
    pictures: Annotated[Path | None, typer.Option(help="Draw them into this folder instead, as SVG.")] = None,
    source: Annotated[
        str, typer.Option("--prometheus", help="Where the pictures' figures come from.")
    ] = "http://localhost:9090",
    minutes: Annotated[float, typer.Option(min=0.1, help="How far back the pictures go.")] = 60.0,
) -> None:
    """Write deploy/observability/dashboards/ from the code (a test fails when they are stale), or draw the dashboards from
    what a Prometheus holds, where there is no Grafana."""
    if pictures is None:
        for path in dashboards.write(root):
            typer.echo(path)
        return
    end = time.time()
    start = end - minutes * 60
    fetch = prometheus(source, start, end)
    pictures.mkdir(parents=True, exist_ok=True)
    for dashboard in dashboards.DASHBOARDS:
        path = pictures / f"{dashboard.uid}.svg"
        path.write_text(draw(dashboard, fetch, start, end), encoding="utf-8")
        typer.echo(path)
