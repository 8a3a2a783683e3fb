"""One trace per segment: what was caused by what, from `customer.messages` to `customer.replies`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from io import StringIO
from pathlib import Path
from typing import Final

import pytest
import uvloop
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tandem import telemetry
from tandem.cli.up import example_system
from tandem.client import Channel, Tandem
from tandem.contracts.inbox import TakeOver
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import conversation_id
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.sending import sent_by
from tandem.settings import Settings
from tandem.telemetry import Attribute
from tests.integration.platform.processes import ROOT, WAIT_S

NONE: Final = "-"
SEND: Final = "send customer.messages"
ROUTER: Final = "process customer.messages (router)"
OWNER: Final = "process ticket.inbox (planner)"
RAG: Final = "process tasks.rag_agent (rag_agent)"
EXECUTOR: Final = "process tasks.executor (executor)"
MEMORY: Final = "process ticket.events (memory)"
READER: Final = "process customer.replies (channel/cli)"
MODEL: Final = "embeddings all-MiniLM-L6-v2"

TURN: Final = (
    (NONE, SEND),
    (SEND, ROUTER),
    (ROUTER, "invoke_agent router"),
    (ROUTER, OWNER),
    (OWNER, OWNER),  # the timer of a burst
    (OWNER, MEMORY),
    (OWNER, READER),
    (READER, ROUTER),  # the receipt
)
SEGMENTS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "How do I create a snapshot of a disk? My number is +447700900123.": (
        *TURN,
        ("invoke_agent router", MODEL),
        (OWNER, RAG),
        (RAG, "invoke_agent rag_agent"),
        ("invoke_agent rag_agent", MODEL),
        ("invoke_agent rag_agent", "retrieval knowledge"),
        (RAG, OWNER),
    ),
    "I forgot my password": TURN,
    "alice@example.com, the code is 246810": (
        *TURN,
        (OWNER, EXECUTOR),
        (EXECUTOR, "execute_tool verify_identity"),
        (EXECUTOR, "execute_tool check_authorisation"),
        (EXECUTOR, OWNER),
    ),
    "yes please": (
        *TURN,
        (OWNER, EXECUTOR),
        (EXECUTOR, "execute_tool reset_password"),
        (EXECUTOR, "execute_tool notify_owner"),
        (EXECUTOR, OWNER),
    ),
    "an expert takes over": (
        (NONE, OWNER),
        (OWNER, MEMORY),
        (OWNER, READER),
        (READER, ROUTER),
        (ROUTER, OWNER),
    ),
}
NAMES: Final = tuple(SEGMENTS)
EDGES: Final = [(segment, parent, child) for segment, edges in SEGMENTS.items() for parent, child in edges]

Trace = tuple[ReadableSpan, ...]
Spans = dict[str, Trace]
WAITS: Final = (
    "services.router.classifier.PATIENCE_S",
    "services.router.classifier.EMBED_DEADLINE_S",
    "services.rag_agent.handlers.EMBED_S",
)
"""How long the encoder is waited for before words alone decide: on a busy machine, too, it is to be asked."""

CANARIES: Final = ("snapshot", "alice", "246810", "forgot", "7700900123")


def name_of(span: ReadableSpan) -> str:
    group = (span.attributes or {}).get(Attribute.GROUP)
    return f"{span.name} ({group})" if group else span.name


def edges(spans: Trace) -> set[tuple[str, str]]:
    names = {span.context.span_id: name_of(span) for span in spans if span.context}
    return {(names.get(span.parent.span_id, "?") if span.parent else NONE, name_of(span)) for span in spans}


def traces(spans: Trace) -> list[Trace]:
    """In the order they began."""
    found: dict[int, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        if span.context:
            found.setdefault(span.context.trace_id, []).append(span)
    return [tuple(trace) for trace in found.values()]


def whole(told: list[Trace], segments: tuple[str, ...]) -> bool:
    """Each segment's trace has what it must have, and no span whose parent has not ended yet."""
    return len(told) >= len(segments) and all(
        set(SEGMENTS[name]) <= (found := edges(trace)) and "?" not in {parent for parent, _ in found}
        for name, trace in zip(segments, told, strict=False)
    )


