"""Tools of MCP servers. Which servers there are is a setting: a pack only names one.

Before each call the server is asked how it describes the tool now; a description that is not the approved one is refused. One
session per server is kept, by a task of its own, and opened anew when it breaks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
from pydantic import SecretStr

from services.executor.schemas import problem
from services.executor.tools import Came, Guard, Outcome, TooLate, as_object
from tandem.contracts.values import Json, canonical_json
from tandem.errors import InvalidSettings, Refused
from tandem.mcp_link import at_an_address, connect, described
from tandem.packs.model import Tool
from tandem.packs.pins import pin
from tandem.text import one_line

if TYPE_CHECKING:
    from mcp import Client

logger = logging.getLogger(__name__)

EFFECT = "tandem/effect"
"""The key of a call's `_meta` that carries the effect's id: a server that knows it can tell a repeated call."""
_OPENING_S = 60
"""A server that has not opened its session by then is ended; calls give up earlier, each by its own timeout."""


class McpTools:
    """Makes calls of MCP servers, by the names that the deployment gives them."""

    def __init__(
        self, servers: Mapping[str, str], max_answer_bytes: int, tokens: Mapping[str, SecretStr] | None = None
    ) -> None:
        """Raises InvalidSettings for a token of a server that is not there."""
        tokens = tokens or {}
        if unknown := sorted(tokens.keys() - servers.keys()):
            raise InvalidSettings(f"TANDEM_MCP_TOKENS names {', '.join(unknown)}; TANDEM_MCP_SERVERS does not")
        if commands := sorted(name for name in tokens if not at_an_address(servers[name])):
            raise InvalidSettings(
                f"TANDEM_MCP_TOKENS: {', '.join(commands)} is a command, and has to find its own token"
            )
        self._links = {name: _Link(server, tokens.get(name, SecretStr(""))) for name, server in servers.items()}
        self._max_answer_bytes = max_answer_bytes

    def prepare(self, tool: Tool, arguments: Mapping[str, Json], effect: str) -> McpCall:
        """Raises Refused for a server that the deployment does not have, and a tool that nobody has approved."""
        link = self._links.get(tool.server)
        if link is None:
            raise Refused("transport-forbidden", f"add {tool.server!r} to TANDEM_MCP_SERVERS to let packs call it")
        if tool.pinned is None:
            raise Refused("not-approved", f"{tool.name} has no `pinned`: take it in with `tandem tool import mcp`")
        return McpCall(link, tool, dict(arguments), effect, self._max_answer_bytes)

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()


class _Link:
    """The session with one server, opened anew after it was dropped or broke."""

    def __init__(self, server: str, token: SecretStr) -> None:
        self._server = server
        self._token = token
        self._session: _Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def client(self) -> Client:
        if self._session is None or self._session.over:
            self._session = _Session()
            task = asyncio.create_task(self._session.hold(self._server, self._token), name="mcp")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._session.ready)

    def drop(self) -> None:
        """Forget the session; the next call opens another."""
        if self._session is not None:
            self._session.end()

    async def close(self) -> None:
        """Wait until every server that was started has ended, those of dropped sessions too."""
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Session:
    """One session. A task of its own enters and leaves it, as its library wants it.

    It ends by its scope and never by cancelling its task: that would defeat the shield under which the library stops the
    server's process, and the process would stay.
    """

    def __init__(self) -> None:
        self.ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._scope = anyio.CancelScope(deadline=anyio.current_time() + _OPENING_S)

    @property
    def over(self) -> bool:
        return self._scope.cancel_called

    def end(self) -> None:
        self._scope.cancel()

    async def hold(self, server: str, token: SecretStr) -> None:
        try:
            with self._scope:
                async with connect(server, token.get_secret_value()) as client:
                    self._scope.deadline = math.inf
                    self.ready.set_result(client)
                    await anyio.sleep_forever()
        except Exception:  # a foreign program: whatever it does, it has no session with us
            logger.warning("no session with an MCP server", exc_info=True)
        finally:
            self.end()
            if not self.ready.done():
                self.ready.set_exception(ConnectionError("the server did not open a session"))
                self.ready.exception()  # seen, should no call ask any more


class McpCall:
    """One call, ready to be made."""

    def __init__(self, link: _Link, tool: Tool, arguments: dict[str, Json], effect: str, max_bytes: int) -> None:
        self._link = link
        self._tool = tool
        self._arguments = arguments
        self._effect = effect
        self._max_bytes = max_bytes
        self._sent = False

    async def send(self, guard: Guard) -> Outcome:
        """Ask how the tool is described now, and call it once. Raises TooLate."""
        try:
            async with asyncio.timeout(self._tool.timeout_ms / 1000):
                return await self._call(await self._link.client(), guard)
        except TooLate:
            raise
        except Exception as error:  # the library and the server may raise anything
            logger.info("an MCP call failed", exc_info=True)
            self._link.drop()
            text = f"{type(error).__name__} while calling {self._tool.name}"
            if not self._sent:
                return Outcome(came=Came.NOT_SENT, reason="unreachable", error=text)
            reason = "timeout" if isinstance(error, TimeoutError) else "connection-lost"
            return Outcome(came=Came.UNKNOWN, reason=reason, error=text)

    async def _call(self, client: Client, guard: Guard) -> Outcome:
        live = (await described(client)).get(self._tool.path)
        if live is None:
            return Outcome(came=Came.REJECTED, reason="unknown-tool", error=f"the server has no {self._tool.path}")
        now = self._tool.model_copy(
            update={"description": live.description, "parameters": live.parameters, "output": live.output}
        )
        if pin(now) != self._tool.pinned:
            text = f"{self._tool.name} is described in other words than were approved; import it again and read them"
            return Outcome(came=Came.REJECTED, reason="description-changed", error=text)
        guard()
        self._sent = True
        meta: Any = {EFFECT: self._effect}
        answer = await client.call_tool(self._tool.path, self._arguments, meta=meta)
        return self._outcome(answer.is_error, _output(answer))

    def _outcome(self, failed: bool, output: dict[str, Json]) -> Outcome:
        if failed:
            # What a write had done before it failed, its server does not say.
            came = Came.UNKNOWN if self._tool.writes else Came.REJECTED
            return Outcome(came=came, reason="tool-error", error=one_line(output.get("text", ""), 300))
        wrong = problem(output, self._tool.output)
        if wrong is None and len(canonical_json(output)) > self._max_bytes:
            wrong = "is too large"
        if wrong is not None:
            text = f"the answer of {self._tool.name}: {wrong}"
            return Outcome(came=Came.UNREADABLE, reason="bad-answer", error=text)
        return Outcome(came=Came.DONE, output=output)


def _output(answer: Any) -> dict[str, Json]:
    """What a tool answered: its structured content, else its texts."""
    if answer.structured_content is not None:
        return as_object(answer.structured_content)
    return {"text": "\n".join(part.text for part in answer.content if part.type == "text")}
