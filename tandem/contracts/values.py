"""The base of everything that crosses a boundary, and the identifiers it is known by."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue

Millis: TypeAlias = int
"""Milliseconds since the Unix epoch, UTC."""

Json: TypeAlias = JsonValue

NAMESPACE = uuid.UUID("6f0c6f1c-5d0e-5c0a-9a53-74616e64656d")

_NAMESPACE = NAMESPACE.bytes
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_encode_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


_new = object.__new__
_put_fields, _put_extra, _put_given, _put_private = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_extra__", "__pydantic_fields_set__", "__pydantic_private__")
)
"""What pydantic itself puts into a value; a frozen one takes no assignment."""

V = TypeVar("V", bound="Value")


if TYPE_CHECKING:

    class Made:
        def __get__(self, value: object, cls: type[V]) -> type[V]: ...


class Value(BaseModel):
    """A frozen value. Unknown fields survive a round trip, so that an older reader loses nothing a newer writer says."""

    model_config = ConfigDict(frozen=True, extra="allow")

    if TYPE_CHECKING:
        made: ClassVar[Made]
        """`Kind.made(…)` is `Kind(…)` without a look at the parts, at half its cost: a type checker has looked at them. It is
        for what our own code puts together; what comes from outside is validated."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.made = staticmethod(_maker(cls))  # type: ignore[assignment]

    def changed(self, **fields: Any) -> Self:
        """A copy with some declared fields changed, not validated: `model_copy(update=…)` at a fraction of its cost."""
        copy = _new(type(self))
        _put_fields(copy, {**self.__dict__, **fields})
        _put_extra(copy, self.__pydantic_extra__)
        _put_given(copy, self.__pydantic_fields_set__)
        _put_private(copy, None)
        return copy

    def to_json(self) -> bytes:
        """`model_dump_json().encode()`, without the text between."""
        return self.__pydantic_serializer__.to_json(self)


def _maker(cls: type[V]) -> Callable[..., V]:
    fields = cls.model_fields.items()
    # A part that is neither given nor has a default is what no serializer takes.
    plain = {name: ... if field.is_required() else field.default for name, field in fields}
    every = set(plain)
    anew = [(name, cast(Callable[[], Any], field.default_factory)) for name, field in fields if field.default_factory]

    def make(**given: Any) -> V:
        for name, default in anew:
            if name not in given:
                given[name] = default()
        value = _new(cls)
        _put_fields(value, {**plain, **given})
        _put_extra(value, {})
        _put_given(value, every)
        _put_private(value, None)
        return value

    return make


def derive_id(*parts: object) -> str:
    """A stable UUID of the parts: a step computed again sends the same ids, and readers drop the second copy.

    It is `uuid.uuid5(NAMESPACE, …)`, without the object: a ticket takes dozens of ids.
    """
    name = "\x1f".join(map(str, parts)).encode()
    digits = hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


def conversation_id(tenant: str, channel: str, thread: str) -> str:
    """The conversation of a channel's thread."""
    return derive_id("conversation", tenant, channel, thread)


def stable_hash(text: str) -> int:
    """A 64-bit hash that no library version, platform or seed changes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


@lru_cache(maxsize=8_192)  # a ticket's records have one key
def partition_for(key: str, partitions: int) -> int:
    """The partition of a key. Tandem computes it itself: client libraries hash differently."""
    return stable_hash(key) % partitions


def canonical_json(value: Any) -> str:
    """One text per JSON value: sorted keys, no spaces."""
    return _encode_canonical(value)


def digest(value: Any, size: int = 8) -> str:
    """A short hexadecimal hash of a JSON value (`size` bytes)."""
    return _short_hash(canonical_json(value), size)


def _short_hash(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def once_key(tenant: str, tool: str, values: Sequence[Any]) -> str:
    """What a tool's `once_per` makes one: the key of its tasks, instead of the effect id."""
    return digest([tenant, tool, list(values)])


def call_hash(tool: str, arguments: dict[str, Any]) -> str:
    """What consents and approvals are given for, and what an effect id may never change: this tool, these arguments."""
    return _call_hash(tool, canonical_json(arguments))


def _call_hash(tool: str, arguments: str) -> str:
    return _short_hash(f'{{"arguments":{arguments},"tool":{canonical_json(tool)}}}', 8)


def call_identity(ticket: str, tool: str, arguments: dict[str, Any], n: int) -> tuple[str, str]:
    """The id of a call's effect, and the call's hash. The same ticket asking the same tool for the same thing is the same effect.

    `n` is raised only by a procedure's explicit repeat or by a person.
    """
    text = canonical_json(arguments)
    return derive_id("effect", ticket, tool, text, n), _call_hash(tool, text)
