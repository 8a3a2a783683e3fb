"""The ports of `tandem.rpc.ports` over gRPC: a deadline and the service token on every call, failures as Unavailable."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from tandem.contracts.ticket import Cost, Line
from tandem.errors import InvalidError, Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse
from tandem.rpc.v1 import llm_pb2, llm_pb2_grpc, memory_pb2, memory_pb2_grpc
from tandem.telemetry import current_traceparent

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.lb_policy_name", "round_robin"),
)


class _Call(Protocol):
    def __call__(self, request: Any, *, timeout: float, metadata: Any) -> Awaitable[Any]: ...


class _Client:
    """A channel opened on first use, inside the event loop that uses it."""

    def __init__(self, target: str, token: str, stub: Callable[[grpc.aio.Channel], Any]) -> None:
        self._target = target
        self._token = token
        self._make_stub = stub
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def call(self, method: str, request: Any, deadline: float) -> Any:
        """One call. Raises Unavailable, or InvalidError when the server says the request is wrong."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
            self._stub = self._make_stub(self._channel)
        function: _Call = getattr(self._stub, method)
        try:
            return await function(request, timeout=deadline, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            text = f"{self._target} {method}: {error.code().name}: {error.details()}"
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise InvalidError(text) from error
            raise Unavailable(text) from error

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = ("authorization", f"Bearer {self._token}")
        traceparent = current_traceparent()
        return (token, ("traceparent", traceparent)) if traceparent else (token,)

    async def ready(self, timeout: float = 2.0) -> None:
        """Ask the server's health service. Raises Unavailable."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        async with grpc.aio.insecure_channel(self._target) as channel:
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
    """The Llm port over gRPC."""

    def __init__(self, target: str, token: str) -> None:
        self._client = _Client(target, token, llm_pb2_grpc.LlmGatewayStub)

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        reply = await self._client.call("Embed", llm_pb2.EmbedRequest(texts=texts), deadline)
        vectors = np.frombuffer(reply.vectors, dtype="<f4").reshape(len(texts), reply.dimensions)
        return vectors.astype(np.float32, copy=False)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        message = llm_pb2.ChatRequest(
            tenant=request.tenant,
            system=request.system,
            messages=[llm_pb2.ChatTurn(role=role, text=text) for role, text in request.messages],
            schema_json=json.dumps(request.schema) if request.schema is not None else "",
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            interactive=request.interactive,
            grant=request.grant,
        )
        reply = await self._client.call("Chat", message, deadline)
        cost = Cost(calls=reply.calls, tokens=reply.tokens, micros=reply.micros)
        return ChatResponse(text=reply.text, model=reply.model, cost=cost)

    async def ready(self) -> None:
        await self._client.ready()

    async def close(self) -> None:
        await self._client.close()


class GrpcMemory:
    """The Memory port over gRPC."""

    def __init__(self, target: str, token: str) -> None:
        self._client = _Client(target, token, memory_pb2_grpc.MemoryStub)

    async def conversation(self, tenant: str, conversation: str, limit: int = 20, deadline: float = 0.3) -> list[Line]:
        request = memory_pb2.ConversationRequest(tenant=tenant, conversation=conversation, limit=limit)
        reply = await self._client.call("Conversation", request, deadline)
        return [Line(who=line.who, text=line.text, at=line.at) for line in reply.lines]

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        request = memory_pb2.CustomerRequest(tenant=tenant, conversation=conversation)
        reply = await self._client.call("Customer", request, deadline)
        tickets = [
            {"ticket": past.ticket, "intent": past.intent, "outcome": past.outcome, "at": past.at}
            for past in reply.tickets
        ]
        return {"facts": json.loads(reply.facts_json or "{}"), "tickets": tickets}

    async def ready(self) -> None:
        await self._client.ready()

    async def close(self) -> None:
        await self._client.close()
