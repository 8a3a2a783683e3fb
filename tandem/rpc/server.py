"""A gRPC server as a service's component: token, deadlines, health, graceful stop."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tandem import telemetry
from tandem.errors import Exhausted, InvalidError, InvalidSettings, Misshapen, RetryableError
from tandem.rpc.clients import MAX_MESSAGE_BYTES, MISSHAPEN
from tandem.rpc.tls import Tls

logger = logging.getLogger(__name__)

MAX_DEADLINE_S = 120.0


class _Guarded(grpc.GenericRpcHandler):
    """A service behind the platform's token. An interceptor would do the same, and cost a coroutine more for each call."""

    def __init__(self, service: grpc.GenericRpcHandler, token: str) -> None:
        self._service = service
        self._expected = f"Bearer {token}".encode()
        self._refused: Any = grpc.unary_unary_rpc_method_handler(_refuse)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = self._service.service(handler_call_details)
        given = _metadatum(handler_call_details.invocation_metadata, "authorization")
        if handler is None or hmac.compare_digest(str(given).encode(), self._expected):
            return handler
        return self._refused


class _Guarding:
    """A server as `register` sees it: what is added to it is guarded."""

    def __init__(self, server: grpc.aio.Server, token: str) -> None:
        self._server = server
        self._token = token

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers([_Guarded(handler, self._token) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Another way to the same handlers, round the token: not taken."""


async def _refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the service token is missing or wrong")


async def answer(context: grpc.aio.ServicerContext[Any, Any], work: Callable[[float], Awaitable[Any]]) -> Any:
    """Do the work within the caller's deadline; Tandem's errors become status codes.

    `work` is given the seconds left. A call without a deadline is refused.
    """
    left = context.time_remaining()
    if left is None or left > MAX_DEADLINE_S:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"set a deadline of at most {MAX_DEADLINE_S:.0f} s")
        raise AssertionError("abort raises")
    try:
        async with asyncio.timeout(left):
            with telemetry.continued(_traceparent(context)):
                return await work(left)
    except TimeoutError:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "not done within the deadline")
    except Exhausted as error:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)[:500])
    except Misshapen as error:
        paid = ",".join(map(str, error.paid))
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error)[:500], ((MISSHAPEN, paid),))
    except RetryableError as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error)[:500])
    except InvalidError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:500])


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a server listens, and the token its callers must show; with TLS, its certificate."""

    host: str
    port: int
    token: str
    tls: Tls | None = None


def _traceparent(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    found = _metadatum(context.invocation_metadata(), "traceparent")
    return found if isinstance(found, str) else None


def _metadatum(metadata: Any, name: str) -> str | bytes | None:
    """The last of that name."""
    return next((value for key, value in reversed(metadata or ()) if key == name), None)


class GrpcServer:
    """Serves until stopped. `register` adds the servicers; `before` is awaited before the first call is taken, `after`
    once the last is answered."""

    def __init__(
        self,
        listen: Listen,
        register: Callable[[grpc.aio.Server], None],
        services: Sequence[str],
        before: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        if not listen.token:
            raise InvalidSettings("TANDEM_SERVICE_TOKEN is empty: set the same random text for all services")
        self._address = f"{listen.host}:{listen.port}"
        self._token = listen.token
        self._credentials = listen.tls.server() if listen.tls else None
        self._before = before
        self._after = after
        self._register = register
        self._services = ("", *services)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._stopped = asyncio.Event()
        self.port = listen.port

    async def start(self) -> None:
        if self._before is not None:
            await self._before()
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ],
            maximum_concurrent_rpcs=1_000,
        )
        self._register(cast("grpc.aio.Server", _Guarding(server, self._token)))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._credentials is None:
            self.port = server.add_insecure_port(self._address)
        else:
            self.port = server.add_secure_port(self._address, self._credentials)
        await server.start()
        self._server = server
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        logger.info("gRPC server listens", extra={"port": self.port})

    async def run(self) -> None:
        await self._stopped.wait()

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, let calls in flight finish, leave."""
        if self._server is not None:
            await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
            await self._server.stop(grace_s)
            self._server = None
        if self._after is not None:
            await self._after()
        self._stopped.set()

    async def _say(self, status: Any) -> None:
        for name in self._services:
            await self._health.set(name, status)
