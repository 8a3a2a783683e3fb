"""The gateway itself, and how it is called over gRPC."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from services.llm_gateway.calls import call_of
from services.llm_gateway.chat import Chat
from services.llm_gateway.embeddings import Embeddings
from services.llm_gateway.vectors import Encoders
from tandem import telemetry
from tandem.errors import Unavailable
from tandem.kill_points import Kill, go_on
from tandem.model_pools import Pool
from tandem.rpc.chat_messages import delta_to_wire, request_from_wire, response_to_wire
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse
from tandem.rpc.server import answer
from tandem.rpc.v1 import llm_pb2, llm_pb2_grpc
from tandem.telemetry import Attribute, SpanName

MODEL = "all-MiniLM-L6-v2"
NO_MODEL = "no model is configured: set TANDEM_LLM_POOLS, or TANDEM_LLM_BASE_URL and TANDEM_LLM_MODEL"


class Gateway:
    """The Models port, served here. Without a pool `chat` is Unavailable, and agents go on with their rules."""

    def __init__(self, embeddings: Embeddings, chat: Chat | None) -> None:
        self._embeddings = embeddings
        self._encoders = Encoders(embeddings, chat)
        self._chat = chat

    @property
    def models(self) -> Chat:
        """Raises Unavailable when there is none."""
        if self._chat is None:
            raise Unavailable(NO_MODEL)
        return self._chat

    def pools(self) -> Mapping[str, Pool]:
        return {name: served.pool for name, served in self._chat.pools.items()} if self._chat is not None else {}

    async def embed(self, texts: Sequence[str], deadline: float = 5.0, pool: str = "") -> NDArray[np.float32]:
        model = pool or MODEL
        with telemetry.span(f"{SpanName.EMBEDDINGS} {model}", attributes={Attribute.MODEL: model}):
            return await self._encoders.embed(texts, pool, deadline)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        completion = await self.models.complete(call_of(request, time.monotonic() + deadline))
        return completion.response()

    async def stream(self, request: ChatRequest, deadline: float = 30.0) -> AsyncGenerator[ChatDelta]:
        call = call_of(request, time.monotonic() + deadline, stream=True)
        async with contextlib.aclosing(self.models.stream(call, texts=True)) as pieces:
            async for piece in pieces:
                if piece.last is not None:
                    yield ChatDelta(text=piece.text, last=piece.last.response())
                elif piece.text:
                    yield ChatDelta(text=piece.text)

    async def rerank(self, query: str, texts: Sequence[str], deadline: float = 5.0, pool: str = "") -> list[float]:
        return await self._encoders.rerank(query, texts, pool, deadline)

    async def warm(self) -> None:
        """Load the encoder now rather than at the first call."""
        if self._chat is not None:
            self._chat.watch()
            await self._chat.find()
        await self._embeddings.warm()

    async def close(self) -> None:
        await self._embeddings.close()
        if self._chat is not None:
            await self._chat.close()


class LlmServicer(llm_pb2_grpc.LlmGatewayServicer):
    """gRPC in front of the gateway."""

    def __init__(self, gateway: Any, kill: Kill = go_on) -> None:
        self._gateway = gateway
        self._kill = kill

    async def Embed(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        async def work(left: float) -> Any:
            self._kill("llm_gateway.1")
            pool = {"pool": request.model} if request.model else {}
            vectors = await self._gateway.embed(list(request.texts), left, **pool)
            self._kill("llm_gateway.2")
            return llm_pb2.EmbedReply(dimensions=vectors.shape[1], vectors=vectors.astype("<f4").tobytes())

        return await answer(context, work)

    async def Chat(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        async def work(left: float) -> Any:
            self._kill("llm_gateway.1")
            response = await self._gateway.chat(request_from_wire(request), left)
            self._kill("llm_gateway.2")
            return response_to_wire(response)

        return await answer(context, work)

    async def ChatStream(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:  # noqa: N802
        async def work(left: float) -> None:
            self._kill("llm_gateway.1")
            async with contextlib.aclosing(self._gateway.stream(request_from_wire(request), left)) as deltas:
                async for delta in deltas:
                    await context.write(delta_to_wire(delta))
            self._kill("llm_gateway.2")

        await answer(context, work)

    async def Rerank(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        async def work(left: float) -> Any:
            pool = {"pool": request.model} if request.model else {}
            scores = await self._gateway.rerank(request.query, list(request.texts), left, **pool)
            return llm_pb2.RerankReply(scores=scores)

        return await answer(context, work)
