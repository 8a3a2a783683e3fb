"""`tandem pack`: make a pack, prove it, bring its knowledge in."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tandem.errors import InvalidPack
from tandem.packs.check import check as check_folder
from tandem.packs.check import fix_hashes
from tandem.packs.problems import Problem
from tandem.packs.scaffold import new_pack

app = typer.Typer(help="Make, check and ingest packs.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The pack's folder.", exists=True, file_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and _.")],
    openapi: Annotated[Path | None, typer.Option(help="An OpenAPI 3 document to take tools from.", exists=True)] = None,
    root: Annotated[Path, typer.Option(help="Where packs are.")] = Path("packs"),
) -> None:
    """Begin a pack."""
    try:
        folder = new_pack(root, name, openapi)
    except InvalidPack as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{folder} is made. Next: tandem pack check {folder}")


@app.command()
def check(
    folder: Folder,
    as_json: AsJson = False,
    fix: Annotated[
        bool, typer.Option("--fix-hashes", help="First write the sentences' hashes: you have read what changed.")
    ] = False,
) -> None:
    """Prove that the pack keeps its promises on every path; exit code 1 if it does not."""
    if fix:
        for path in fix_hashes(folder):
            typer.echo(f"{path}: sentence hashes written", err=True)
    problems = check_folder(folder)
    ok = all(problem.severity != "error" for problem in problems)
    if as_json:
        json.dump({"ok": ok, "pack": folder.resolve().name, "problems": [asdict(p) for p in problems]}, sys.stdout)
        typer.echo()
    else:
        _show(folder, problems)
    raise typer.Exit(0 if ok else 1)


def _show(folder: Path, problems: list[Problem]) -> None:
    for problem in problems:
        typer.echo(f"{problem.severity}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    verdict = "is ready" if not errors else "cannot be released"
    typer.echo(f"{folder.resolve().name} {verdict}: {errors} error(s), {len(problems) - errors} warning(s)")
