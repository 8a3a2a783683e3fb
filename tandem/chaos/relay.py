"""A TCP relay: what stands behind its address can be changed, and the stream can be held up."""

from __future__ import annotations

import asyncio
import contextlib

CHUNK = 64 * 1024


class Relay:
    """Passes bytes on between those who connect and `target`, a port of the loopback."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._linked, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    def stall(self) -> None:
        """Nothing is passed on any more; whoever sends notices nothing."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def cut(self) -> None:
        """End every connection; what was held up is lost."""
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _linked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._pass(reader, far_writer))
                        both.create_task(self._pass(far_reader, writer))
                except* OSError:
                    pass
                finally:
                    far_writer.close()
        except asyncio.CancelledError:
            pass  # `cut`
        finally:
            self._links.discard(task)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side is gone: so is the other
