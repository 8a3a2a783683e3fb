"""Tools that are OpenAPI operations, called over HTTP.

Only the tool's own server is ever called: the address comes from the pack alone, arguments cannot leave their place in
it, and redirects are not followed. A write gets a connection of its own: on a reused one, a server that closes it while
we write leaves the outcome in doubt for no reason. aiohttp sends PUT and DELETE again by itself when a connection
breaks; the guard, which runs when a connection is ready and nothing has been written, lets only the first through.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from services.executor.schemas import problem
from services.executor.tools import Came, Guard, Outcome, TooLate, as_object, at_path
from tandem import telemetry
from tandem.contracts.values import Json
from tandem.errors import Refused
from tandem.packs.model import Tool
from tandem.text import one_line

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_HOLE = re.compile(r"\{(\w+)\}")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_IN_DOUBT = frozenset({408, 425})
_CHUNK = 16_384


class _SecondWrite(Exception):
    """The HTTP client wanted to send the same request again by itself."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: URL
    headers: dict[str, str]
    body: dict[str, Json] | None


@dataclass(slots=True)
class _Guarded:
    """Runs the guard for the first connection that is ready, and lets no second one be written to."""

    guard: Guard
    ready: bool = field(default=False)

    def connected(self) -> None:
        if self.ready:
            raise _SecondWrite
        self.guard()
        self.ready = True


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    guarded = context.trace_request_ctx
    if isinstance(guarded, _Guarded):
        guarded.connected()


class HttpTools:
    """Makes calls over HTTP. `env` holds servers' addresses and secrets by name; secrets never leave in an outcome."""

    def __init__(self, env: Mapping[str, str], max_answer_bytes: int) -> None:
        self._env = env
        self._max_answer_bytes = max_answer_bytes
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def prepare(self, tool: Tool, arguments: Mapping[str, Json], effect: str) -> HttpCall:
        """Raises Refused for a server, a secret or an argument that makes no request."""
        return HttpCall(self, tool, _request(tool, arguments, effect, self._env), self._max_answer_bytes)

    def session(self, writes: bool) -> aiohttp.ClientSession:
        """The session of reads (connections are kept) or of writes (they are not)."""
        session = self._sessions.get(writes)
        if session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            trace.on_connection_reuseconn.append(_connected)
            session = self._sessions[writes] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=writes, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
                trust_env=False,
            )
        return session

    async def close(self) -> None:
        """Close every connection."""
        while self._sessions:
            await self._sessions.popitem()[1].close()


class HttpCall:
    """One request, ready to be sent."""

    def __init__(self, tools: HttpTools, tool: Tool, request: _Request, max_answer_bytes: int) -> None:
        self._tools = tools
        self._tool = tool
        self._request = request
        self._max_answer_bytes = max_answer_bytes

    async def send(self, guard: Guard) -> Outcome:
        """Make the call once. Raises TooLate."""
        guarded = _Guarded(guard)
        try:
            async with asyncio.timeout(self._tool.timeout_ms / 1000):
                return await self._send(guarded)
        except TooLate:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, _SecondWrite) as error:
            text = f"{type(error).__name__} while calling {self._tool.name}"
            if not guarded.ready:
                return Outcome(came=Came.NOT_SENT, reason="unreachable", error=text)
            reason = "timeout" if isinstance(error, TimeoutError) else "connection-lost"
            return Outcome(came=Came.UNKNOWN, reason=reason, error=text)

    async def _send(self, guarded: _Guarded) -> Outcome:
        request = self._request
        async with self._tools.session(self._tool.writes).request(
            request.method,
            request.url,
            json=request.body,
            headers=request.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
            trace_request_ctx=guarded,
        ) as response:
            body = await self._read(response)
            return _outcome(self._tool, response, body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body; None if it is larger than an answer may be."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._max_answer_bytes:
                return None
        return bytes(body)


def _request(tool: Tool, arguments: Mapping[str, Json], effect: str, env: Mapping[str, str]) -> _Request:
    base = _server(tool, env)
    headers = {"Accept": "application/json", "X-Request-Id": effect}
    if tool.writes:
        headers["Idempotency-Key"] = effect
    traceparent = telemetry.current_traceparent()
    if traceparent:
        headers["traceparent"] = traceparent
    if tool.secret:
        headers["Authorization"] = f"Bearer {_setting(tool.secret, env)}"
    method = tool.method.upper()
    query: list[tuple[str, str]] = []
    body: dict[str, Json] = {}
    holes = set(_HOLE.findall(tool.path))
    for name, value in arguments.items():
        place = tool.places.get(name) or ("path" if name in holes else "body" if method in _WITH_BODY else "query")
        if place == "body":
            body[name] = value
        elif place == "query":
            query += [(name, item) for item in _texts(value)]
        elif place == "header":
            headers[name] = _header_value(name, value)
    url = _address(base, tool.path, arguments).extend_query(query)
    return _Request(method, url, headers, body if body or method in _WITH_BODY else None)


def _server(tool: Tool, env: Mapping[str, str]) -> str:
    text = _VARIABLE.sub(lambda match: _setting(match.group(1), env), tool.server)
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host or url.user or url.query_string or url.fragment:
        raise Refused("server-invalid", f"{tool.name}: the server must be a plain http(s) address")
    return text.rstrip("/")


def _setting(name: str, env: Mapping[str, str]) -> str:
    value = env.get(name)
    if not value:
        raise Refused("setting-missing", f"set {name} in the environment of the executor")
    return value


def _address(base: str, path: str, arguments: Mapping[str, Json]) -> URL:
    def fill(match: re.Match[str]) -> str:
        value = arguments.get(match.group(1))
        text = "" if value is None else _texts(value)[0] if not isinstance(value, list | dict) else ""
        if text in ("", ".", ".."):
            raise Refused("arguments-invalid", f"{match.group(1)} cannot stand in an address")
        return quote(text, safe="")

    return URL(f"{base}/{_HOLE.sub(fill, path).lstrip('/')}", encoded=True)


def _texts(value: Json) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, dict):
        return [json.dumps(value, ensure_ascii=False)]
    return [] if value is None else [str(value)]


