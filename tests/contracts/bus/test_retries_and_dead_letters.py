"""What fails: the retry topic with backoff and cap, then dead-letters; what cannot be read goes there at once, as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from tandem.bus.base import Bus, NewRecord, Outgoing
from tandem.bus.consume import LoopPolicy
from tandem.bus.retries import ATTEMPT, NOT_BEFORE, ORIGIN, Backoff
from tandem.contracts.inbox import TaskDeadLettered
from tandem.contracts.message import MAX_BODY_BYTES, Header
from tandem.contracts.topics import Topic
from tandem.errors import InvalidError, Refused, Unavailable
from tests.contracts.bus.conftest import make_topic
from tests.contracts.bus.helpers import read_all, until
from tests.contracts.bus.loops import (
    QUICK,
    Handling,
    committed_to,
    dead_letters,
    inbox,
    make_loop,
    message,
    running,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def work(bus: Bus, unique: str) -> Topic:
    topic = make_topic(f"work.{unique}", retries=3)
    await bus.create_topics([topic, make_topic(topic.retry)])
    return topic


@pytest_asyncio.fixture
async def plain_work(bus: Bus, unique: str) -> Topic:
    """A topic without a retry topic."""
    topic = make_topic(f"plain.{unique}")
    await bus.create_topics([topic])
    return topic


def failing(error: Exception, *names: str) -> Handling:
    async def fail(name: str, attempt: int) -> Sequence[Outgoing]:
        if name in names:
            raise error
        return []

    return Handling(fail)


@pytest.mark.parametrize(
    "error", [Unavailable("no model"), ZeroDivisionError("a bug")], ids=["retryable", "unexpected"]
)
async def test_retries_back_off_up_to_a_cap_and_then_it_is_dead(
    bus: Bus, work: Topic, group: str, error: Exception
) -> None:
    letters = await dead_letters(bus)
    handling = failing(error, "bad")
    sent = message(work.name, "bad", partition=1)
    await bus.publish([sent])
    async with running(make_loop(bus, group, work, handling)):
        (letter,) = await letters.wait(1)
        await committed_to(bus, group, work.retry, 1, 3)
    assert handling.began == [("bad", n) for n in (1, 2, 3, 4)]
    retries = await read_all(bus, work.retry, 1)
    assert [record.header(ATTEMPT) for record in retries] == [b"2", b"3", b"4"]
    assert {record.header(ORIGIN) for record in retries} == {f"{work.name}/1/0".encode()}
    waits = [int(record.header(NOT_BEFORE) or 0) - record.timestamp for record in retries]
    for wait, expected in zip(waits, (100, 300, 400), strict=True):
        assert expected - 100 <= wait <= expected + 10
    assert (letter.key, letter.value) == (b"bad", sent.record.value)
    assert letter.headers[: len(sent.record.headers)] == sent.record.headers
    assert dict(letter.headers[len(sent.record.headers) :]) == {
        "tandem-dead-reason": b"retries-exhausted",
        "tandem-dead-detail": f"after 4 attempts: {type(error).__name__}: {error}".encode(),
        "tandem-dead-origin": f"{work.name}/1/0".encode(),
        "tandem-dead-service": b"tester",
    }


async def test_a_retry_that_succeeds_leaves_no_dead_letter(bus: Bus, work: Topic, group: str) -> None:
    letters = await dead_letters(bus)

    async def fail_once(name: str, attempt: int) -> Sequence[Outgoing]:
        if attempt == 1:
            raise Unavailable("later")
        return []

    handling = Handling(fail_once)
    await bus.publish([message(work.name, "a", partition=0)])
    async with running(make_loop(bus, group, work, handling)):
        await committed_to(bus, group, work.retry, 0, 1)
    assert handling.began == [("a", 1), ("a", 2)]
    assert await letters.records() == []


async def test_poison_delays_nothing(bus: Bus, work: Topic, group: str) -> None:
    """Of the same partition, and even of the same key: the rest is done before the first retry is due."""
    handling = failing(Unavailable("down"), "poison")
    slow = LoopPolicy(backoff=Backoff(first_s=60.0))
    names = ["poison", *(f"m{n}" for n in range(30))]
    await bus.publish([message(work.name, name, key=f"k{n % 3}", partition=0) for n, name in enumerate(names)])
    async with running(make_loop(bus, group, work, handling, slow)):
        await until(lambda: len(handling.ended) == 30)
        await committed_to(bus, group, work.name, 0, 31)
    assert handling.began.count(("poison", 1)) == 1


async def test_a_retry_that_is_not_due_does_not_block_the_next(bus: Bus, work: Topic, group: str) -> None:
    def waiting(name: str, not_before: int) -> Outgoing:
        sent = message(work.retry, name, key="one", partition=0)
        ours: tuple[Header, ...] = (
            (ATTEMPT, b"2"),
            (NOT_BEFORE, str(not_before).encode()),
            (ORIGIN, f"{work.name}/0/7".encode()),
        )
        return Outgoing(work.retry, NewRecord(sent.record.key, sent.record.value, (*sent.record.headers, *ours)), 0)

    handling = Handling()
    far = 4_000_000_000_000
    await bus.publish([waiting("later", far), waiting("now", 0)])
    policy = LoopPolicy(backoff=Backoff(first_s=60.0, cap_s=60.0))
    loop = make_loop(bus, group, work, handling, policy)
    async with running(loop):
        await until(lambda: handling.ended == ["now"])
        assert loop.in_flight == 0
        assert not loop.idle
    assert handling.began == [("now", 2)]
    assert await bus.committed(group, work.retry, 0) in (None, 0)


HOSTILE: dict[str, tuple[str, bytes | None, tuple[Header, ...]]] = {
    "no-headers": ("missing-header", b"{}", ()),
    "null-header": ("null-header", b"{}", (("ce_id", None),)),
    "header-not-utf8": ("header-not-utf8", b"{}", (("ce_id", b"\xff"),)),
}


@pytest.mark.parametrize(("reason", "value", "headers"), HOSTILE.values(), ids=HOSTILE)
async def test_an_unreadable_envelope_is_dead_at_once_with_its_bytes(
    bus: Bus, work: Topic, group: str, reason: str, value: bytes | None, headers: tuple[Header, ...]
) -> None:
    letters = await dead_letters(bus)
    handling = Handling()
    hostile = NewRecord(b"\xff\x00", value, headers)
    await bus.publish([Outgoing(work.name, hostile, 0), message(work.name, "good", partition=0)])
    async with running(make_loop(bus, group, work, handling)):
        (letter,) = await letters.wait(1)
        await committed_to(bus, group, work.name, 0, 2)
    assert handling.began == [("good", 1)]
    assert (letter.key, letter.value, letter.headers[: len(headers)]) == (b"\xff\x00", value, headers)
    assert letter.header("tandem-dead-reason") == reason.encode()
    assert letter.header("tandem-dead-origin") == f"{work.name}/0/0".encode()
    assert await bus.end(work.retry, 0) == 0


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        ("broken-json", b'{"tenant": '),
        ("schema", b'{"tenant": 7}'),
        ("empty-body", None),
        ("too-large", b" " * (MAX_BODY_BYTES + 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_unreadable_body_is_dead_at_once_with_its_bytes(
    bus: Bus, work: Topic, group: str, reason: str, value: bytes | None
) -> None:
    letters = await dead_letters(bus)
    headers = message(work.name, "x").record.headers
    await bus.publish([Outgoing(work.name, NewRecord("k", value, headers), 0)])
    async with running(make_loop(bus, group, work, Handling())):
        (letter,) = await letters.wait(1)
        await committed_to(bus, group, work.name, 0, 1)
    assert (letter.key, letter.value, letter.headers[: len(headers)]) == (b"k", value, headers)
    assert letter.header("tandem-dead-reason") == reason.encode()
    assert await bus.end(work.retry, 0) == 0


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (InvalidError("never"), "invalid", True),
        (Refused("bad-signature", "not signed rightly"), "bad-signature", False),
    ],
)
async def test_invalid_is_dead_at_once_and_the_ticket_is_told(
    bus: Bus, work: Topic, group: str, error: Exception, reason: str, told: bool
) -> None:
    """Not by what was refused: whoever sent that has no say in the ticket."""
    letters, mailbox = await dead_letters(bus), await inbox(bus)
    async with running(make_loop(bus, group, work, failing(error, "bad"))):
        await bus.publish([message(work.name, "bad", key=group, partition=0)])
        (letter,) = await letters.wait(1)
        await committed_to(bus, group, work.name, 0, 1)
    assert letter.header("tandem-dead-reason") == reason.encode()
    assert await bus.end(work.retry, 0) == 0
    heard = [TaskDeadLettered.model_validate_json(record.value or b"") for record in await mailbox.records()]
    assert [(m.tenant, m.conversation, m.ticket, m.topic, m.reason) for m in heard] == (
        [("acme", group, "t", work.name, reason)] if told else []
    )


async def test_outputs_nobody_would_read_are_a_dead_letter(bus: Bus, work: Topic, group: str) -> None:
    letters = await dead_letters(bus)

    async def too_much(name: str, attempt: int) -> Sequence[Outgoing]:
        return [Outgoing(work.name, NewRecord("k", b"x" * (MAX_BODY_BYTES + 1)))] if name == "big" else []

    await bus.publish([message(work.name, name, partition=0) for name in ("big", "small")])
    async with running(make_loop(bus, group, work, Handling(too_much))):
        (letter,) = await letters.wait(1)
        await committed_to(bus, group, work.name, 0, 2)
    assert letter.header("tandem-dead-reason") == b"output-too-large"


async def test_outputs_the_bus_refuses_harm_no_other_record(bus: Bus, work: Topic, group: str) -> None:
    """A batch with one bad output: the others' outputs are published, the one is a dead letter."""
    letters = await dead_letters(bus)

    async def answer(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "bad":
            return [Outgoing("no.such.topic", NewRecord("k", b"{}"))]
        return [message(work.retry, f"{name}-answer", partition=3)]

    await bus.publish([message(work.name, name, partition=0) for name in ("a", "bad", "b")])
    handling = Handling(answer)
    loop = make_loop(bus, group, replace(work, retries=0), handling)
    async with running(loop):
        (letter,) = await letters.wait(1)
        await committed_to(bus, group, work.name, 0, 3)
    assert letter.header("tandem-dead-reason") == b"output-refused"
    assert {record.header("ce_id") for record in await read_all(bus, work.retry, 3)} == {b"a-answer", b"b-answer"}


async def test_without_a_retry_topic_a_retryable_error_holds_the_key_and_nothing_else(
    bus: Bus, plain_work: Topic, group: str
) -> None:
    letters = await dead_letters(bus)

    async def fail_twice(name: str, attempt: int) -> Sequence[Outgoing]:
        if name == "held" and attempt < 3:
            raise Unavailable("later")
        return []

    handling = Handling(fail_twice)
    sent = [("held", "k1"), ("behind", "k1"), ("free", "k2")]
    await bus.publish([message(plain_work.name, name, key=key, partition=0) for name, key in sent])
    async with running(make_loop(bus, group, plain_work, handling, LoopPolicy(backoff=QUICK))):
        await committed_to(bus, group, plain_work.name, 0, 3)
    assert handling.ended == ["free", "held", "behind"]
    assert [attempt for name, attempt in handling.began if name == "held"] == [1, 2, 3]
    assert await letters.records() == []


async def test_without_a_retry_topic_a_bug_is_a_dead_letter(bus: Bus, plain_work: Topic, group: str) -> None:
    letters = await dead_letters(bus)
    await bus.publish([message(plain_work.name, "bad", partition=0)])
    async with running(make_loop(bus, group, plain_work, failing(KeyError("bug"), "bad"))):
        (letter,) = await letters.wait(1)
    assert letter.header("tandem-dead-reason") == b"handler-failed"


async def test_a_stranger_cannot_shorten_the_retries(bus: Bus, work: Topic, group: str) -> None:
    """Our headers count in a retry topic only."""
    sent = message(work.name, "a", partition=0)
    headers = (*sent.record.headers, (ATTEMPT, b"99"), (NOT_BEFORE, b"4000000000000"), (ORIGIN, b"x/0/0"))
    handling = Handling()
    await bus.publish([Outgoing(work.name, NewRecord("a", sent.record.value, headers), 0)])
    async with running(make_loop(bus, group, work, handling)):
        await committed_to(bus, group, work.name, 0, 1)
    assert handling.began == [("a", 1)]
