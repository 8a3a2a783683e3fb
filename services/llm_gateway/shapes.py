"""Structured output: answers are held to the JSON Schema that was asked for, whatever the replica promises."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from services.llm_gateway.calls import WrongShape
from services.llm_gateway.notation import Beyond, notation
from tandem.errors import InvalidError
from tandem.shape import Shape

MAX_COMPILED = 256

AS_TYPE = "Answer with one JSON object and nothing else. Its fields and their types, as TypeScript has them:\n"
AS_SCHEMA = "Answer with one JSON object of this JSON Schema, and with nothing else:\n"
"""Where the schema has parts that no type says."""


class Shapes:
    """Compiled schemas, the least used forgotten."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Shape] = OrderedDict()

    def check(self, text: str, schema: dict[str, Any]) -> None:
        """Raises WrongShape if the text is no JSON of that shape; InvalidError if the schema is none."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise WrongShape("the model's answer is not JSON") from error
        fault = self._shape(schema).departure(found)
        if fault is not None:
            raise WrongShape(f"the model's answer has not the shape it was asked for: {fault}")

    def _shape(self, schema: dict[str, Any]) -> Shape:
        key = json.dumps(schema, sort_keys=True)
        found = self._compiled.get(key)
        if found is None:
            try:
                found = Shape(schema)
            except ValueError as error:
                raise InvalidError(f"the schema is no JSON Schema: {error}") from error
            self._compiled[key] = found
            if len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return found


def in_words(messages: list[dict[str, Any]], schema: dict[str, Any]) -> dict[str, Any]:
    """What a body says of an answer's shape where the endpoint knows no schemas: it stands at the end of the system prompt."""
    try:
        told = AS_TYPE + notation(schema)
    except Beyond:
        told = AS_SCHEMA + json.dumps(schema, ensure_ascii=False)
    first, *rest = messages
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        first = {**first, "content": f"{first['content']}\n\n{told}"}
    else:
        first, rest = {"role": "system", "content": told}, messages
    return {"messages": [first, *rest], "response_format": {"type": "json_object"}}
