"""Messages: frozen values with a CloudEvents type, and the envelope they travel in.

Envelope: CloudEvents 1.0 in Kafka's binary mode: the attributes are `ce_*` headers, the body is JSON. Changes inside a
version are additive; a new major version is a new type; a field is read one release before it is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, TypeAlias

from pydantic import ValidationError

from tandem.contracts.values import Millis, Value
from tandem.errors import InvalidMessage

Header: TypeAlias = tuple[str, bytes | None]

MAX_BODY_BYTES = 1_000_000
"""A larger body is dead-lettered by its reader and refused by our own writers."""

MESSAGES: dict[str, type[Message]] = {}
"""Every message by its CloudEvents type, e.g. `tandem.customer-message.v1`."""


class Message(Value):
    """A value that travels on the bus under a CloudEvents type of its own."""

    TYPE: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, name: str = "", version: int = 1, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if not name:
            return
        cls.TYPE = f"tandem.{name}.v{version}"
        if cls.TYPE in MESSAGES:
            raise TypeError(f"two messages are called {cls.TYPE}")
        MESSAGES[cls.TYPE] = cls

    def __init_subclass__(cls, name: str = "", version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)


class Envelope(NamedTuple):
    """CloudEvents attributes of one message."""

    id: str  # with `source`, names the message for ever; a second copy has the same
    source: str  # the service or adapter that said it, e.g. "tandem/router", "channel/webhook"
    type: str  # the message's TYPE
    time: Millis
    subject: str  # the conversation
    tenant: str
    traceparent: str | None = None
    tracelink: str | None = None  # traceparent of the segment before, after a wait for a person


def to_headers(envelope: Envelope) -> tuple[Header, ...]:
    """The envelope as `ce_*` Kafka headers."""
    headers: tuple[Header, ...] = (
        ("ce_specversion", b"1.0"),
        ("ce_id", envelope.id.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_time", _rfc3339(envelope.time)),
        ("ce_subject", envelope.subject.encode()),
        ("ce_tenant", envelope.tenant.encode()),
        ("content-type", b"application/json"),
    )
    if envelope.traceparent:
        headers += (("traceparent", envelope.traceparent.encode()),)
    if envelope.tracelink:
        headers += (("tracelink", envelope.tracelink.encode()),)
    return headers


@lru_cache(maxsize=256)
def _rfc3339(time: Millis) -> bytes:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds").encode()


@lru_cache(maxsize=256)
def _millis(time: str) -> Millis:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


_READ = frozenset(("ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_tenant", "traceparent", "tracelink"))


def read_envelope(headers: Iterable[Header]) -> Envelope:
    """Read the envelope of a record. Raises InvalidMessage for a missing, null or non-UTF-8 attribute."""
    found: dict[str, str] = {}
    for name, raw in headers:
        if name not in _READ:
            continue
        if raw is None:
            raise InvalidMessage("null-header", f"header {name!r} is null")
        try:
            found[name] = raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidMessage("header-not-utf8", f"header {name!r} is not UTF-8") from error
    try:
        return Envelope(
            found["ce_id"],
            found["ce_source"],
            found["ce_type"],
            _millis(found["ce_time"]),
            found.get("ce_subject", ""),
            found["ce_tenant"],
            found.get("traceparent"),
            found.get("tracelink"),
        )
    except KeyError as error:
        raise InvalidMessage("missing-header", f"header {error} is missing") from error
    except ValueError as error:
        raise InvalidMessage("bad-time", f"ce_time {found['ce_time']!r} is not RFC 3339") from error


def read_body(type_: str, value: bytes | None) -> Message:
    """Read a body as the message its type names. Raises InvalidMessage: unknown type, tombstone, size, JSON, schema."""
    model = MESSAGES.get(type_)
    if model is None:
        raise InvalidMessage("unknown-type", f"no reader for {type_!r}; is the sender newer than this service?")
    if value is None:
        raise InvalidMessage("empty-body", "the record has no body")
    if len(value) > MAX_BODY_BYTES:
        raise InvalidMessage("too-large", f"{len(value)} bytes; at most {MAX_BODY_BYTES}")
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        reason = "broken-json" if first["type"] == "json_invalid" else "schema"
        raise InvalidMessage(reason, f"{where}: {first['msg']}") from None