def _header_value(name: str, value: Json) -> str:
    text = ",".join(_texts(value))
    if not text.isprintable() or not text.isascii():
        raise Refused("arguments-invalid", f"{name} cannot stand in a header")
    return text


def _outcome(tool: Tool, response: aiohttp.ClientResponse, body: bytes | None) -> Outcome:
    status, wait_s = response.status, _retry_after(response)
    parsed, readable = _parse(body)
    evidence = _evidence(tool, parsed, response)
    if 200 <= status < 300:
        wrong = problem(parsed, tool.output) if readable else "is not JSON" if body is not None else "is too large"
        if wrong is None:
            return Outcome(came=Came.DONE, output=as_object(parsed), evidence=evidence)
        return Outcome(
            came=Came.UNREADABLE, reason="bad-answer", error=f"the answer of {tool.name}: {wrong}", evidence=evidence
        )
    output = parsed if readable and isinstance(parsed, dict) else {}
    reason, error = _refusal(status, output)
    came = Came.REJECTED
    if status == 429:
        came = Came.NOT_SENT
    elif status >= 500 or status in _IN_DOUBT or (status == 409 and wait_s is not None):
        came = Came.UNKNOWN
    return Outcome(came=came, output=output, reason=reason, error=error, evidence=evidence, wait_s=wait_s)


def _parse(body: bytes | None) -> tuple[Any, bool]:
    if body is None:
        return None, False
    if not body.strip():
        return {}, True
    try:
        return json.loads(body, parse_constant=_no_constant), True
    except (ValueError, RecursionError):
        return None, False


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refusal(status: int, output: Mapping[str, Any]) -> tuple[str, str]:
    """(code, text) of an answer that is no success."""
    if 300 <= status < 400:
        return "redirect", "the server points elsewhere, and redirects are not followed"
    detail = output.get("detail")
    inner = detail if isinstance(detail, dict) else output
    code = inner.get("code") or inner.get("reason")
    text = inner.get("message") or inner.get("error") or detail or f"HTTP {status}"
    return (one_line(code, 60) if isinstance(code, str) else f"http-{status}"), one_line(text, 300)


def _evidence(tool: Tool, parsed: Any, response: aiohttp.ClientResponse) -> str | None:
    found = at_path(parsed, tool.evidence) if tool.evidence else None
    found = found or response.headers.get("X-Request-Id")
    return one_line(found) if isinstance(found, str | int) else None


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    raw = response.headers.get("Retry-After", "")
    return float(raw) if raw.isdigit() else None
