"""JSON Schemas of tools, checked without ever fetching anything."""

from __future__ import annotations

from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

MAX_SCHEMAS = 1_024

_compiled: dict[int, tuple[dict[str, Any], Draft202012Validator]] = {}


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Known by identity: a tool's schema is one object as long as its pack is held, and never changes. It is kept with
    its validator, so that no other object can get its id meanwhile."""
    kept = _compiled.get(id(schema))
    if kept is None:
        if len(_compiled) >= MAX_SCHEMAS:
            _compiled.clear()
        kept = _compiled[id(schema)] = (schema, Draft202012Validator(schema, offline=True))
    return kept[1]


def problem(value: Any, schema: dict[str, Any]) -> str | None:
    """The first thing wrong with a value, with its place; None if it fits. A schema that cannot be read fits nothing."""
    if not schema:
        return None
    try:
        validator = _validator(schema)
    except ValidationError as broken:
        return f"its schema cannot be used: {broken.message}"
    try:
        if validator.is_valid(value):
            return None
        error = next(validator.iter_errors(value), None)
    except (TypeError, ValueError) as foreign:
        return f"value is not JSON: {type(foreign).__name__}"
    if error is None:
        return None
    where = ".".join(map(str, error.instance_path)) or "value"
    return f"{where} does not fit {str(error.schema_path[-1])!r}"
