"""A JSON Schema as TypeScript has types: less than half of the text, and nothing that a small model gives back as its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_PARTS = 5_000
"""Of a schema that is written out; one that refers to itself, or many times to a large part, has more."""

MAX_DEPTH = 32
BEYOND = {
    "allOf", "not", "if", "then", "else", "prefixItems", "contains", "patternProperties", "propertyNames", "dependentSchemas",
    "$dynamicRef",
}  # fmt: skip
"""Keywords that shape an answer and have no form here."""

_PLAIN = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
    None: "any",
}
_BOUNDS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)


class Beyond(ValueError):
    """The schema has a part that has no form here, or too many parts."""


def notation(schema: Mapping[str, Any]) -> str:
    """One line; bounds and descriptions stand behind a type as comments. Raises Beyond."""
    return _Writer(schema.get("$defs") or {}).type(schema, 0)


class _Writer:
    def __init__(self, defs: Mapping[str, Any]) -> None:
        self._defs = defs
        self._left = MAX_PARTS

    def type(self, schema: Any, depth: int) -> str:
        self._left -= 1
        if schema is True:
            return "any"
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH or self._left < 0 or BEYOND & schema.keys():
            raise Beyond
        form = self._form(schema, depth + 1)
        told = ", ".join(_told(schema)).replace("*/", "* /")
        return f"{form} /* {told} */" if told else form

    def _form(self, schema: Mapping[str, Any], depth: int) -> str:
        match schema:
            case {"$ref": str(ref)}:
                return self.type(self._defs.get(ref.removeprefix("#/$defs/")), depth)
            case {"const": value}:
                return _literal(value)
            case {"enum": [*values]}:
                return " | ".join(map(_literal, values))
            case {"anyOf": [*parts]} | {"oneOf": [*parts]}:
                return " | ".join(self.type(part, depth) for part in parts)
        return " | ".join(self._kind(kind, schema, depth) for kind in _kinds(schema))

    def _kind(self, kind: Any, schema: Mapping[str, Any], depth: int) -> str:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return f"Array<{self.type(schema.get('items', True), depth)}>"
        if kind not in _PLAIN:
            raise Beyond
        return _PLAIN[kind]

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        """With names in quotes: where they stood bare, models answered so, and that is no JSON."""
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        fields = [
            f"{_literal(name)}{'' if name in required else '?'}: {self.type(part, depth)}"
            for name, part in properties.items()
        ]
        more = schema.get("additionalProperties", not properties)
        if more is not False:
            fields.append(f"[name: string]: {self.type(more, depth)}")
        return "{ " + ", ".join(fields) + " }" if fields else "{}"


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _kinds(schema: Mapping[str, Any]) -> list[Any]:
    kinds = schema.get("type", "object" if "properties" in schema else None)
    return kinds if isinstance(kinds, list) else [kinds]


def _told(schema: Mapping[str, Any]) -> Iterator[str]:
    if "integer" in _kinds(schema):
        yield "whole"
    for least, most, what in _BOUNDS:
        low, high = schema.get(least), schema.get(most)
        if low is not None and high is not None:
            yield f"{low} to {high}{what}"
        elif high is not None:
            yield f"at most {high}{what}"
        elif low is not None:
            yield "not empty" if what and low == 1 else f"at least {low}{what}"
    if "pattern" in schema:
        yield f"matches {schema['pattern']}"
    if schema.get("description"):
        yield str(schema["description"])
