"""`tandem pack`: make a pack, prove it, bring its knowledge in."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from tandem.channels import load_channels
from tandem.cli.common import progress, quiet
from tandem.cli.demo import AT_ONCE, play_all
from tandem.cli.pack_compile import compile_
from tandem.cli.pack_simulate import simulate
from tandem.cli.up import example_system
from tandem.embedded.case import Case
from tandem.embedded.platform import own_gateway
from tandem.embedded.talk import talk
from tandem.errors import InvalidPack, InvalidSettings
from tandem.packs.check import check as check_folder
from tandem.packs.check import fix_hashes
from tandem.packs.ingest import IngestReport
from tandem.packs.ingest import ingest as ingest_pack
from tandem.packs.load import load_pack
from tandem.packs.problems import Problem
from tandem.packs.scaffold import new_pack
from tandem.rpc.inprocess import InProcessLlm
from tandem.settings import Settings, read_settings
from tandem.wiring import Wiring

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
    """Prove that the pack keeps its promises on every path. Exit code 1 if it does not."""
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


@app.command()
def ingest(
    folder: Folder,
    tenant: Annotated[str, typer.Option(help="For this tenant; by default every tenant that has the pack.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bring the pack's knowledge into Qdrant. What changed is written, what is gone is deleted."""
    quiet()
    settings = read_settings(Settings)
    reports = uvloop.run(_ingest(settings, folder, tenant))
    if as_json:
        json.dump({name: asdict(report) for name, report in reports.items()}, sys.stdout)
        typer.echo()
        return
    for name, report in reports.items():
        typer.echo(
            f"{name}: {report.documents} documents, {report.passages} sections, {report.written} windows written, "
            f"{report.deleted} deleted"
        )


async def _ingest(settings: Settings, folder: Path, tenant: str) -> dict[str, IngestReport]:
    """For each tenant, what was done. The encoder runs in this process."""
    pack = load_pack(folder)
    tenants = [tenant] if tenant else _tenants_of(settings, pack.name)
    gateway = own_gateway(settings)
    wiring = Wiring(settings, llm=InProcessLlm(gateway))
    reports: dict[str, IngestReport] = {}
    try:
        for name in tenants:
            with progress(name) as update:
                reports[name] = await ingest_pack(pack, name, wiring.vectors(), wiring.llm(), update)
    finally:
        await wiring.close()
        await gateway.close()
    return reports


def _tenants_of(settings: Settings, pack: str) -> list[str]:
    if not settings.channels.exists():
        raise InvalidSettings(
            f"there is no {settings.channels} to say which tenants have the pack; name one with --tenant"
        )
    found = [name for name, entry in load_channels(settings.channels).tenants.items() if entry.pack == pack]
    if not found:
        raise InvalidSettings(f"no tenant of {settings.channels} has the pack {pack!r}; name one with --tenant")
    return found


@app.command()
def train(
    folder: Folder,
    as_json: AsJson = False,
) -> None:
    """Train the pack's small models, into models/. From its examples and its recorded dialogues (dialogues/*.jsonl)."""
    from tandem.brains.learning.pack import train_pack
    from tandem.embedded.sentences import Sentences

    quiet()
    today = datetime.now(UTC).date()
    try:
        facts = train_pack(folder, Sentences(), today, lambda text: typer.echo(text, err=True))
    except InvalidPack as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        json.dump(facts, sys.stdout)
        typer.echo()
        return
    if "moments" in facts:
        typer.echo(f"{folder / 'models'}: trained on {facts['moments']} steps, {facts['date']}, {facts['figures']}")
    if "intents" in facts:
        learnt = facts["intents"]
        typer.echo(
            f"{folder / 'models'}: intents of {learnt['messages']} messages, {learnt['date']}, {learnt['held_out']}"
        )


app.command("compile")(compile_)
app.command()(simulate)


@app.command("try")
def try_(
    folder: Folder,
    say: Annotated[
        list[str] | None, typer.Option("--say", help="Say this and end; may be given several times.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Also serve the example business system.")] = False,
    as_json: AsJson = False,
) -> None:
    """Talk to the pack as a customer. The whole platform is behind it, in a home of its own that is removed."""
    load_pack(folder)
    quiet()
    with tempfile.TemporaryDirectory(prefix="tandem-try-") as home:
        os.environ.update(TANDEM_HOME=home, TANDEM_PACKS=str(folder.resolve().parent))
        case = uvloop.run(_try(read_settings(Settings), folder.resolve().name, say or [], example, as_json))
    if as_json:
        replies = [reply.model_dump(mode="json") for reply in case.replies]
        json.dump({"status": case.status, "replies": replies}, sys.stdout)
        typer.echo()


async def _try(settings: Settings, pack: str, said: list[str], example: bool, as_json: bool) -> Case:
    async with AsyncExitStack() as stack:
        if example:
            os.environ["CLOUD_API_URL"] = await stack.enter_async_context(example_system(settings.home, 0))
        return await talk(settings, pack, said, Console(stderr=as_json))


@app.command("test")
def play(
    folder: Folder,
    only: Annotated[str, typer.Option(help="Only conversations whose name or scenario contains this.")] = "",
    at_once: Annotated[int, typer.Option(min=1, help="Conversations played at the same time.")] = AT_ONCE,
    example: Annotated[
        bool, typer.Option("--example", help="Also serve the example business system, and judge by its own record.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Play tests/*.yaml against the whole platform. Tools call your own systems; exit code 0 only if all ended as expected."""
    os.environ["TANDEM_PACKS"] = str(folder.resolve().parent)
    play_all(folder.resolve().name, only, None, at_once, example=example, as_json=as_json)


def _show(folder: Path, problems: list[Problem]) -> None:
    for problem in problems:
        typer.echo(f"{problem.severity}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    verdict = "is ready" if not errors else "cannot be released"
    typer.echo(f"{folder.resolve().name} {verdict}: {errors} error(s), {len(problems) - errors} warning(s)")
