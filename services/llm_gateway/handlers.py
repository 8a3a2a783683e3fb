"""The gateway itself, and how it is called over gRPC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from services.llm_gateway.chat import Chat
from services.llm_gateway.embeddings import Embeddings
from tandem import telemetry
from tandem.errors import InvalidError, Unavailable
from tandem.kill_points import Kill, go_on
from tandem.rpc.ports import ChatRequest, ChatResponse, Llm
from tandem.rpc.server import answer
from tandem.rpc.v1 import llm_pb2, llm_pb2_grpc
from tandem.telemetry import Attribute, SpanName

MODEL = "all-MiniLM-L6-v2"


class Gateway:
    """The Llm port, served here. Without a chat endpoint `chat` is Unavailable, and agents go on with their rules."""

    def __init__(self, embeddings: Embeddings, chat: Chat | None) -> None:
        self._embeddings = embeddings
        self._chat = chat

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        with telemetry.span(f"{SpanName.EMBEDDINGS} {MODEL}", attributes={Attribute.MODEL: MODEL}):
            return await self._embeddings.embed(texts)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        if self._chat is None:
            raise Unavailable("no model is configured: set TANDEM_LLM_BASE_URL and TANDEM_LLM_MODEL")
        return await self._chat.chat(request, deadline)

    async def warm(self) -> None:
        """Load the encoder now rather than at the first call."""
        await self._embeddings.warm()

    async def close(self) -> None:
        await self._embeddings.close()
        if self._chat is not None:
            await self._chat.close()


class LlmServicer(llm_pb2_grpc.LlmGatewayServicer):
    """gRPC in front of the Llm port."""

    def __init__(self, llm: Llm, kill: Kill = go_on) -> None:
        self._llm = llm
        self._kill = kill

    async def Embed(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        async def work(left: float) -> Any:
            self._kill("llm_gateway.1")
            vectors = await self._llm.embed(list(request.texts), left)
            self._kill("llm_gateway.2")
            return llm_pb2.EmbedReply(dimensions=vectors.shape[1], vectors=vectors.astype("<f4").tobytes())

        return await answer(context, work)

    async def Chat(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        async def work(left: float) -> Any:
            self._kill("llm_gateway.1")
            reply = await self._llm.chat(_chat_request(request), left)
            self._kill("llm_gateway.2")
            cost = reply.cost
            return llm_pb2.ChatReply(
                text=reply.text, model=reply.model, calls=cost.calls, tokens=cost.tokens, micros=cost.micros
            )

        return await answer(context, work)


def _chat_request(request: Any) -> ChatRequest:
    """Raises InvalidError if the schema is no JSON object."""
    try:
        schema = json.loads(request.schema_json) if request.schema_json else None
    except json.JSONDecodeError as error:
        raise InvalidError("schema_json is not JSON") from error
    if schema is not None and not isinstance(schema, dict):
        raise InvalidError("schema_json is not a JSON object")
    return ChatRequest(
        tenant=request.tenant,
        system=request.system,
        messages=tuple((turn.role, turn.text) for turn in request.messages),
        schema=schema,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        interactive=request.interactive,
        grant=request.grant,
    )
