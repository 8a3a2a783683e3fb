"""Tasks for the planner's worker, and a model that says what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.tasks import Interpret
from tandem.contracts.ticket import Choice, Cost, Question, Route, TypedValue
from tandem.errors import Unavailable
from tandem.packs.model import Pack, Slot, Tool
from tandem.rpc.ports import ChatRequest, ChatResponse

PACK = Pack(
    name="p",
    hash="h",
    root=".",
    slots={
        "order": Slot(name="order", pattern=r"O-\d+", label={"en": "order number"}),
        "port": Slot(name="port", type="integer"),
        "code": Slot(name="code", pattern=r"\d{6}", sensitive=True),
        "low": Slot(name="low", type="integer"),
        "high": Slot(name="high", type="integer"),
    },
    tools={
        "find_order": Tool(
            name="find_order",
            description="Find an order",
            tool_class="read",
            parameters={"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}},
        ),
        "cancel": Tool(
            name="cancel",
            tool_class="unsafe",
            parameters={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
        ),
    },
)

BASE: dict[str, Any] = {
    "id": "t", "tenant": "acme", "conversation": "c", "ticket": "k", "pack": "p", "step": "s1", "attempt": 1, "turn": 1,
    "deadline": 10,
}  # fmt: skip

MAILBOXES = (
    Choice(id="mb-1", label="Basic mailbox, expired", value={"id": "mb-1"}),
    Choice(id="mb-2", label="Business mailbox, pending renewal", value={"id": "mb-2"}),
    Choice(id="mb-3", label="企业邮箱", value={"id": "mb-3"}),
)


def question(kind: str = "consent", id: str = "q1", **fields: Any) -> Question:
    return Question.model_validate(
        {"id": id, "step": "s1", "plan": "p1", "kind": kind, "text": "?", "asked_at": 1, "turn": 1, **fields}
    )


def interpret_task(text: str, *questions: Question, values: dict[str, Any] | None = None, **fields: Any) -> Interpret:
    found = tuple(TypedValue(slot=name, value=value, text=str(value)) for name, value in (values or {}).items())
    route = fields.pop("route", Route())
    return Interpret(**BASE, text=text, values=found, route=route, questions=questions, **fields)


class FakePacks:
    def get(self, name: str, hash: str | None = None) -> Pack:
        return PACK


class FakeMemory:
    """Knows what it is given; of nothing, it is away."""

    def __init__(self, known: Sequence[dict[str, Any]] | None = None, tickets: Sequence[dict[str, Any]] = ()) -> None:
        self.known = known
        self.tickets = tickets

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        if self.known is None:
            raise Unavailable("memory is late")
        return {"facts": {}, "tickets": list(self.tickets), "known": list(self.known)}


class FakeLlm:
    """Without an answer it is unavailable."""

    def __init__(self, text: str | None = None, vectors: Sequence[Sequence[float]] | None = None) -> None:
        self.text = text
        self.vectors = vectors
        self.asked: list[ChatRequest] = []

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        if self.vectors is None:
            raise Unavailable("no embeddings")
        return np.asarray(self.vectors, dtype=np.float32)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        if self.text is None:
            raise Unavailable("no model")
        return ChatResponse(text=self.text, model="m", cost=Cost(calls=1, tokens=7))
