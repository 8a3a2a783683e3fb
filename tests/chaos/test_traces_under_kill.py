"""Traces while services are killed: spans arrive as OTLP, and each hop's parent and link are what its record says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import uvloop
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tandem.bus.base import Bus
from tandem.chaos.deployment import Deployment
from tandem.chaos.plan import Size, read_plan
from tandem.chaos.runner import play
from tandem.telemetry import Attribute

ROOT = Path(__file__).parents[2]
CONSUMER: Final = 5  # SpanKind in OTLP
RIGHT: Final = 0.999
TICKETS: Final = 40
HOPS: Final = 20
"""The least that must be heard of a ticket: it has some 25, fewer where results lie together, and a killed process tells none of
its last fifth of a second."""


class Hop(NamedTuple):
    """A consumer's span, by the record it is about."""

    topic: str
    partition: int
    offset: int
    trace: str
    parent: str
    links: frozenset[str]


class Collector:
    """What an OTLP collector takes in over HTTP, kept."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []
        self.services: set[str] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=64_000_000)
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        told = ExportTraceServiceRequest.FromString(await request.read())
        for resource in told.resource_spans:
            own = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.services.add(own["service.name"])
            self.hops += [_hop(s) for scope in resource.scope_spans for s in scope.spans if s.kind == CONSUMER]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


def _hop(span: Any) -> Hop:
    attributes = {a.key: a.value for a in span.attributes}
    return Hop(
        attributes[Attribute.DESTINATION].string_value,
        int(attributes[Attribute.PARTITION].string_value),
        attributes[Attribute.OFFSET].int_value,
        span.trace_id.hex(),
        span.parent_span_id.hex(),
        frozenset(f"{link.trace_id.hex()}-{link.span_id.hex()}" for link in span.links),
    )


async def _headers(bus: Bus, topics: set[str]) -> dict[tuple[str, int, int], dict[str, str]]:
    """The trace headers of every record."""
    found = {}
    for topic in topics:
        for partition in range(bus.partitions(topic)):
            async for batch in bus.read(topic, partition, 0):
                for record in batch:
                    named = {
                        name: (value or b"").decode() for name, value in record.headers if name.startswith("trace")
                    }
                    found[topic, partition, record.offset] = named
    return found


def _right(hop: Hop, headers: dict[str, str]) -> bool:
    """A sender's span is parent and link; after a wait for a person it is the link alone; without one, a trace begins."""
    if before := headers.get("tracelink"):
        return not hop.parent and before[3:52] in hop.links
    if sender := headers.get("traceparent"):
        return (hop.trace, hop.parent) == (sender[3:35], sender[36:52]) and sender[3:52] in hop.links
    return not hop.parent


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str) -> dict[str, Any]:
    folder, plan = tmp_path_factory.mktemp("traced"), read_plan(ROOT / "tests/chaos/plans/kill-random.yaml")
    plan = plan.model_copy(update={"per_change": Size(tickets=TICKETS, at_once=10)})

    async def run() -> dict[str, Any]:
        collector = Collector()
        async with collector.listening() as url:
            env = {"TANDEM_OTLP_ENDPOINT": url, "TANDEM_TRACE_SAMPLE": "1", "OTEL_BSP_SCHEDULE_DELAY": "200"}
            async with Deployment(folder, ROOT / "packs", bootstrap=kafka_bootstrap, env=env) as deployment:
                outcome = await play(plan, "per_change", deployment, folder)
                killed = len(deployment.exits)
                headers = await _headers(deployment.wiring.bus(), {hop.topic for hop in collector.hops})
        return {"collector": collector, "outcome": outcome, "killed": killed, "headers": headers}

    return uvloop.run(run())


@pytest.mark.connected
def test_every_hop_has_the_parent_and_the_link_its_record_names(traced: dict[str, Any]) -> None:
    hops, headers = traced["collector"].hops, traced["headers"]
    wrong = [hop for hop in hops if not _right(hop, headers[hop.topic, hop.partition, hop.offset])]
    assert traced["killed"] >= 2
    assert len(hops) >= HOPS * TICKETS
    assert 1 - len(wrong) / len(hops) >= RIGHT, wrong[:5]


@pytest.mark.connected
def test_all_services_tell_their_spans(traced: dict[str, Any]) -> None:
    speaking = {"router", "planner", "rag_agent", "executor", "memory"}
    assert traced["collector"].services >= speaking


@pytest.mark.connected
def test_the_promise_is_kept_with_every_trace_recorded(traced: dict[str, Any]) -> None:
    assert traced["outcome"].complaints() == []
