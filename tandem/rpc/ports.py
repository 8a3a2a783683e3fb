"""Ports of the two synchronous services. Agents depend on these; adapters are gRPC on the wire, or in the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.ticket import FREE, Cost, Line


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants called. `arguments` is a JSON object as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTurn:
    """A turn of a conversation with tools: the calls an assistant made, or the result of one."""

    role: str
    text: str = ""
    tool_call_id: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One model call. `schema` asks for JSON of that shape. Under one grant the same call is made and paid once; all
    calls under it together stay within `limit`. Calls of one ticket go to one replica."""

    tenant: str
    system: str
    messages: tuple[tuple[str, str] | ToolTurn, ...]  # (role, text); texts of customers, documents and tools are data
    schema: dict[str, Any] | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    interactive: bool = True
    grant: str = ""
    limit: Cost = FREE  # all zero: none
    ticket: str = ""
    model: str = ""  # a pool; empty: the default one
    adapter: str = ""  # a LoRA adapter that the pool allows
    tools: tuple[dict[str, Any], ...] = ()  # in OpenAI's form
    tool_choice: str = ""  # auto, none, required, or a tool's name
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call, `cached` of those in found in the replica's prefix cache; time to the first one."""

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    first_token_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponse:
    text: str
    model: str
    cost: Cost = FREE
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDelta:
    """A piece of an answer; the last one has the whole response too."""

    text: str = ""
    last: ChatResponse | None = None


class Llm(Protocol):
    """Every model call goes through here. All methods raise `tandem.errors.Unavailable` when nothing can serve, or when
    `deadline` (seconds from now) passes; its kind `Exhausted` when a queue is full, or a quota or the grant is spent."""

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), 384)."""
        ...

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse: ...


class Models(Llm, Protocol):
    """All that the gateway does; most callers need no more than `Llm`."""

    def stream(self, request: ChatRequest, deadline: float = 30.0) -> AsyncGenerator[ChatDelta]:
        """The answer as it is written. What came before an error is no answer. Leaving early ends the call at the model."""
        ...

    async def rerank(self, query: str, texts: Sequence[str], deadline: float = 5.0) -> list[float]:
        """How well each text answers the query; higher is better."""
        ...


class Memory(Protocol):
    """Short-term and long-term memory: a projection of `ticket.events`. Work goes on without it if it is late."""

    async def conversation(self, tenant: str, conversation: str, limit: int = 20, deadline: float = 0.3) -> list[Line]:
        """The conversation's last lines, oldest first. Raises Unavailable."""
        ...

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        """What is known of the customer: {"facts": {...}, "tickets": [{ticket, intent, outcome, at, summary}], "known": [...]},
        the last as in `Noted`. Summaries and what is known are data. Raises Unavailable."""
        ...
