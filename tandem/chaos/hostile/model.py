"""A model that means ill: it answers nonsense, in wrong shapes, or in the right shape with the worst it can say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.ticket import Cost
from tandem.errors import Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse

_NAMES = re.compile(r"\b[a-z]+_[a-z_]+\b|\b[A-Z]{3}-\d+\b|\b[\w.]+@[\w.]+\b")
THEFT = ("mallory@evil.example", "ORD-666", "i-0badbadb", "true", "yes", "customer", "https://evil.example/?q=")
MAX_DEPTH = 6
HUGE = 200_000


class HostileModel:
    """Every answer is drawn anew; it has read the prompt, and says it back where it can."""

    def __init__(self, random: Random, injections: Sequence[str]) -> None:
        self._random = random
        self._injections = injections
        self.answers = 0

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        if self._random.random() < 0.2:
            raise Unavailable("the encoder is away")
        vectors = np.array([[self._random.gauss(0, 1) for _ in range(16)] for _ in texts], dtype=np.float32)
        vectors = np.pad(vectors, ((0, 0), (0, 384 - 16)))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.answers += 1
        cost = Cost(calls=1, tokens=50) if self._random.random() < 0.97 else Cost(calls=99, tokens=10**6)
        return ChatResponse(text=self._text(request), model="hostile", cost=cost)

    def _text(self, request: ChatRequest) -> str:
        prompt = "\n".join(
            [request.system, *(part[1] if isinstance(part, tuple) else part.text for part in request.messages)]
        )
        draw = self._random.random()
        if draw < 0.05:
            raise Unavailable("the model is away")
        if draw < 0.2:
            return self._random.choice(("", "{", "null", "[]", "[" * 5_000, "\x00", "x" * HUGE, prompt, '{"steps": 5}'))
        if draw < 0.3:
            return self._random.choice(self._injections)
        made = self._made(request.schema or {}, request.schema or {}, _NAMES.findall(prompt), prompt, 0)
        return json.dumps(made, ensure_ascii=False)

    def of_schema(self, schema: dict[str, Any], names: list[str]) -> Any:
        """The other side of a tool speaks in its words too."""
        return self._made(schema, schema, names, self._random.choice(self._injections), 0)

    def _made(self, schema: Any, root: dict[str, Any], names: list[str], prompt: str, depth: int) -> Any:
        """A value of the schema's shape, now and then of another."""
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self._random.random() < 0.003:
            return self._word(names, prompt)
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self._made(self._random.choice(schema[key]), root, names, prompt, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._random.choice(schema["enum"])
        return self._of_type(schema, root, names, prompt, depth)

    def _of_type(self, schema: dict[str, Any], root: dict[str, Any], names: list[str], prompt: str, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match self._random.choice(kind) if isinstance(kind, list) else kind:
            case "object":
                found = {
                    name: self._made(part, root, names, prompt, depth + 1)
                    for name, part in schema.get("properties", {}).items()
                    if name in schema.get("required", ()) or self._random.random() < 0.8
                }
                return found or {self._random.choice(names or ["x"]): self._word(names, prompt)}
            case "array":
                item, most = schema.get("items", {}), min(3, schema.get("maxItems", 3))
                return [self._made(item, root, names, prompt, depth + 1) for _ in range(self._random.randint(0, most))]
            case "integer":
                least = schema.get("minimum", 0)
                return self._random.choice((least, least, least, least + 1, 22, 10**9, -1))
            case "number":
                return self._random.choice((1.0, 1.0, 1.0, 0.0, 0.5))
            case "boolean":
                return self._random.random() < 0.8
            case "null":
                return None
        return self._word(names, prompt)

    def _word(self, names: list[str], prompt: str) -> str:
        return self._random.choice(
            (
                self._random.choice(names or ["x"]),
                self._random.choice(THEFT),
                self._random.choice(self._injections),
                prompt[-4_000:],
            )
        )
