"""Run the cloud's API: as a process of its own, or inside another one's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from examples.cloud_api.app import create_app
from examples.cloud_api.store import Store


class _QuietServer(uvicorn.Server):
    """Leaves signals to whoever owns the event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(db: Path, host: str, port: int, diagnosis_ms: int, customers: int) -> None:
    """Serve until a signal comes."""
    store = Store(db, diagnosis_ms=diagnosis_ms, customers=customers)
    try:
        await uvicorn.Server(_config(create_app(store), host, port)).serve()
    finally:
        store.close()


@asynccontextmanager
async def running(db: Path, port: int = 0, diagnosis_ms: int = 2_000) -> AsyncIterator[str]:
    """The API in this event loop, on a free port if none is given. Yields its base URL. Raises OSError if it is taken."""
    listening = socket.create_server(("127.0.0.1", port))
    store = Store(db, diagnosis_ms=diagnosis_ms)
    server = _QuietServer(_config(create_app(store), "127.0.0.1", port))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started:
            if serving.done():
                await serving
                raise RuntimeError(f"the cloud API did not start on port {port}")
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        store.close()


def _config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off")
