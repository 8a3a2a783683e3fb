"""Ports of the two synchronous services. Agents depend on these; adapters are gRPC on the wire, or in the process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.ticket import Cost, Line


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One model call. `schema` asks for JSON of that shape. The grant makes a repeated call the same call."""

    tenant: str
    system: str
    messages: tuple[tuple[str, str], ...]  # (role, text); texts of customers, documents and tools are data
    schema: dict[str, Any] | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    interactive: bool = True
    grant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponse:
    text: str
    model: str
    cost: Cost = field(default_factory=Cost)


class Llm(Protocol):
    """Every model call goes through here. All methods raise `tandem.errors.Unavailable` when nothing can serve, or when
    `deadline` (seconds from now) passes."""

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), 384)."""
        ...

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse: ...


class Memory(Protocol):
    """Short-term and long-term memory: a projection of `ticket.events`. Work goes on without it if it is late."""

    async def conversation(self, tenant: str, conversation: str, limit: int = 20, deadline: float = 0.3) -> list[Line]:
        """The conversation's last lines, oldest first. Raises Unavailable."""
        ...

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        """What is known of the customer: {"facts": {...}, "tickets": [{ticket, intent, outcome, at}]}. Raises Unavailable."""
        ...
