"""The ports of `tandem.rpc.ports` over gRPC: a deadline and the service token on every call, failures as Unavailable."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from tandem.contracts.inbox import Noted
from tandem.contracts.ticket import Line
from tandem.errors import Exhausted, InvalidError, Misshapen, Unavailable
from tandem.rpc.chat_messages import delta_from_wire, request_to_wire, response_from_wire
from tandem.rpc.metering import note
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse
from tandem.rpc.tls import Tls
from tandem.rpc.v1 import llm_pb2, llm_pb2_grpc, memory_pb2, memory_pb2_grpc
from tandem.telemetry import current_traceparent

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MISSHAPEN = "tandem-misshapen"
"""Trailing metadata of a call that was answered in the wrong shape: calls, tokens and micros paid."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.lb_policy_name", "round_robin"),
)


class _Call(Protocol):
    def __call__(self, request: Any, *, timeout: float, metadata: Any) -> Awaitable[Any]: ...


class _Stream(Protocol):
    def __call__(self, request: Any, *, timeout: float, metadata: Any) -> grpc.aio.UnaryStreamCall[Any, Any]: ...


class _Client:
    """A channel opened on first use, inside the event loop that uses it."""

    def __init__(self, target: str, token: str, tls: Tls | None, stub: Callable[[grpc.aio.Channel], Any]) -> None:
        self._target = target
        self._tls = tls
        self._token = token
        self._make_stub = stub
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def call(self, method: str, request: Any, deadline: float) -> Any:
        """One call. Raises Unavailable, Exhausted, or InvalidError when the server says the request is wrong."""
        function: _Call = getattr(self._open(), method)
        try:
            return await function(request, timeout=deadline, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            raise self._told(method, error) from error

    async def stream(self, method: str, request: Any, deadline: float) -> AsyncGenerator[Any]:
        """The answers of one call; it is cancelled at the server when the reader leaves. Raises as `call` does."""
        function: _Stream = getattr(self._open(), method)
        call = function(request, timeout=deadline, metadata=self._metadata())
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self._told(method, error) from error
        finally:
            call.cancel()

    def _open(self) -> Any:
        if self._channel is None:
            self._channel = self._connect()
            self._stub = self._make_stub(self._channel)
        return self._stub

    def _connect(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        return grpc.aio.secure_channel(self._target, self._tls.client(), options=_OPTIONS)

    def _told(self, method: str, error: grpc.aio.AioRpcError) -> Exception:
        details = error.details() or ""
        text = f"{self._target} {method}: {error.code().name}: {details}"
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidError(text)
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Exhausted(details.partition(":")[0], text)
        told = next((str(value) for name, value in error.trailing_metadata() or () if name == MISSHAPEN), None)
        if told is None:
            return Unavailable(text)
        calls, tokens, micros = map(int, told.split(","))
        return Misshapen(text, (calls, tokens, micros))

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = ("authorization", f"Bearer {self._token}")
        traceparent = current_traceparent()
        return (token, ("traceparent", traceparent)) if traceparent else (token,)

    async def ready(self, timeout: float = 2.0) -> None:
        """Ask the server's health service. Raises Unavailable."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        async with self._connect() as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
            except grpc.aio.AioRpcError as error:
                raise Unavailable(f"{self._target}: {error.code().name}") from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable(f"{self._target} is not serving")

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


class GrpcLlm:
    """The Models port over gRPC."""

    def __init__(self, target: str, token: str, tls: Tls | None = None) -> None:
        self._client = _Client(target, token, tls, llm_pb2_grpc.LlmGatewayStub)

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        reply = await self._client.call("Embed", llm_pb2.EmbedRequest(texts=texts), deadline)
        vectors = np.frombuffer(reply.vectors, dtype="<f4").reshape(len(texts), reply.dimensions)
        return vectors.astype(np.float32, copy=False)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        return note(response_from_wire(await self._client.call("Chat", request_to_wire(request), deadline)))

    async def stream(self, request: ChatRequest, deadline: float = 30.0) -> AsyncGenerator[ChatDelta]:
        async for delta in self._client.stream("ChatStream", request_to_wire(request), deadline):
            found = delta_from_wire(delta)
            if found.last is not None:
                note(found.last)
            yield found

    async def rerank(self, query: str, texts: Sequence[str], deadline: float = 5.0) -> list[float]:
        reply = await self._client.call("Rerank", llm_pb2.RerankRequest(query=query, texts=texts), deadline)
        return list(reply.scores)

    async def ready(self) -> None:
        await self._client.ready()

    async def close(self) -> None:
        await self._client.close()


PAST = ("ticket", "intent", "outcome", "at", "summary")
"""What is told of a past ticket."""


class GrpcMemory:
    """The Memory port over gRPC."""

    def __init__(self, target: str, token: str, tls: Tls | None = None) -> None:
        self._client = _Client(target, token, tls, memory_pb2_grpc.MemoryStub)

    async def conversation(self, tenant: str, conversation: str, limit: int = 20, deadline: float = 0.3) -> list[Line]:
        request = memory_pb2.ConversationRequest(tenant=tenant, conversation=conversation, limit=limit)
        reply = await self._client.call("Conversation", request, deadline)
        return [Line(who=line.who, text=line.text, at=line.at) for line in reply.lines]

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        request = memory_pb2.CustomerRequest(tenant=tenant, conversation=conversation)
        reply = await self._client.call("Customer", request, deadline)
        return {
            "facts": json.loads(reply.facts_json or "{}"),
            "tickets": [{name: getattr(past, name) for name in PAST} for past in reply.tickets],
            "known": [{name: getattr(fact, name) for name in Noted.model_fields} for fact in reply.known],
        }

    async def ready(self) -> None:
        await self._client.ready()

    async def close(self) -> None:
        await self._client.close()
