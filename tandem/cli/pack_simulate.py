"""`tandem pack simulate`: a procedure is played to its ends, by scripted customers, before anybody meets it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tandem.cli.common import AsJson, console, print_json, quiet
from tandem.embedded.platform import own_gateway
from tandem.embedded.rehearsal.customers import load_customers
from tandem.embedded.rehearsal.play import PlayedPath, Write
from tandem.embedded.rehearsal.report import MAX_PATHS, Report, by_model, every_path, of_customers
from tandem.errors import InvalidPack, Unavailable
from tandem.packs.load import load_pack
from tandem.packs.model import Flow, Pack
from tandem.packs.problems import unknown
from tandem.rpc.inprocess import InProcessLlm
from tandem.settings import Settings, read_settings


def simulate(
    folder: Annotated[Path, typer.Argument(help="The pack's folder.", exists=True, file_okay=False)],
    procedure: Annotated[str, typer.Option(help="One procedure; by default all of them.")] = "",
    customers: Annotated[
        Path | None, typer.Option(help="Play the customers of this YAML file instead.", exists=True, dir_okay=False)
    ] = None,
    played: Annotated[
        int,
        typer.Option(
            help="Play so many customers of each procedure by the model of TANDEM_LLM_BASE_URL instead.", min=0
        ),
    ] = 0,
    start: Annotated[int, typer.Option(help="With --played: the first customer's number.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many paths of a procedure.", min=1)] = MAX_PATHS,
    as_json: AsJson = False,
) -> None:
    """Play procedures with the planner's own judgement, tools answering by example; exit code 1 if a path ends wrongly.

    Without a file of customers, one is led down each branch: every answer of a tool that matters, refusals, values that the
    customer cannot give, calls that fail. A customer played by a model has one of a few characters, by its number, and tools
    answer by it too.
    """
    quiet()
    try:
        pack = load_pack(folder)
        if procedure and procedure not in pack.flows:
            raise InvalidPack(pack.name, [unknown(procedure, pack.flows, "procedure")])
        if played:
            reports = _by_model(pack, procedure, range(start, start + played))
        else:
            reports = _reports(pack, procedure, customers, limit)
    except (InvalidPack, Unavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if as_json:
        print_json({"ok": all(report.ok for report in reports), "procedures": [report.as_json() for report in reports]})
    else:
        for report in reports:
            _show(report, console())
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def _by_model(pack: Pack, procedure: str, numbers: range) -> list[Report]:
    settings = read_settings(Settings)
    with asyncio.Runner() as runner:
        gateway = own_gateway(settings)
        try:
            return [by_model(pack, flow, numbers, InProcessLlm(gateway), runner) for flow in _flows(pack, procedure)]
        finally:
            runner.run(gateway.close())


def _flows(pack: Pack, procedure: str) -> list[Flow]:
    return [pack.flows[procedure]] if procedure else [pack.flows[name] for name in sorted(pack.flows)]


def _reports(pack: Pack, procedure: str, customers: Path | None, limit: int) -> list[Report]:
    if customers is None:
        return [every_path(pack, flow, limit) for flow in _flows(pack, procedure)]
    told = load_customers(customers, pack)
    return of_customers(pack, [one for one in told if procedure in ("", one.procedure)])


def _show(report: Report, screen: Console) -> None:
    screen.print(f"[bold]{report.flow.procedure}[/]")
    for path in report.paths:
        end = f"[red]wrong: {escape(path.wrong)}[/]" if path.wrong else f"{path.outcome} ({escape(path.reason)})"
        screen.print(f"  {escape(path.name)}: {end}")
        screen.print(f"    [dim]{_steps(path, report)}[/]")
        for line in path.said:
            screen.print(f"    [dim]{escape(line)}[/]", highlight=False)
        for write in path.writes:
            screen.print(f"    {_write(write)}")
    reached = len(report.flow.nodes) - len(report.unreached)
    more = f"; not reached: {', '.join(report.unreached)}" if report.unreached else ""
    cut = "; there are more paths, see --limit" if report.cut else ""
    wrong = sum(bool(path.wrong) for path in report.paths)
    screen.print(
        f"  {len(report.paths)} paths, {wrong} end wrongly; {reached} of {len(report.flow.nodes)} nodes reached{more}{cut}"
    )


def _steps(path: PlayedPath, report: Report) -> str:
    return " → ".join(f"{node} ({sentence})" for node, sentence in path.steps(report.flow))


def _write(write: Write) -> str:
    known = {
        "verified": write.identity,
        "authorised": write.authorisation,
        "agreed": write.consent,
        "approved": write.approval,
    }
    given = ", ".join(name for name, holds in known.items() if holds) or "no evidence"
    return f"writes {write.tool}, sentence {write.sentence}: {given}{f'; refused: {write.refused}' if write.refused else ''}"
