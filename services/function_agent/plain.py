"""Values out of the sandbox, made plain JSON: a program may hand over anything, in any size and shape."""

from __future__ import annotations

import math
from typing import Any

from tandem.contracts.values import Json

MAX_BYTES = 16_000
MAX_DEPTH = 16
MAX_VALUES = 4_000
_MAX_INTEGER = 2**63


class NotPlain(ValueError):
    """A value that is not JSON, or more of it than is taken."""


def plain(value: Any) -> Json:
    """The value as JSON; tuples become lists. Raises NotPlain."""
    return _Plain().of(value, 0)


class _Plain:
    """Counts what it copies: shared parts make a small value an endless text."""

    def __init__(self) -> None:
        self._values = 0
        self._bytes = 0

    def of(self, value: Any, depth: int) -> Json:
        self._count(1, 1)
        if depth > MAX_DEPTH:
            raise NotPlain(f"is nested deeper than {MAX_DEPTH}")
        if value is None or isinstance(value, bool):
            return value
        if type(value) is int and abs(value) < _MAX_INTEGER:
            self._count(0, 8)
            return value
        if type(value) is float and math.isfinite(value):
            self._count(0, 8)
            return value
        if type(value) is str:
            return self._text(value)
        if type(value) in (list, tuple):
            return [self.of(item, depth + 1) for item in value]
        if type(value) is dict:
            return {self._key(name): self.of(item, depth + 1) for name, item in value.items()}
        raise NotPlain(f"holds a {type(value).__name__[:40]}, which is not JSON")

    def _key(self, name: Any) -> str:
        if type(name) is not str:
            raise NotPlain("has a key that is no text")
        return self._text(name)

    def _text(self, value: str) -> str:
        self._count(0, 4 * len(value) if not value.isascii() else len(value))
        return value

    def _count(self, values: int, size: int) -> None:
        self._values += values
        self._bytes += size
        if self._values > MAX_VALUES or self._bytes > MAX_BYTES:
            raise NotPlain(f"is too large: at most {MAX_VALUES} values and {MAX_BYTES} bytes")
