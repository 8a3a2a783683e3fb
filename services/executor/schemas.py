"""JSON Schemas of tools, checked without ever fetching anything."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

MAX_SCHEMAS = 1_024

_NOTHING: Registry[Any] = Registry()
_compiled: dict[int, tuple[dict[str, Any], Draft202012Validator]] = {}


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Known by identity: a tool's schema is one object as long as its pack is held, and never changes. It is kept with
    its validator, so that no other object can get its id meanwhile."""
    kept = _compiled.get(id(schema))
    if kept is None:
        if len(_compiled) >= MAX_SCHEMAS:
            _compiled.clear()
        kept = _compiled[id(schema)] = (schema, Draft202012Validator(schema, registry=_NOTHING))
    return kept[1]


def problem(value: Any, schema: dict[str, Any]) -> str | None:
    """The first thing wrong with a value, with its place; None if it fits. A schema that cannot be read fits nothing."""
    if not schema:
        return None
    try:
        error = next(_validator(schema).iter_errors(value), None)
    except (SchemaError, Unresolvable, TypeError) as broken:
        return f"its schema cannot be used: {type(broken).__name__}"
    if error is None:
        return None
    where = ".".join(map(str, error.absolute_path)) or "value"
    return f"{where} does not fit {error.validator!r}"
