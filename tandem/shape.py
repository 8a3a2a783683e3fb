"""Where a value departs from its JSON Schema, told so that a model can put it right. Of the value only names of properties are
repeated: what customers wrote does not get into logs this way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

NEAREST = 3
"""Alternatives that are told of a value that is none of many: those with the fewest faults."""

MAX_TOLD = 400


class Shape:
    """A compiled schema. Nothing is ever fetched for it."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ValueError if it is no JSON Schema."""
        self._validator = Draft202012Validator(dict(schema), offline=True, mask="it")

    def departure(self, value: Any) -> str | None:
        """The first fault, with its place; None if there is none."""
        if self._validator.is_valid(value):
            return None
        error = next(self._validator.iter_errors(value), None)
        return None if error is None else _told(error)[:MAX_TOLD]


def _told(error: ValidationError, inside: int = 0) -> str:
    """`inside`: how much of the path has been told already."""
    alternatives: Sequence[Sequence[ValidationError]] = getattr(error.kind, "context", ())
    message = error.message
    if alternatives:
        depth = len(error.instance_path)
        told = dict.fromkeys(
            ", ".join(_told(each, depth) for each in faults) for faults in sorted(alternatives, key=len)
        )
        message = "none of what it may be, nearest: " + "; or ".join(list(told)[:NEAREST])
    where = ".".join(map(str, error.instance_path[inside:]))
    return f"{where}: {message}" if where else message
