"""What Kubernetes and Prometheus ask over HTTP: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from tandem.telemetry import metrics_text


class Probes:
    """A small HTTP server. Liveness: the loops move. Readiness: the dependencies answer."""

    def __init__(self, live: Callable[[], dict[str, float]], ready: Callable[[], Awaitable[dict[str, str]]]) -> None:
        """`live` gives the loops' ages in seconds, empty if dead; `ready` gives what is in the way, empty if ready."""
        self._live = live
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        app = web.Application()
        app.add_routes(
            [web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _livez(self, _: web.Request) -> web.Response:
        ages = self._live()
        return web.json_response({"live": bool(ages), "seconds": ages}, status=200 if ages else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        missing = await self._ready()
        return web.json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=metrics_text(), content_type="text/plain", charset="utf-8")