class Story:
    """A conversation, one segment after the other, and the trace of each: what is late in one is still its own."""

    def __init__(self, platform: Platform, case: Case, exporter: InMemorySpanExporter) -> None:
        self._bus = platform.wiring.bus()
        self._channel = Channel("cli", tenant="acme", tandem=Tandem(platform.wiring))
        self._case = case
        self._exporter = exporter

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Replies are read, and receipts sent, as an adapter does."""

        async def read() -> None:
            async for reply in self._channel.replies():
                async with reply:
                    continue

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def told(self) -> list[Trace]:
        for number, name in enumerate(NAMES, 1):
            await (self._take() if name.startswith("an expert") else self._say(name))
            assert await self._case.until(lambda case: case.at_rest, WAIT_S)
            found = await self._until_whole(NAMES[:number])
        return found

    async def _until_whole(self, segments: tuple[str, ...]) -> list[Trace]:
        """What is missing then, the tests say."""
        found: list[Trace] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not whole(found, segments):
                    await asyncio.sleep(0.02)
                    found = traces(self._exporter.get_finished_spans())
        return found

    async def _say(self, text: str) -> None:
        message = uuid.uuid4().hex
        self._case.said.append((message, text))
        await self._channel.submit("trace", text, id=message)

    async def _take(self) -> None:
        about = {"tenant": "acme", "conversation": self._case.conversation, "ticket": self._case.ticket}
        action = TakeOver(id=uuid.uuid4().hex, **about, expert="ann", reason="a test")
        await self._bus.publish([sent_by("console", TICKET_INBOX.name, action, action.id, 1)])


@contextlib.contextmanager
def _logs() -> Iterator[StringIO]:
    """Everything the platform logs, as a service writes it."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(telemetry.JsonFormatter())
    ours = [logging.getLogger(name) for name in ("tandem", "services")]
    levels = [logger.level for logger in ours]
    for logger in ours:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        for logger, level in zip(ours, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


async def _tell(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Trace]:
    for patience in WAITS:
        monkeypatch.setattr(patience, WAIT_S)
    exporter = InMemorySpanExporter()
    settings = Settings(home=home, packs=ROOT / "packs", trace_sample=1)
    async with contextlib.AsyncExitStack() as stack:
        monkeypatch.setenv("CLOUD_API_URL", await stack.enter_async_context(example_system(home, 0)))
        stack.callback(telemetry.shutdown)
        telemetry.configure_tracing("platform", settings.trace_sample, exporter, batch=False)
        platform = await stack.enter_async_context(Platform(settings, call_window_ms=60_000))
        onlooker = Onlooker(platform.wiring, "test")
        await onlooker.start()
        stack.push_async_callback(onlooker.stop)
        story = Story(platform, onlooker.case(conversation_id("acme", "cli", "trace")), exporter)
        await stack.enter_async_context(story.shown())
        return await story.told()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trace], str]:
    with pytest.MonkeyPatch.context() as monkeypatch, _logs() as logs:
        found = uvloop.run(_tell(tmp_path_factory.mktemp("traces"), monkeypatch))
        return found, logs.getvalue()


@pytest.fixture(scope="module")
def spans(told: tuple[list[Trace], str]) -> Spans:
    return dict(zip(NAMES, told[0], strict=False))


def test_a_segment_is_a_trace_of_its_own(told: tuple[list[Trace], str]) -> None:
    assert len(told[0]) == len(NAMES)


@pytest.mark.parametrize(("segment", "parent", "child"), EDGES)
def test_an_edge_is_in_the_trace(spans: Spans, segment: str, parent: str, child: str) -> None:
    assert (parent, child) in edges(spans[segment])


@pytest.mark.parametrize("segment", NAMES)
def test_a_trace_has_one_root(spans: Spans, segment: str) -> None:
    found = spans[segment]
    assert [name_of(span) for span in found if span.parent is None] == [SEGMENTS[segment][0][1]]
    assert {parent for parent, _ in edges(found)} & {"?"} == set()


@pytest.mark.parametrize("segment", NAMES)
def test_a_consumer_has_its_sender_as_parent_and_as_link(spans: Spans, segment: str) -> None:
    consumers = [span for span in spans[segment] if name_of(span) != span.name and span.parent is not None]
    assert len(consumers) >= 4
    for span in consumers:
        assert span.parent
        assert span.parent.span_id in {link.context.span_id for link in span.links}


@pytest.mark.parametrize("number", range(1, len(NAMES)))
def test_a_segment_links_to_the_one_before(spans: Spans, number: int) -> None:
    """After a wait for a person another trace begins; the owner knows what it goes on from."""
    before = {span.context.trace_id for span in spans[NAMES[number - 1]] if span.context}
    owner = min((s for s in spans[NAMES[number]] if name_of(s) == OWNER), key=lambda span: span.start_time or 0)
    assert owner.context
    assert {link.context.trace_id for link in owner.links} - {owner.context.trace_id} == before


@pytest.mark.parametrize("segment", NAMES)
def test_every_span_behind_the_mailbox_says_whose_it_is(spans: Spans, segment: str) -> None:
    behind = [span for span in spans[segment] if name_of(span) in (OWNER, RAG, EXECUTOR, MEMORY, READER)]
    attributes = [span.attributes or {} for span in behind]
    assert len({a.get("ticket.id") for a in attributes} - {None}) == 1
    assert all(a.get("ticket.id") and a.get("gen_ai.conversation.id") for a in attributes)
    worked = [a for span, a in zip(behind, attributes, strict=True) if name_of(span) in (RAG, EXECUTOR)]
    assert all(a.get("segment") and a.get("plan.version") for a in worked)


def test_content_is_in_no_span_no_log_and_no_metric(told: tuple[list[Trace], str]) -> None:
    found, logs = told
    assert "tool answered" in logs
    places = {
        "spans": "".join(span.to_json() for trace in found for span in trace),
        "logs": logs,
        "metrics": telemetry.metrics_text().decode(),
    }
    assert [(place, word) for place, text in places.items() for word in CANARIES if word in text] == []
