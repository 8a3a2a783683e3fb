"""The business's systems over HTTP: one path per operation, each conversation with records of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import web

from tandem.bench.tau.data import Arguments
from tandem.bench.tau.office import Office
from tandem.bench.tau.records import Refusal

OfficeOf: TypeAlias = Callable[[str], Awaitable[Office | None]]
"""The session of a request, by its X-Request-Id; None if nobody knows the request."""

_STATUS = {"not-found": 404, "unknown-operation": 404, "arguments-invalid": 422}
_OTHERWISE = 409


async def _arguments(request: web.Request) -> Arguments:
    try:
        found = await request.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal("arguments-invalid", "The body is not a JSON object")
    return found


@asynccontextmanager
async def serving(office_of: OfficeOf, port: int = 0) -> AsyncIterator[str]:
    """The systems on a port of this machine, a free one if none is given. Yields the URL."""

    async def answer(request: web.Request) -> web.Response:
        office = await office_of(request.headers.get("X-Request-Id", ""))
        if office is None:
            return web.json_response({"code": "no-session", "message": "Whose request is this?"}, status=404)
        key = request.headers.get("Idempotency-Key", "")
        try:
            found = office.call(request.match_info["operation"], await _arguments(request), key)
        except Refusal as refusal:
            problem = {"code": refusal.code, "message": refusal.message}
            return web.json_response(problem, status=_STATUS.get(refusal.code, _OTHERWISE))
        return web.json_response(found)

    app = web.Application()
    app.router.add_post("/{domain}/{operation}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
