"""The one HTTP client of the gateway: what a replica answers, or why it does not, as one of a few outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from services.llm_gateway.calls import Failed
from services.llm_gateway.replica import Replica
from services.llm_gateway.sse import Events
from services.llm_gateway.wire import READ_BYTES, Answer, Connector, Place, post
from tandem.errors import InvalidError
from tandem.text import one_line

MAX_CONNECTIONS = 4_096
CONNECT_S = 2.0
IDLE_S = 4.0
"""Shorter than vLLM keeps a connection (5 s): none is used just as it is closed."""

END_S = 0.05
MAX_ANSWER_BYTES = 16 * 1024 * 1024


BUSY_S = 0.25
"""How long a full replica is left alone that does not say how long: vLLM, for one."""

PATIENCE_S = 5.0
"""A caller with less time says nothing of a replica that did not answer in it."""

NEVER = 1e9
"""Seconds beyond which a time limit would be rounded up to a whole one."""


_LIMITS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, ceil_threshold=NEVER)
"""`open` and a stream's own alarm do the waiting."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent to a replica. `headers`: those of every call of its pool; `more`: lines of this one's."""

    body: bytes
    headers: Mapping[str, str]
    more: bytes
    stream: bool


@dataclass(slots=True)
class Opened:
    """An answer that has begun. `first`: its first events if it is streamed, all of it if not."""

    replica: Replica
    answer: Answer
    first: bytes
    events: Events
    first_s: float
    alarm: asyncio.TimerHandle | None = None  # rings at a stream's deadline

    async def more(self) -> bytes:
        """The next events, whole; none at the stream's end. Raises Failed when it is cut off or late."""
        try:
            while chunk := await self.answer.content.readany():
                if events := self.events.whole(chunk):
                    return events
        except TimeoutError as error:
            raise Failed("timeout", f"{self.replica.base} did not finish by the deadline") from error
        except aiohttp.ClientError as error:
            raise Failed("cut", f"{self.replica.base} broke off: {type(error).__name__}") from error
        return b""

    async def end(self) -> None:
        """After the last event: the end follows it, and then the connection can be used again. Not waited for for long."""
        if not self.answer.content.is_eof():
            with contextlib.suppress(TimeoutError, Failed):
                async with asyncio.timeout(END_S):
                    await self.more()

    def close(self) -> None:
        """Ends the call at the replica if it has not ended."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.answer.close()


class Upstream:
    """Opens its connections on first use, in the event loop that uses them."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def open(self, replica: Replica, question: Question, deadline_s: float) -> Opened:
        """Ask a replica, up to its first events. Raises Failed, or InvalidError when it refuses the request."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(deadline_s) as wait:
                replica.waits.add(wait)
                try:
                    return await self._begin(replica, question, deadline_s, began)
                finally:
                    replica.waits.discard(wait)
        except TimeoutError as error:
            fault = replica.silent or deadline_s >= PATIENCE_S
            raise Failed("timeout", f"{replica.base} did not answer in time", fault=fault) from error
        except aiohttp.ClientError as error:
            replica.adapters.clear()
            closed = isinstance(error, aiohttp.ServerDisconnectedError)  # perhaps only an idle connection: once more
            raise Failed(
                "connect", f"{replica.base}: {type(error).__name__}", wait_s=0.0 if closed else None
            ) from error

    async def _begin(self, replica: Replica, question: Question, deadline_s: float, began: float) -> Opened:
        session = self._open_session()
        if replica.place is None:
            replica.place = Place(replica.chat_url, question.headers)
        assert session.connector is not None
        answer = await post(session.connector, replica.place, question.body, _LIMITS, question.more)
        events = Events()
        alarm: asyncio.TimerHandle | None = None
        try:
            await _check_status(replica.base, answer)
            if question.stream:
                left = deadline_s - (time.monotonic() - began)
                alarm = asyncio.get_running_loop().call_later(left, answer.content.set_exception, TimeoutError())
            first = await (_first(answer, events) if question.stream else _whole(answer))
        except BaseException:
            if alarm is not None:
                alarm.cancel()
            answer.close()
            raise
        return Opened(replica, answer, first, events, time.monotonic() - began, alarm)

    async def post(self, url: str, body: Any, headers: Mapping[str, str], timeout_s: float) -> Any:
        """A call that is no chat: JSON in, JSON out (None where there is none). Raises Failed or InvalidError."""
        try:
            async with asyncio.timeout(timeout_s):
                async with self._open_session().post(url, json=body, headers=headers) as response:
                    await _check_status(url, response)
                    raw = await _whole(response)
        except TimeoutError as error:
            raise Failed("timeout", f"{url} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise Failed("connect", f"{url}: {type(error).__name__}") from error
        try:
            return json.loads(raw)
        except ValueError:
            return None

    async def text(self, url: str, timeout_s: float) -> tuple[int, str]:
        """Status and text of a GET. Raises Failed."""
        try:
            async with asyncio.timeout(timeout_s):
                async with self._open_session().get(url) as response:
                    return response.status, await response.text(errors="replace")
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Failed("connect", f"{url}: {type(error).__name__}") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                read_bufsize=READ_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
            )
        return self._session


def key_headers(variable: str, fallback: str = "") -> dict[str, str]:
    """The replicas' key, out of the environment."""
    key = os.environ.get(variable) or fallback
    return {"Authorization": f"Bearer {key}"} if key else {}


async def _check_status(where: str, response: Answer | aiohttp.ClientResponse) -> None:
    status = response.status
    if status == 200:
        return
    if status in (429, 503):
        wait = _seconds(response.headers.get("Retry-After"))
        raise Failed("busy", f"{where}: HTTP {status}", fault=False, wait_s=BUSY_S if wait is None else wait)
    if status in (400, 413, 422):
        told = (await response.content.read(2_000)).decode("utf-8", "replace")
        if "context length" in told:  # the next pool may take more
            raise Failed("too_long", f"{where}: {told[:200]}", fault=False)
        raise InvalidError(f"{where} refuses the request: {told[:200]}")
    raise Failed(f"http_{status // 100}xx", f"{where}: HTTP {status}{await _about(status, response)}")


async def _about(status: int, response: Answer | aiohttp.ClientResponse) -> str:
    """What an operator needs who has set a wrong key, name or address. A refusal of a key may repeat the key: it is not told."""
    if status in (401, 403):
        return ", is its key right?"
    if status != 404:
        return ""
    told = one_line((await response.content.read(2_000)).decode("utf-8", "replace"))
    return f", are its address and the model's name right? It says: {told}"


async def _whole(response: Answer | aiohttp.ClientResponse) -> bytes:
    raw = b""
    while chunk := await response.content.readany():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise Failed("unreadable", "the answer is too long")
    return raw


async def _first(response: Answer, events: Events) -> bytes:
    while chunk := await response.content.readany():
        if whole := events.whole(chunk):
            return whole
    raise Failed("cut", "the stream ended before its first event")


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; its date form is not honoured."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
