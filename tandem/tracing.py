"""Tracing: one trace per segment (a customer's turn, or an expert's answer), thin and cheap.

A `traceparent` (W3C) travels in the envelope. Whoever starts a segment decides whether it is recorded; everyone after it
obeys the flag. Unsampled work makes no span object at all: the traceparent is passed on as it came. Inside a segment a
consumer's span has the sender's as parent *and* link; after a wait for a person (`tracelink` is set) it is the first of
a new trace and links to the one before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tandem.bus.base import Record
from tandem.telemetry_names import Attribute, SpanName

Attributes = Mapping[str, str | int | float | bool]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("tandem")
_UNSET = Status(StatusCode.UNSET)
_NO_ATTRIBUTES: Attributes = {}
_LENGTH = 55


class _State:
    """What `configure` sets, once per process."""

    def __init__(self) -> None:
        self.recorder: SpanProcessor | None = None
        self.resource = Resource.get_empty()
        self.sample = 0.0
        self.system = "tandem"
        self.random: Callable[[], float] = random.random


@dataclass(slots=True, eq=False)
class Span:
    """A span that is recorded. The SDK's own copies and locks at every turn, for spans that many threads share; this one belongs
    to a task, and costs a third. What exporters are given is the same."""

    name: str
    kind: SpanKind
    context: SpanContext
    parent: SpanContext | None
    attributes: dict[str, str | int | float | bool]
    links: list[Link]
    began: int  # nanoseconds since the Unix epoch
    status: Status = _UNSET

    def end(self) -> None:
        if _state.recorder is not None:
            _state.recorder.on_end(
                ReadableSpan(
                    self.name,
                    self.context,
                    self.parent,
                    _state.resource,
                    self.attributes,
                    links=self.links,
                    kind=self.kind,
                    status=self.status,
                    start_time=self.began,
                    end_time=time.time_ns(),
                    instrumentation_scope=_SCOPE,
                )
            )


class Ids(NamedTuple):
    """Ids of the work in hand, put on logs and on every span made while they are bound."""

    conversation: str = ""
    ticket: str = ""
    segment: int = 0
    plan_version: int = 0


_state = _State()
_here: ContextVar[tuple[str | None, Span | None]] = ContextVar("here", default=(None, None))
"""The traceparent to pass on, and the span if this one is recorded."""

_ids: ContextVar[Ids | None] = ContextVar("ids", default=None)


def configure_tracing(
    service: str, sample: float, exporter: SpanExporter | None, *, batch: bool = True, system: str = "tandem"
) -> None:
    """Record a share of new segments to `exporter`; without one, nothing is recorded. `system`: which bus carries it."""
    shutdown_tracing()
    _state.system = system
    if exporter is None:
        return
    _state.resource = Resource.create({"service.name": service})
    _state.recorder = BatchSpanProcessor(exporter) if batch else SimpleSpanProcessor(exporter)
    _state.sample = sample


def shutdown_tracing() -> None:
    """Flush what is recorded and stop recording."""
    recorder, _state.recorder, _state.sample = _state.recorder, None, 0.0
    if recorder is not None:
        recorder.shutdown()


def current_traceparent() -> str | None:
    """The traceparent to put on what is sent now."""
    return _here.get()[0]


def current_ids() -> Ids | None:
    return _ids.get()


def bind(*, conversation: str = "", ticket: str = "", segment: int = 0, plan_version: int = 0) -> None:
    """Name the work in hand: on logs, on the current span and on those made under it. Ends with the current task, or by
    `unbind`."""
    ids = Ids(conversation, ticket, segment, plan_version)
    _ids.set(ids)
    annotate_ids(ids)


def unbind() -> None:
    """Other work begins in this task."""
    _ids.set(None)


def annotate(attributes: Attributes) -> None:
    """Put attributes on the current span, if one is recorded."""
    _, span = _here.get()
    if span is not None:
        span.attributes.update(attributes)


def annotate_ids(ids: Ids) -> None:
    """Name the work of the current span alone, where one task works for many tickets."""
    _, span = _here.get()
    if span is not None:
        span.attributes.update(_id_attributes(ids))


def link(traceparent: str | None) -> None:
    """Link the current span to the segment before; nothing if that is its own trace or was not recorded."""
    _, span = _here.get()
    if span is None or not traceparent or not _recorded(traceparent):
        return
    earlier = _parse(traceparent)
    if earlier is not None and earlier.trace_id != span.context.trace_id:
        span.links.append(Link(earlier))


def new_traceparent() -> str:
    """The first traceparent of a segment nobody records: ids, and the flag that says so."""
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-00"


class _Scope:
    """A context manager that costs a context variable, and a span when one is recorded."""

    __slots__ = ("_parent", "_span", "_token")

    def __init__(self, parent: str | None, span: Span | None) -> None:
        self._parent = parent
        self._span = span
        self._token: Token[tuple[str | None, Span | None]] | None = None

    def __enter__(self) -> Span | None:
        here = self._parent if self._span is None else _text(self._span.context)
        self._token = _here.set((here, self._span))
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._token is not None:
            _here.reset(self._token)
        if self._span is not None:
            if error is not None:
                self._span.status = Status(StatusCode.ERROR, type(error).__name__)
                self._span.attributes[Attribute.ERROR_TYPE] = type(error).__name__
            self._span.end()


def consume_span(record: Record, name: str, others: Sequence[Record] = ()) -> _Scope:
    """Around the handling of a record by the group `name`. `others` are handled with it: the span is linked to them too."""
    headers = dict(record.headers)
    parent, before = _header(headers, "traceparent"), _header(headers, "tracelink")
    if before is not None or parent is None:
        return _first(before, _process_name(record), _consumer_attributes(record, name))
    if len(parent) == _LENGTH and not _recorded(parent):
        return _Scope(parent, None)
    context = _parse(parent)
    if context is None:
        return _first(None, _process_name(record), _consumer_attributes(record, name))
    senders = (_parse(_header(dict(other.headers), "traceparent") or "") for other in others)
    links = [Link(context), *(Link(sender) for sender in senders if sender is not None)]
    span = _start(_process_name(record), SpanKind.CONSUMER, context, _consumer_attributes(record, name), links)
    return _Scope(parent, span)


def span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes = _NO_ATTRIBUTES) -> _Scope:
    """A child of the current span; nothing if that is not recorded."""
    parent, _ = _here.get()
    if parent is None or not _recorded(parent):
        return _Scope(parent, None)
    context = _parse(parent)
    if context is None:
        return _Scope(parent, None)
    operation = {Attribute.GEN_AI_OPERATION: name.partition(" ")[0]}
    return _Scope(parent, _start(name, kind, context, {**attributes, **operation}))


def continued(traceparent: str | None) -> _Scope:
    """Work on behalf of whoever sent the traceparent, over another wire than the bus."""
    known = traceparent is not None and _parse(traceparent) is not None
    return _Scope(traceparent if known else None, None)


def segment_span(name: str, kind: SpanKind = SpanKind.PRODUCER, attributes: Attributes = _NO_ATTRIBUTES) -> _Scope:
    """The first span of a new segment: whether it is recorded is decided here, or by the first service if this process
    records nothing."""
    return _first(None, name, attributes, kind) if _state.recorder is not None else _Scope(None, None)


def _first(before: str | None, name: str, attributes: Attributes, kind: SpanKind = SpanKind.CONSUMER) -> _Scope:
    if _state.recorder is None or _state.random() >= _state.sample:
        return _Scope(new_traceparent(), None)
    earlier = _parse(before) if before else None
    links = [Link(earlier)] if earlier else []
    return _Scope(None, _start(name, kind, None, attributes, links))


def _start(
    name: str, kind: SpanKind, parent: SpanContext | None, attributes: Attributes, links: Sequence[Link] = ()
) -> Span:
    trace_id = parent.trace_id if parent else random.getrandbits(128) or 1
    context = SpanContext(trace_id, random.getrandbits(64) or 1, is_remote=False, trace_flags=_SAMPLED)
    ids = _ids.get()
    named = {**attributes, **_id_attributes(ids)} if ids else dict(attributes)
    return Span(name, kind, context, parent, named, list(links), time.time_ns())


def _consumer_attributes(record: Record, group: str) -> Attributes:
    return {
        Attribute.MESSAGING_SYSTEM: _state.system,
        Attribute.OPERATION_NAME: "process",
        Attribute.OPERATION_TYPE: "process",
        Attribute.DESTINATION: record.topic,
        Attribute.PARTITION: str(record.partition),
        Attribute.OFFSET: record.offset,
        Attribute.GROUP: group,
    }


def _id_attributes(ids: Ids) -> Attributes:
    named: dict[str, str | int] = {
        Attribute.CONVERSATION: ids.conversation,
        Attribute.TICKET: ids.ticket,
        Attribute.SEGMENT: ids.segment,
        Attribute.PLAN_VERSION: ids.plan_version,
    }
    return {name: value for name, value in named.items() if value}


def _process_name(record: Record) -> str:
    return f"{SpanName.PROCESS} {record.topic}"


def _header(headers: Mapping[str, bytes | None], name: str) -> str | None:
    value = headers.get(name)
    return value.decode("ascii", "replace") if value else None


def _recorded(traceparent: str) -> bool:
    """True if this process records and the sender's sampled bit is set; other bits of the flags may be set too."""
    return _state.recorder is not None and traceparent[-1:] in "13579bdf"


def _text(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def _parse(traceparent: str) -> SpanContext | None:
    """The span context a traceparent names; None if it is not one."""
    parts = traceparent.split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16), is_remote=True, trace_flags=_SAMPLED)
    except ValueError:
        return None
    return context if context.is_valid else None


def parent_of(span: ReadableSpan) -> str | None:
    """The parent's span id in hexadecimal, for tests and exports."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"
