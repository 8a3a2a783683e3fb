"""`tandem pack compile`: procedures in plain language become flows, and a person agrees to what changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.syntax import Syntax

from tandem.cli.common import AsJson, print_json, quiet
from tandem.embedded.compiling import compile_free_here
from tandem.errors import InvalidError, Unavailable
from tandem.packs.compiling.compile import NotInLanguage, Source, compile_words, read_source, vocabulary
from tandem.packs.compiling.verdict import Verdict, judge
from tandem.packs.model import Pack
from tandem.settings import Settings, read_settings

Folder = Annotated[Path, typer.Argument(help="The pack's folder.", exists=True, file_okay=False)]


def compile_(
    folder: Folder,
    procedure: Annotated[str, typer.Argument(help="One procedure; by default all of them.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Write the flows, each after a yes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --write: the answer is yes.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 if a flow is not what its procedure compiles to.")
    ] = False,
    model: Annotated[
        bool, typer.Option("--model", help="Give procedures that are not in the controlled language to the model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compile procedures to flows whose nodes name their sentences. Exit code 1 if one cannot be, or may not be released.

    Sentences are in the controlled language of docs/agents.md. Nothing is written without --write.
    """
    quiet()
    console = Console(stderr=True, highlight=False)
    try:
        pack = vocabulary(folder)
        names = [procedure] if procedure else sorted(path.stem for path in (folder / "procedures").glob("*.md"))
        sources = [read_source(folder, name) for name in names]
    except InvalidError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    results = [_compiled(pack, source, model) for source in sources]
    wrong = any(isinstance(result, str) or not result.ok or (check and result.changed) for result in results)
    for source, result in zip(sources, results, strict=True):
        _show(source, result, console)
        if write and isinstance(result, Verdict) and result.ok and result.changed:
            _write(folder, result, yes)
    if as_json:
        print_json({"ok": not wrong, "pack": pack.name, "procedures": list(map(_json, sources, results))})
    raise typer.Exit(1 if wrong else 0)


def _compiled(pack: Pack, source: Source, model: bool) -> Verdict | str:
    """The verdict, or why there is none."""
    try:
        return judge(pack, source, compile_words(pack, source), "words")
    except NotInLanguage as error:
        return _by_model(pack, source, str(error)) if model else str(error)
    except InvalidError as error:
        return f"{source.name}: {error}"


def _by_model(pack: Pack, source: Source, why: str) -> Verdict | str:
    try:
        return compile_free_here(read_settings(Settings), pack, source)
    except Unavailable as error:
        return f"{why}\nand no model could be asked ({error}); write these sentences in the forms above, or set an endpoint"
    except InvalidError as error:
        return f"{source.name}: {error}"


def _show(source: Source, result: Verdict | str, console: Console) -> None:
    if isinstance(result, str):
        typer.echo(result, err=True)
        return
    if result.changed:
        console.print(Syntax(result.diff(), "diff", background_color="default"))
    for problem in result.problems:
        console.print(f"{problem.severity}: {problem}", markup=False)
    behaves = "does the same as the present flow" if result.behaves is None else f"new behaviour: {result.behaves}"
    verdict = behaves if result.changed else "is as compiled"
    console.print(
        f"{source.name} ({result.rung}): {verdict}{'' if result.ok else '; cannot be released'}", markup=False
    )


def _write(folder: Path, verdict: Verdict, yes: bool) -> None:
    if yes or typer.confirm(f"write {verdict.source.name}.flow.yaml?", err=True):
        typer.echo(f"{verdict.write(folder)} is written", err=True)


def _json(source: Source, result: Verdict | str) -> dict[str, Any]:
    if isinstance(result, str):
        return {"procedure": source.name, "ok": False, "error": result}
    return {
        "procedure": source.name,
        "ok": result.ok,
        "rung": result.rung,
        "changed": result.changed,
        "difference": result.behaves,
        "problems": [str(problem) for problem in result.problems],
        "flow": result.text,
    }
