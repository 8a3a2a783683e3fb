"""Telemetry of a process: traces, metrics, logs. Content of customers is never captured by default.

Traces are in `tandem.tracing`, the names in `tandem.telemetry_names`; this module sets them up and is what others import.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tandem import telemetry_names as names
from tandem.settings import Settings
from tandem.telemetry_names import Attribute, Metric, SpanName
from tandem.tracing import (
    Ids,
    annotate,
    annotate_ids,
    bind,
    configure_tracing,
    consume_span,
    continued,
    current_ids,
    current_traceparent,
    link,
    segment_span,
    shutdown_tracing,
    span,
    unbind,
)

__all__ = [
    "Attribute",
    "Forgotten",
    "Ids",
    "Metric",
    "SpanName",
    "annotate",
    "annotate_ids",
    "bind",
    "configure",
    "configure_traces",
    "configure_tracing",
    "consume_span",
    "continued",
    "count",
    "current_traceparent",
    "gauge",
    "link",
    "metrics_text",
    "names",
    "observe",
    "segment_span",
    "shutdown",
    "span",
    "unbind",
]

_REGISTRY = CollectorRegistry()
_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
_FAMILIES: dict[str, Any] = {
    metric.name: _KINDS[metric.kind](
        metric.name,
        metric.meaning,
        metric.labels,
        registry=_REGISTRY,
        **({"buckets": metric.buckets} if metric.buckets else {}),
    )
    for metric in names.METRICS
}
_CHILDREN: dict[tuple[str, ...], Any] = {}

_SECRET_NAME = re.compile(r"(?i)token(?!s)|secret|passw|authori[sz]ation|api_?key|signature|cookie|^key$")
_SECRET_TEXT = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}|\b\w+://[^\s/@:]+:[^\s/@]+@")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MASK = "***"


def configure(settings: Settings, service: str, exporter: SpanExporter | None = None, *, batch: bool = True) -> None:
    """Set up logs and traces of this process. `exporter` takes the place of the collector, e.g. in tests."""
    _configure_logs(settings)
    configure_traces(settings, service, exporter, batch=batch)


def configure_traces(
    settings: Settings, service: str, exporter: SpanExporter | None = None, *, batch: bool = True
) -> None:
    """Traces alone: for a program whose stderr is for people."""
    if exporter is None and settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    configure_tracing(service, settings.trace_sample, exporter, batch=batch, system=_system(settings))


class Forgotten(SpanExporter):
    """Takes recorded spans and keeps none: a benchmark pays for recording without a collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def shutdown() -> None:
    """Flush what is recorded."""
    shutdown_tracing()


def _system(settings: Settings) -> str:
    return "kafka" if settings.bus == "kafka" else "tandem"


# Metrics ---------------------------------------------------------------------------------------------------------


def count(metric: Metric, *labels: str, by: float = 1) -> None:
    """Raise a counter; `labels` in the metric's order."""
    _child(metric, labels).inc(by)


def gauge(metric: Metric, value: float, *labels: str) -> None:
    _child(metric, labels).set(value)


def observe(metric: Metric, value: float, *labels: str) -> None:
    """Add an observation to a histogram."""
    _child(metric, labels).observe(value)


def metrics_text() -> bytes:
    """All metrics in Prometheus's text format."""
    return generate_latest(_REGISTRY)


def _child(metric: Metric, labels: tuple[str, ...]) -> Any:
    key = (metric.name, *labels)
    child = _CHILDREN.get(key)
    if child is None:
        family = _FAMILIES[metric.name]
        child = _CHILDREN[key] = family.labels(*labels) if metric.labels else family
    return child


# Logs ------------------------------------------------------------------------------------------------------------


def redact(name: str, value: Any) -> Any:
    """The value, or a mask where the name or the text gives away a secret."""
    if _SECRET_NAME.search(name):
        return _MASK
    if isinstance(value, str):
        return _SECRET_TEXT.sub(_MASK, value)
    if isinstance(value, Mapping):
        return {str(key): redact(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(name, item) for item in value]
    return value


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = {key: redact(key, value) for key, value in vars(record).items() if key not in _STANDARD}
    ids = current_ids()
    if ids is not None:
        found |= {"conversation": ids.conversation, "ticket": ids.ticket}
    traceparent = current_traceparent()
    if traceparent:
        found["trace_id"] = traceparent[3:35]
    return {key: value for key, value in found.items() if value not in (None, "")}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the ids of the work in hand."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": _SECRET_TEXT.sub(_MASK, record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = _SECRET_TEXT.sub(_MASK, self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, text, fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        head, *rest = super().format(record).split("\n")
        return "\n".join([f"{_SECRET_TEXT.sub(_MASK, head)}  {fields}".rstrip(), *rest])


def _configure_logs(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("aiokafka", "aiohttp.access", "faststream", "opentelemetry"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
