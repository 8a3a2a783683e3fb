from __future__ import annotations

import json
import logging

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tandem import telemetry, tracing
from tandem.bus.base import Record
from tandem.settings import Settings
from tandem.telemetry import SpanName, names
from tandem.telemetry_names import METRICS, Attribute

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-1] + "0"


def record(**headers):
    found = tuple((name, value.encode() if value is not None else None) for name, value in headers.items())
    return Record("ticket.inbox", 3, 42, 0, b"k", b"{}", found)


@pytest.fixture
def exporter():
    exporter = InMemorySpanExporter()
    tracing.configure_tracing("test", 1.0, exporter, batch=False, system="kafka")
    yield exporter
    tracing.shutdown_tracing()


def test_inside_a_segment_the_sender_is_parent_and_link(exporter):
    with tracing.consume_span(record(traceparent=SAMPLED), "router"):
        inside = tracing.current_traceparent()
        with tracing.span(f"{SpanName.CHAT} tiny", attributes={Attribute.MODEL: "tiny"}):
            assert tracing.current_traceparent() != inside
        assert tracing.current_traceparent() == inside
    assert tracing.current_traceparent() is None
    chat, process = exporter.get_finished_spans()
    assert process.name == "process ticket.inbox"
    assert f"{process.context.trace_id:032x}" == SAMPLED[3:35]
    assert tracing.parent_of(process) == SAMPLED[36:52]
    assert [f"{link.context.span_id:016x}" for link in process.links] == [SAMPLED[36:52]]
    assert tracing.parent_of(chat) == inside[36:52] == f"{process.context.span_id:016x}"
    assert process.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "ticket.inbox",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 42,
        "messaging.consumer.group.name": "router",
    }


def test_records_handled_together_are_one_span_with_a_link_to_each_sender(exporter):
    other = SAMPLED.replace(SAMPLED[36:52], "1" * 16)
    with tracing.consume_span(record(traceparent=SAMPLED), "planner", [record(traceparent=other), record()]):
        pass
    [span] = exporter.get_finished_spans()
    assert tracing.parent_of(span) == SAMPLED[36:52]
    assert [f"{link.context.span_id:016x}" for link in span.links] == [SAMPLED[36:52], "1" * 16]


def test_after_a_wait_a_new_trace_links_to_the_one_before(exporter):
    with tracing.consume_span(record(traceparent=SAMPLED, tracelink=SAMPLED), "planner"):
        pass
    [span] = exporter.get_finished_spans()
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != SAMPLED[3:35]
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [SAMPLED[3:35]]


def test_unsampled_work_makes_no_span_and_passes_the_traceparent_on(exporter):
    with tracing.consume_span(record(traceparent=UNSAMPLED), "router") as span:
        assert span is None
        assert tracing.current_traceparent() == UNSAMPLED
        with tracing.span("chat x") as inner:
            assert inner is None
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    "traceparent", [None, "", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-zz-zz-01"]
)
def test_without_a_usable_parent_a_segment_begins(exporter, traceparent):
    headers = {} if traceparent is None else {"traceparent": traceparent}
    with tracing.consume_span(record(**headers), "router"):
        assert tracing.current_traceparent().endswith("-01")
    [span] = exporter.get_finished_spans()
    assert span.parent is None


def test_the_share_of_recorded_segments_is_obeyed():
    tracing.configure_tracing("test", 0.0, InMemorySpanExporter(), batch=False)
    with tracing.segment_span("send customer.messages"):
        assert tracing.current_traceparent().endswith("-00")
    tracing.shutdown_tracing()


def test_without_an_exporter_a_channel_leaves_the_decision_to_the_first_service():
    with tracing.segment_span("send customer.messages") as span:
        assert span is None
        assert tracing.current_traceparent() is None


def test_without_an_exporter_a_service_records_nothing_and_ids_still_travel():
    with tracing.consume_span(record(), "router") as span:
        assert span is None
        assert len(tracing.current_traceparent()) == len(SAMPLED)
        assert tracing.current_traceparent().endswith("-00")


def test_the_segment_before_is_linked_once_it_is_another_trace(exporter):
    with tracing.consume_span(record(), "planner"):
        tracing.link(tracing.current_traceparent())
        tracing.link(UNSAMPLED)
        tracing.link(None)
        tracing.link(SAMPLED)
        tracing.annotate_ids(tracing.Ids("c1", "t1", 2))
    assert tracing.current_ids() is None
    [span] = exporter.get_finished_spans()
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [SAMPLED[3:35]]
    assert (span.attributes["ticket.id"], span.attributes["segment"]) == ("t1", 2)
    assert "plan.version" not in span.attributes


def test_an_error_marks_the_span_without_its_text(exporter):
    with pytest.raises(ValueError, match="secret"), tracing.consume_span(record(traceparent=SAMPLED), "router"):
        raise ValueError("a secret of the customer")
    [span] = exporter.get_finished_spans()
    assert span.attributes["error.type"] == "ValueError"
    assert "secret" not in span.to_json()


def test_bound_ids_are_on_the_span_and_those_under_it(exporter):
    with tracing.consume_span(record(traceparent=SAMPLED), "router"):
        tracing.bind(conversation="c1", ticket="t1", segment=2, plan_version=3)
        with tracing.span("plan"):
            pass
    for span in exporter.get_finished_spans():
        assert span.attributes["ticket.id"] == "t1"
        assert span.attributes["segment"] == 2
        assert span.attributes["plan.version"] == 3
        assert span.attributes["gen_ai.conversation.id"] == "c1"
    tracing.bind()


def formatted(formatter, extra, text="step done", exc_info=None):
    line = logging.makeLogRecord({"msg": text, "levelno": 20, "levelname": "INFO", "name": "t", **extra})
    line.exc_info = exc_info
    return formatter.format(line)


def test_json_logs_carry_ids_and_no_secrets():
    tracing.bind(conversation="c1", ticket="t1")
    extra = {
        "service_token": "s3cret",
        "headers": {"Authorization": "Bearer abcdefghij", "x": 1},
        "url": "redis://me:s3cret@host/0",
        "tokens": 12,
    }
    line = formatted(telemetry.JsonFormatter(), extra, text="called with Bearer abcdefghij")
    body = json.loads(line)
    assert "s3cret" not in line
    assert "abcdefghij" not in line
    assert (body["text"], body["ticket"], body["tokens"]) == ("called with ***", "t1", 12)
    assert "s3cret" not in formatted(telemetry.TextFormatter(), extra)
    tracing.bind()


def test_configure_sets_one_handler(capsys):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        telemetry.configure(Settings(log_level="warning"), "test")
        logging.getLogger("t").warning("late", extra={"by": 3})
        logging.getLogger("t").info("unheard")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["by"] == 3


def test_metrics_are_served_by_name():
    telemetry.count(names.RETRIES, "a-test", "customer.messages", by=2)
    telemetry.observe(names.HANDLER_SECONDS, 0.2, "a-test", "customer.messages")
    telemetry.gauge(names.SHARDS, 5)
    text = telemetry.metrics_text().decode()
    assert 'tandem_retries_total{service="a-test",topic="customer.messages"} 2.0' in text
    assert "tandem_shards_owned 5.0" in text
    assert all(metric.meaning in text for metric in METRICS)
