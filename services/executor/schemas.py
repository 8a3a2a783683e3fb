"""JSON Schemas of tools, checked without ever fetching anything."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from tandem.contracts.values import canonical_json

_NOTHING: Registry[Any] = Registry()


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema), registry=_NOTHING)


def problem(value: Any, schema: dict[str, Any]) -> str | None:
    """The first thing wrong with a value, with its place; None if it fits. A schema that cannot be read fits nothing."""
    if not schema:
        return None
    try:
        error = next(_validator(canonical_json(schema)).iter_errors(value), None)
    except (SchemaError, Unresolvable, TypeError) as broken:
        return f"its schema cannot be used: {type(broken).__name__}"
    if error is None:
        return None
    where = ".".join(map(str, error.absolute_path)) or "value"
    return f"{where} does not fit {error.validator!r}"
