"""Run the cloud's API: as a process of its own, or inside another one's event loop."""

from __future__ import annotations

import asyncio
import contextlib
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
    """The API in this event loop, on a free port if none is given. Yields its base URL."""
    store = Store(db, diagnosis_ms=diagnosis_ms)
    server = _QuietServer(_config(create_app(store), "127.0.0.1", port))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            if serving.done():
                await serving
                raise RuntimeError(f"the cloud API did not start on port {port}; is it in use?")
            await asyncio.sleep(0.01)
        bound = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{bound}"
    finally:
        server.should_exit = True
        await serving
        store.close()


def _config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off")
