"""Posting over aiohttp's connections, without the rest of its client.

That makes the request, its headers and a task to write it anew for each call. A replica is asked the same way each time: here
that is made once, and a call is a write and a read. Connections, TLS, limits, the parser and its errors are aiohttp's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from multidict import CIMultiDictProxy
from yarl import URL

READ_BYTES = 256 * 1024
OF_A_BODY = ("Content-Length", "Transfer-Encoding")


class Place:
    """A URL that is posted to with the same headers each time."""

    def __init__(self, url: URL, headers: Mapping[str, str]) -> None:
        self.request = aiohttp.ClientRequest("POST", url, headers=headers)
        lines = [f"POST {url.raw_path_qs} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.request.headers.items() if name not in OF_A_BODY]
        self.head = "".join(f"{line}\r\n" for line in lines).encode()


class Connector(aiohttp.TCPConnector):
    """Takes the connection that was free last, where aiohttp takes the one that was free first: as many are in use as there are
    calls at once, what belongs to them is still in the processor's caches, and the others are closed when they have idled."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        free = self._conns.get(key)
        if free is not None:
            free.rotate(1)
        return await super()._get(key, traces)


class Answer:
    """An answer whose head is there. Closed before its end, it ends the call at the server."""

    def __init__(
        self, status: int, headers: CIMultiDictProxy[str], content: aiohttp.StreamReader, on: Connection
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._connection = on

    def close(self) -> None:
        if self.content.is_eof():
            self._connection.release()
        else:
            self._connection.close()


async def post(
    connector: aiohttp.BaseConnector, place: Place, body: bytes, timeout: aiohttp.ClientTimeout, more: bytes = b""
) -> Answer:
    """`more`: headers of this call alone, each with its line's end. Raises aiohttp.ClientError."""
    connection = await connector.connect(place.request, [], timeout)
    try:
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, read_bufsize=READ_BYTES)
        protocol.transport.write(b"%b%bContent-Length: %d\r\n\r\n%b" % (place.head, more, len(body), body))
        message, content = await protocol.read()
        while message.code < 200:  # noted, says HTTP of 1xx, and the answer is still to come
            message, content = await protocol.read()
    except HttpProcessingError as error:
        connection.close()
        raise aiohttp.ClientPayloadError(error.message) from error
    except BaseException:
        connection.close()
        raise
    return Answer(message.code, message.headers, content, connection)
