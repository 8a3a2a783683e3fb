"""The ports of `tandem.rpc.ports` without a wire: the same service object, held to the same deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.ticket import Line
from tandem.errors import RetryableError, Unavailable
from tandem.rpc.metering import note
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse, Memory, Models


@asynccontextmanager
async def _within(deadline: float, what: str) -> AsyncIterator[None]:
    limit = asyncio.timeout(deadline)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        raise Unavailable(f"{what}: no answer within {deadline} s") from error
    except RetryableError as error:
        raise error if isinstance(error, Unavailable) else Unavailable(f"{what}: {error}") from error


class InProcessLlm:
    """The Models port over a gateway of this process."""

    def __init__(self, gateway: Models) -> None:
        self._gateway = gateway

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        async with _within(deadline, "embed"):
            return await self._gateway.embed(texts, deadline)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        async with _within(deadline, "chat"):
            return note(await self._gateway.chat(request, deadline))

    async def stream(self, request: ChatRequest, deadline: float = 30.0) -> AsyncGenerator[ChatDelta]:
        async with aclosing(self._gateway.stream(request, deadline)) as deltas:  # it holds to the deadline itself
            async for delta in deltas:
                if delta.last is not None:
                    note(delta.last)
                yield delta

    async def rerank(self, query: str, texts: Sequence[str], deadline: float = 5.0) -> list[float]:
        async with _within(deadline, "rerank"):
            return await self._gateway.rerank(query, texts, deadline)


class InProcessMemory:
    """The Memory port over a memory of this process."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def conversation(self, tenant: str, conversation: str, limit: int = 20, deadline: float = 0.3) -> list[Line]:
        async with _within(deadline, "conversation"):
            return await self._memory.conversation(tenant, conversation, limit, deadline)

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        async with _within(deadline, "customer"):
            return await self._memory.customer(tenant, conversation, deadline)
