"""A model that means ill: it answers nonsense, in wrong shapes, or in the right shape with the worst it can say."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.ticket import Cost
from tandem.errors import Unavailable
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse
from tandem.text import sentences

_NAMES = re.compile(r"\b[a-z]+_[a-z_]+\b|\b[A-Z]{3}-\d+\b|\b[\w.]+@[\w.]+\b")
THEFT = ("mallory@evil.example", "ORD-666", "i-0badbadb", "true", "yes", "customer", "https://evil.example/?q=")
_OFFERED = re.compile(r"^- (\w+) \(.*\n  takes (\{.*\})$", re.MULTILINE)
MAX_DEPTH = 6
HUGE = 200_000
PIECE, MAX_STREAMED = 40, 4_000


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

    async def stream(self, request: ChatRequest, deadline: float = 30.0) -> AsyncGenerator[ChatDelta]:
        """The same, in pieces; sometimes it breaks off."""
        response = await self.chat(request, deadline)
        for at in range(0, min(len(response.text), MAX_STREAMED), PIECE):
            if self._random.random() < 0.01:
                raise Unavailable("cut")
            yield ChatDelta(text=response.text[at : at + PIECE])
        yield ChatDelta(last=response)

    async def rerank(self, query: str, texts: Sequence[str], deadline: float = 5.0) -> list[float]:
        raise Unavailable("the reranker is away")

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
        if draw < 0.9 and "code" in (request.schema or {}).get("properties", {}):
            return json.dumps(self._program(request.system))
        if "citations" in (request.schema or {}).get("properties", {}) and draw < 0.8:
            return self._grounded(prompt)
        made = self._made(request.schema or {}, request.schema or {}, _NAMES.findall(prompt), prompt, 0)
        return json.dumps(made, ensure_ascii=False)

    def _program(self, prompt: str) -> dict[str, Any]:
        """What a program should not do, in the right shape: the offered tools called with what is somebody else's."""
        calls = [self._call(name, takes) for name, takes in _OFFERED.findall(prompt)] or ["look()"]
        one, other = self._random.choice(calls), self._random.choice(calls)
        body = self._random.choice(
            (
                f"return {{'got': {one}}}",
                f"return {{'got': [{one}, {other}], 'as': inputs}}",
                f"for number in range(10**9):\n        {one}",
                f"try:\n        {one}\n    except RuntimeError:\n        return {{'got': {other}}}\n    return {{}}",
                f"return {{'got': [{one} for number in range(50)]}}",
                f"{one}\n    while True: {one}",
                f"{one}\n    return {{'got': [0] * 10**10}}",
                f"import os\n    {one}\n    return dict(os.environ)",
                f"{one}\n    return {{'got': ().__class__.__base__.__subclasses__()}}",
                f"return {{'got': {self._random.choice(self._injections)[:200]!r}, 'as': {one}}}",
            )
        )
        return {"code": f"def main(inputs):\n    {body}\n", "reason": "as asked"}

    def _call(self, name: str, takes: str) -> str:
        try:
            parameters = json.loads(takes)
        except ValueError:  # cut off
            parameters = {}
        values = {str(parameter): self._stolen(about) for parameter, about in parameters.items()}
        return f"{name}({', '.join(f'{parameter}={value!r}' for parameter, value in values.items())})"

    def _stolen(self, about: Any) -> Any:
        kind = about.get("type") if isinstance(about, dict) else None
        if isinstance(about, dict) and about.get("enum"):
            return self._random.choice(about["enum"])
        return self._random.choice((22, 3389)) if kind == "integer" else self._random.choice(THEFT)

    def _grounded(self, prompt: str) -> str:
        """What could pass for an answer: sentences that it was given, its instructions, and what it was told to say."""
        found = sentences(prompt.replace("\\n", "\n"))
        said = [
            *self._random.choices(found, k=3),
            self._random.choice(self._injections),
            *self._random.choices(THEFT, k=1),
        ]
        self._random.shuffle(said)
        return json.dumps({"supported": True, "citations": [1], "text": "\n".join(said)[:1_500]}, ensure_ascii=False)

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
                return self._made(self._one_of(schema[key]), root, names, prompt, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._random.choice(schema["enum"])
        return self._of_type(schema, root, names, prompt, depth)

    def _one_of(self, options: list[Any]) -> Any:
        """Any of them; a program, which there is one kind of beside dozens of tools, more often than that."""
        kinds = [option.get("properties", {}).get("kind", {}) for option in options if isinstance(option, dict)]
        if {"const": "program"} in kinds and self._random.random() < 0.3:
            return options[kinds.index({"const": "program"})]
        return self._random.choice(options)

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
