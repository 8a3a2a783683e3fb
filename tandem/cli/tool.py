"""`tandem tool`: take tools in from an API or an MCP server, and approve what they say of themselves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tandem.cli.common import quiet
from tandem.errors import InvalidSettings, Unavailable
from tandem.mcp_link import Described, connect, described
from tandem.packs.files import parse_yaml, why_unreadable
from tandem.packs.imports import Proposal, approved, from_mcp, from_openapi
from tandem.text import one_line

app = typer.Typer(help="Take tools in, and approve what they say of themselves.", no_args_is_help=True)
take_in = typer.Typer(
    help="Propose tools of an API or an MCP server. A person reads and confirms; exit code 3: not confirmed.",
    no_args_is_help=True,
)
app.add_typer(take_in, name="import")

MAX_BYTES = 5_000_000
FETCH_S = 20.0
CONNECT_S = 30.0
NOT_CONFIRMED = 3

Folder = Annotated[Path, typer.Option("--pack", help="The pack's folder.", exists=True, file_okay=False)]
Name = Annotated[str, typer.Option("--name", help="The file in tools/, without .yaml.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Only this operation; may be given again.")]
Yes = Annotated[bool, typer.Option("--yes", help="You have read it: write without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]


@take_in.command()
def openapi(
    source: Annotated[str, typer.Argument(help="A file or an http(s) address of an OpenAPI 3 document.")],
    pack: Folder,
    name: Name = "",
    server: Annotated[str, typer.Option(help="The API's address, or ${VARIABLE}; default: the document's.")] = "",
    only: Only = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take operations of an API in as tools."""
    document = _document(source)
    title = _slug(name or Path(source.rstrip("/")).stem)
    address = server or _server(document) or f"${{{title.upper()}_URL}}"
    _decide(from_openapi(pack, title, document, address, only or ()), yes, as_json)


@take_in.command()
def mcp(
    source: Annotated[str, typer.Argument(help="The command that starts the server, or its http(s) address.")],
    pack: Folder,
    name: Annotated[str, typer.Option("--name", help="What packs call the server; the file in tools/.")],
    token_env: Annotated[str, typer.Option(help="The variable that holds the bearer token of an address.")] = "",
    only: Only = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take tools of an MCP server in. The executor finds it by its name, in TANDEM_MCP_SERVERS."""
    quiet()
    if token_env and not os.environ.get(token_env):
        raise InvalidSettings(f"the variable {token_env} is not set")
    tools = asyncio.run(_described(source, os.environ.get(token_env, "")))
    _decide(from_mcp(pack, _slug(name), tools, only or ()), yes, as_json)
    setting = json.dumps({_slug(name): source})
    typer.echo(f"The executor needs TANDEM_MCP_SERVERS='{setting}'", err=True)


@app.command()
def approve(
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    pack: Folder,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Approve a tool's description as it stands in the pack now."""
    _decide(approved(pack, tool), yes, as_json)


def _decide(proposal: Proposal, yes: bool, as_json: bool) -> None:
    """Show the proposal, and write it if a person says so."""
    console = Console(stderr=True)
    _show(console, proposal)
    agreed = proposal.differs and (yes or (sys.stdin.isatty() and typer.confirm("Write it?", err=True)))
    if agreed:
        proposal.path.parent.mkdir(exist_ok=True)
        proposal.path.write_text(proposal.after, encoding="utf-8")
    if as_json:
        json.dump(_told(proposal, agreed), sys.stdout, ensure_ascii=False)
        typer.echo()
    if agreed:
        typer.echo(f"{proposal.path} is written. Next: tandem pack check {proposal.path.parent.parent}", err=True)
    elif proposal.differs:
        typer.echo("Nothing is written. Read it, then run it again with --yes.", err=True)
        raise typer.Exit(NOT_CONFIRMED)
    else:
        typer.echo("Nothing has changed.", err=True)


def _show(console: Console, proposal: Proposal) -> None:
    """Foreign words are shown as they are, without markup."""
    if proposal.differs:
        console.print(escape(proposal.diff()), highlight=False, soft_wrap=True)
    table = Table("tool", "class", "", "says of itself")
    for name, change in proposal.changes.items():
        tool = proposal.tools.get(name)
        table.add_row(escape(name), tool.tool_class if tool else "", change, escape(tool.description) if tool else "")
    for name, why in proposal.left_out.items():
        table.add_row(escape(name), "", "left out", escape(why))
    console.print(table)


def _told(proposal: Proposal, written: bool) -> dict[str, Any]:
    tools = [
        {"name": name, "class": tool.tool_class, "pinned": tool.pinned, "change": proposal.changes[name]}
        for name, tool in proposal.tools.items()
    ]
    gone = [name for name, change in proposal.changes.items() if change == "gone"]
    return {
        "file": str(proposal.path),
        "written": written,
        "tools": tools,
        "gone": gone,
        "left_out": dict(proposal.left_out),
    }


def _document(source: str) -> dict[str, Any]:
    try:
        if source.startswith(("http://", "https://")):
            with urllib.request.urlopen(source, timeout=FETCH_S) as response:
                raw = response.read(MAX_BYTES + 1)
        else:
            raw = Path(source).read_bytes()
        if len(raw) > MAX_BYTES:
            raise InvalidSettings(f"{source} has more than {MAX_BYTES} bytes")
        document = parse_yaml(raw.decode())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InvalidSettings(f"{source} cannot be read as OpenAPI: {why_unreadable(error)}") from error
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        raise InvalidSettings(f"{source} is no OpenAPI 3 document; it has no `openapi: 3.…`")
    return document


def _server(document: dict[str, Any]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    url = str(first.get("url", ""))
    return url if url.startswith(("http://", "https://")) else ""


async def _described(source: str, token: str) -> list[Described]:
    try:
        async with asyncio.timeout(CONNECT_S), connect(source, token) as client:
            return list((await described(client)).values())
    except InvalidSettings:
        raise
    except Exception as error:  # a foreign program and its library raise anything
        raise Unavailable(f"no MCP server answers at {source!r}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """The first error of a group, in a line."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return one_line(f"{type(error).__name__} {error}", 300)


def _slug(text: str) -> str:
    return re.sub(r"\W+", "_", text.lower()).strip("_") or "api"
