"""A way to an MCP server, for whoever imports its tools and whoever calls them. Needs the extra `mcp`."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tandem.errors import InvalidSettings
from tandem.text import one_line

if TYPE_CHECKING:
    from mcp import Client

MAX_TOOLS = 500
MAX_WORDS = 1_000
"""Characters of a description that are taken, shown to people and compared; no more of it is ever used."""
_MAX_PAGES = 20
_HTTP_S = 30.0
_STREAM_S = 300.0
"""How long a stream of the server may be silent; a call gives up earlier, by its tool's timeout."""


@dataclass(frozen=True, slots=True)
class Described:
    """A tool as its server describes it: foreign text, and hints that nobody has to believe."""

    name: str
    description: str
    parameters: dict[str, Any]
    output: dict[str, Any]
    read_only: bool
    idempotent: bool


def at_an_address(server: str) -> bool:
    """Whether the server is called, and not started as a command."""
    return server.startswith(("http://", "https://"))


@asynccontextmanager
async def connect(server: str, token: str = "") -> AsyncIterator[Client]:
    """A session with the server at an http(s) address, or with the command that is started for it.

    `token` is the bearer token of a server that is called. Raises InvalidSettings without the extra, and for a token of a
    command; OSError if the command cannot be started.
    """
    try:
        import httpx2
        from mcp import Client, StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client
    except ImportError as error:
        raise InvalidSettings("MCP servers need `pip install tandem[mcp]`") from error
    if at_an_address(server):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        timeout = httpx2.Timeout(_HTTP_S, read=_STREAM_S)
        async with (
            httpx2.AsyncClient(headers=headers, timeout=timeout) as http,
            Client(streamable_http_client(server, http_client=http), cache=None) as client,
        ):
            yield client
        return
    if token:
        raise InvalidSettings("a token is for an MCP server at an address, not for a command")
    command, *arguments = shlex.split(server) or [""]
    if not command:
        raise InvalidSettings("an MCP server is an http(s) address or a command")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: ASYNC230, PTH123 - a device
        link = stdio_client(StdioServerParameters(command=command, args=arguments), errlog=nowhere)
        async with Client(link, cache=None) as client:
            yield client


async def described(client: Client) -> dict[str, Described]:
    """The server's tools by name, as it describes them now; at most MAX_TOOLS."""
    found: dict[str, Described] = {}
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools[: MAX_TOOLS - len(found)]:
            hints = tool.annotations
            found[tool.name] = Described(
                name=tool.name,
                description=one_line(tool.description or tool.title or "", MAX_WORDS),
                parameters=tool.input_schema,
                output=tool.output_schema or {},
                read_only=bool(hints and hints.read_only_hint),
                idempotent=bool(hints and hints.idempotent_hint),
            )
        cursor = page.next_cursor
        if cursor is None or len(found) >= MAX_TOOLS:
            break
    return found
