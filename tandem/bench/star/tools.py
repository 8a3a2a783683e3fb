"""The systems behind STAR's APIs: the recorded return for exactly the recorded call, else an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tandem.bench.star.convert import writes
from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, Query, normalise

NOTHING = {"Message": "There is nothing recorded for this call."}


@dataclass
class Call:
    """A call that the platform made."""

    api: str
    request_type: str
    params: dict[str, str]
    key: str  # the effect's id
    unsafe: bool  # a write without a required value


@dataclass
class Systems:
    """Answers calls, and records them."""

    apis: Mapping[str, Api]
    returns: dict[tuple[str, str, frozenset[tuple[str, str]]], dict[str, Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def record(self, dialogues: Iterable[Dialogue]) -> None:
        """Take the returns of these dialogues."""
        for dialogue in dialogues:
            for query in dialogue.queries:
                self.returns.setdefault(self._key(query), query.item)

    def _key(self, query: Query) -> tuple[str, str, frozenset[tuple[str, str]]]:
        api = self.apis.get(query.api)
        told = {name: value for name, value in query.params.items() if api is None or not api.is_free_text(name)}
        return query.api, query.request_type, frozenset(told.items())

    async def answer(self, request: web.Request) -> web.Response:
        name, kind = request.match_info["api"], request.match_info["kind"].strip("-")
        params = {key: normalise(value) for key, value in (await request.json()).items()}
        api = self.apis[name]
        missing = api.required - {REQUEST_TYPE} - params.keys()
        effect = request.headers.get("X-Request-Id", "")
        self.calls.append(Call(name, kind, params, effect, bool(missing) and writes(api, kind)))
        found = self.returns.get(self._key(Query(name, kind, params)))
        if found is None:
            return web.json_response(NOTHING, status=404)
        return web.json_response({key: value for key, value in found.items() if key != "APIName"})


@asynccontextmanager
async def serving(systems: Systems) -> AsyncIterator[str]:
    """The systems on a free port of this machine. Yields the URL."""
    app = web.Application()
    app.router.add_post("/call/{api}/{kind}", systems.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
