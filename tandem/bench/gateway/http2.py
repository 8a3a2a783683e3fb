"""As much HTTP/2 as gRPC calls need: fixed headers, none remembered. It too must cost less than what is measured."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tandem.errors import Unavailable

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
HEAD = 9
"""Bytes before a frame's content; PREFIX: before a gRPC message's."""

PREFIX = 5
WINDOW, LARGEST_WINDOW = 65_535, (1 << 31) - 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_TABLE, NO_PUSH, STREAM_WINDOW = (1, 0), (2, 0), (4, LARGEST_WINDOW)
POST, PLAIN = b"\x83", b"\x86"  # `:method: POST` and `:scheme: http` in HPACK's fixed table


@dataclass(slots=True)
class Called:
    """What came back: the messages as bytes, and when the first was there, by time.perf_counter()."""

    ended: asyncio.Future[None]
    messages: list[bytes] = field(default_factory=list)
    first_at: float = 0.0
    rest: bytes = b""
    told: bytes = b""  # headers as they came; a refusal's reason can be read in them

    def add(self, data: bytes) -> None:
        self.first_at = self.first_at or time.perf_counter()
        data = self.rest + data
        while len(data) >= PREFIX and len(data) >= (end := PREFIX + int.from_bytes(data[1:PREFIX], "big")):
            self.messages.append(data[PREFIX:end])
            data = data[end:]
        self.rest = data


class Channel(asyncio.Protocol):
    """One connection for many calls at once, as a gRPC channel is."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._fields = {
            ":authority": f"127.0.0.1:{port}",
            "content-type": "application/grpc",
            "te": "trailers",
            "authorization": f"Bearer {token}",
            "grpc-timeout": "30S",
        }
        self._heads: dict[str, bytes] = {}
        self._transport: asyncio.Transport | None = None
        self._opening = asyncio.Lock()
        self._calls: dict[int, Called] = {}
        self._next = 1
        self._rest = b""
        self._room = WINDOW
        self._held: deque[tuple[bytes, bytes]] = deque()

    async def call(self, method: str, message: bytes, more: bytes = b"") -> Called:
        """`more`: headers of this call alone. Raises Unavailable when there is no answer."""
        async with self._opening:
            if self._transport is None or self._transport.is_closing():
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
        number, self._next = self._next, self._next + 2
        called = self._calls[number] = Called(asyncio.get_running_loop().create_future())
        self._held.append((frame(HEADERS, END_HEADERS, number, self._head(method) + more), body_of(number, message)))
        self._write()
        await called.ended
        if not called.messages:
            raise Unavailable(f"{method}: {called.told.decode('latin-1')!r}")
        return called

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        settings = b"".join(struct.pack(">HI", *setting) for setting in (NO_TABLE, NO_PUSH, STREAM_WINDOW))
        window = (LARGEST_WINDOW - WINDOW).to_bytes(4, "big")
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for called in self._calls.values():
            if not called.ended.done():
                called.ended.set_exception(Unavailable(f"port {self._port} ended the connection"))
        self._calls.clear()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= HEAD and len(data) - at >= (size := HEAD + int.from_bytes(data[at : at + 3], "big")):
            number = int.from_bytes(data[at + 5 : at + HEAD], "big")
            self._frame(data[at + 3], data[at + 4], number, data[at + HEAD : at + size])
            at += size
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, number: int, content: bytes) -> None:
        called = self._calls.get(number)
        if called is not None:
            if kind == DATA:
                called.add(content)
            elif kind == HEADERS:
                called.told = content
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
                del self._calls[number]
                if not called.ended.done():
                    called.ended.set_result(None)
        elif kind in (SETTINGS, PING) and not flags & ACK and self._transport is not None:
            self._transport.write(frame(kind, ACK, 0, content if kind == PING else b""))
        elif kind == WINDOW_UPDATE and number == 0:
            self._room += int.from_bytes(content, "big")
            self._write()
        elif kind == GOAWAY:
            self.close()

    def _write(self) -> None:
        """What finds no room at the server waits for it."""
        while self._held and len(self._held[0][1]) - HEAD <= self._room and self._transport is not None:
            head, body = self._held.popleft()
            self._room -= len(body) - HEAD
            self._transport.write(head + body)

    def _head(self, method: str) -> bytes:
        head = self._heads.get(method)
        if head is None:
            fields = {":path": method} | self._fields
            head = self._heads[method] = POST + PLAIN + b"".join(literal(*each) for each in fields.items())
        return head


def frame(kind: int, flags: int, number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + content


def body_of(number: int, message: bytes) -> bytes:
    return frame(DATA, END_STREAM, number, b"\0" + len(message).to_bytes(4, "big") + message)


def literal(name: str, value: str) -> bytes:
    """A header that no table remembers."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    """At most 126 bytes."""
    return bytes((len(text),)) + text.encode("ascii")
