"""`tandem model`: engines for the gateway's pools."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tandem.cli.common import AsJson, print_json
from tandem.engine.arguments import pool_of, serve_arguments, serve_environment
from tandem.engine.launch import become, check
from tandem.model_pools import load_pools

app = typer.Typer(no_args_is_help=True)


@app.callback()
def model() -> None:
    """Serve models."""


@app.command()
def serve(
    pool: Annotated[str, typer.Argument(help="Its name in the pools' file.")],
    pools: Annotated[Path, typer.Option(envvar="TANDEM_LLM_POOLS", help="The gateway's file of pools.")],
    host: Annotated[str, typer.Option(help="Address to listen on. Only the gateway may reach it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8_000,
    python: Annotated[
        Path | None, typer.Option(envvar="TANDEM_VLLM_PYTHON", help="The Python that has vLLM; without it, this one.")
    ] = None,
    only_check: Annotated[
        bool, typer.Option("--check", help="Only ask vLLM whether it takes the pool's arguments; exit code 1 if not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """One replica of a pool: a vLLM engine with the pool's flags. They stand under its `engine`; vLLM checks them first.

    It listens until SIGTERM, in the process that this command was. The replicas' key comes from the variable that the
    pool's api_key_env names. Exit code 2: vLLM refused the arguments.
    """
    chosen = pool_of(load_pools(pools), pool)
    arguments = serve_arguments(chosen, host, port)
    environment = serve_environment(chosen, os.environ)
    interpreter = python or Path(sys.executable)
    told = {"pool": pool, "model": chosen.model, "command": ["vllm", "serve", *arguments]}
    if not only_check:
        if as_json:
            print_json(told)
        become(interpreter, arguments, environment)
    found = check(interpreter, arguments, environment)
    if as_json:
        print_json(told | {"ok": not found.error, "vllm": found.version, "error": found.error})
    elif found.error:
        typer.echo(f"tandem: pools.{pool}.engine: vLLM {found.version} says: {found.error}", err=True)
    else:
        typer.echo(f"vLLM {found.version} takes it: {' '.join(told['command'])}", err=True)
    raise typer.Exit(1 if found.error else 0)
