"""As much HTTP/1.1 as the load generator and the stub need: theirs must cost less than what is measured."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from tandem.errors import Unavailable

LIMIT = 1 << 20


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """The first line and the headers, their names in lower case."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    return first, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@dataclass(frozen=True, slots=True)
class Answer:
    """`first_at`: when its first piece was there, by time.perf_counter()."""

    status: int
    body: bytes
    first_at: float


class Connection:
    """One call at a time, kept open between them. Raises Unavailable when the server ends it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, head: bytes, body: bytes = b"") -> Answer:
        """`head`: the request's first line and headers, without Content-Length."""
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
        reader, writer = self._open
        try:
            writer.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
            first, headers = await read_head(reader)
            at = time.perf_counter()
            if headers.get("transfer-encoding", "").lower() == "chunked":
                answer, at = await _chunks(reader)
            else:
                answer = await reader.readexactly(int(headers["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.close()
            raise Unavailable(f"port {self._port} ended the connection") from error
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(int(first.split(" ", 2)[1]), answer, at)

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    """The body, and when its first chunk was there."""
    pieces: list[bytes] = []
    first_at = 0.0
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        first_at = first_at or time.perf_counter()
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(pieces), first_at or time.perf_counter()
