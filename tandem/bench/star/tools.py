"""The systems behind STAR's APIs: the recorded return for exactly the recorded call, else an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from tandem.bench.star.convert import SECRET, writes
from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, Query, normalise

NOTHING = {"Message": "There is nothing recorded for this call."}


@dataclass
class Call:
    """A call that the platform made."""

    api: str
    request_type: str
    params: dict[str, str]
    key: str  # the effect's id
    writes: bool
    lacking: bool  # a required value, or any of those that say who the customer is


Key = tuple[str, str, frozenset[tuple[str, str]]]
Whose = Callable[[str], Awaitable[int | None]]


class Systems:
    """Answers calls with what the dialogue recorded for them, and remembers them."""

    def __init__(self, apis: Mapping[str, Api], dialogues: Iterable[Dialogue], whose: Whose) -> None:
        """`whose`: the dialogue that an effect belongs to."""
        self.calls: list[Call] = []
        self._apis = apis
        self._whose = whose
        self._returns = {
            dialogue.id: {self._key(query): query.item for query in dialogue.returns} for dialogue in dialogues
        }

    def _key(self, query: Query) -> Key:
        api = self._apis.get(query.api)
        told = {name: value for name, value in query.params.items() if api is None or not api.is_free_text(name)}
        return query.api, query.request_type, frozenset(told.items())

    async def answer(self, request: web.Request) -> web.Response:
        name, kind = request.match_info["api"], request.match_info["kind"].strip("-").lower()
        params = {key: normalise(value) for key, value in (await request.json()).items()}
        api = self._apis[name]
        effect = request.headers.get("X-Request-Id", "")
        self.calls.append(Call(name, kind, params, effect, writes(api, kind), lacks(api, params)))
        recorded = self._returns.get(await self._whose(effect) or 0, {})
        found = recorded.get(self._key(Query(name, kind, params)))
        if found is None:
            return web.json_response(NOTHING, status=404)
        return web.json_response({key: value for key, value in found.items() if key != "APIName"})


def lacks(api: Api, params: Mapping[str, str]) -> bool:
    """Whether a required value is missing, or every one of those that only the customer knows."""
    secrets = {i["Name"] for i in api.inputs if SECRET.search(i["Name"])}
    return bool(api.required - {REQUEST_TYPE} - params.keys()) or bool(secrets and not secrets & params.keys())


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
