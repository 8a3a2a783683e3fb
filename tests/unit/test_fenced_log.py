"""The fenced log: who is valid, who is fenced, and that nobody can tell replay from a compacted replay."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.bus.base import Appended, NewRecord, Record
from tandem.bus.local import LocalBus
from tandem.clock import SystemClock
from tandem.contracts.inbox import GiveBack
from tandem.contracts.message import Envelope, Message, to_headers
from tandem.contracts.topics import TICKET_STATE
from tandem.errors import BusUnavailable, Fenced, InvalidMessage, OutcomeUnknown
from tandem.fenced_log import EPOCH_HEADER, FencedLog, Judge, decode, epoch_of

TOPIC = TICKET_STATE.name


def record(key: str) -> NewRecord:
    message = GiveBack(tenant="t", conversation="c", id=key, ticket="k", expert="e")
    envelope = Envelope(id=key, source="s", type=message.TYPE, time=1, subject="", tenant="t")
    return NewRecord(key, message.model_dump_json().encode(), to_headers(envelope))


class FailingBus(LocalBus):
    """Does as it is told with the next append: "lost" or "landed", and in both cases no acknowledgement."""

    fate: str | None = None

    async def append(self, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Appended]:
        fate, self.fate = self.fate, None
        if fate != "lost":
            landed = await super().append(topic, partition, records)
        if fate is not None:
            raise BusUnavailable("no acknowledgement")
        return landed


@pytest_asyncio.fixture
async def bus() -> AsyncIterator[FailingBus]:
    bus = FailingBus(None, shards=1, work_partitions=1)
    await bus.start()
    yield bus
    await bus.stop()


def writer(bus: LocalBus, owner: str) -> FencedLog:
    return FencedLog(bus, TOPIC, 0, owner, SystemClock())


async def replayed(log: FencedLog) -> list[str]:
    found: list[str] = []

    def apply(record: Record, message: Message) -> None:
        assert isinstance(message, GiveBack)
        found.append(message.id)

    await log.replay(apply)
    return found


@pytest.mark.asyncio
async def test_the_epoch_is_the_claims_offset_and_last_follows(bus: FailingBus) -> None:
    log = writer(bus, "a")
    assert await log.claim() == log.epoch == log.last == 0
    landed = await log.append([record("x"), record("y")])
    assert [at.offset for at in landed] == [1, 2]
    assert log.last == 2
    await log.tombstone(["x"])
    assert log.last == 2
    await log.append([record("z")])
    assert log.last == 4
    assert await replayed(log) == ["y", "z"]


@pytest.mark.asyncio
async def test_nothing_is_appended_before_a_claim(bus: FailingBus) -> None:
    with pytest.raises(OutcomeUnknown, match="claim"):
        await writer(bus, "a").append([record("x")])
    assert await bus.end(TOPIC, 0) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("call", ["append", "append_facts", "tombstone", "verify"])
async def test_a_newer_claim_fences(bus: FailingBus, call: str) -> None:
    old, new = writer(bus, "a"), writer(bus, "b")
    await old.claim()
    await new.claim()
    arguments = {"tombstone": ["x"], "verify": None}.get(call, [record("late")])
    with pytest.raises(Fenced):
        await (getattr(old, call)(arguments) if arguments else old.verify())
    with pytest.raises(OutcomeUnknown, match="fenced"):
        await old.append([record("later")])
    await new.append([record("good")])
    assert await replayed(new) == (["late", "good"] if call == "append_facts" else ["good"])


@pytest.mark.asyncio
async def test_foreign_records_without_a_claim_are_harmless_and_remembered(bus: FailingBus) -> None:
    old, new = writer(bus, "a"), writer(bus, "b")
    await old.claim()
    await new.claim()
    with pytest.raises(Fenced):
        await old.append([record("void")])
    await new.append([record("good")])
    assert [r.key for r in new.foreign] == [b"void"]
    assert [r.key for r in (await new.survey()).invalid] == [b"void"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fate", "kept"), [("lost", []), ("landed", ["x"])])
async def test_an_unacknowledged_append_must_be_found_out_by_replay(
    bus: FailingBus, fate: str, kept: list[str]
) -> None:
    log = writer(bus, "a")
    await log.claim()
    bus.fate = fate
    with pytest.raises(OutcomeUnknown):
        await log.append([record("x")])
    with pytest.raises(OutcomeUnknown):
        await log.append([record("y")])
    await log.claim()
    assert await replayed(log) == kept
    await log.append([record("z")])
    assert await replayed(log) == [*kept, "z"]


@pytest.mark.asyncio
async def test_an_own_claim_that_lands_late_asks_for_another_claim(bus: FailingBus) -> None:
    """Fenced would stop the only owner there is."""
    log, twin = writer(bus, "a"), writer(bus, "a")
    await log.claim()
    await twin.claim()
    with pytest.raises(OutcomeUnknown, match="our own"):
        await log.append([record("x")])


@pytest.mark.asyncio
async def test_a_claim_that_was_not_acknowledged_leaves_the_log_unusable(bus: FailingBus) -> None:
    log = writer(bus, "a")
    await log.claim()
    bus.fate = "landed"
    with pytest.raises(BusUnavailable):
        await log.claim()
    with pytest.raises(OutcomeUnknown):
        await log.verify()


@pytest.mark.asyncio
async def test_since_gives_what_this_epoch_wrote_after_an_offset(bus: FailingBus) -> None:
    log = writer(bus, "a")
    await log.claim()
    await log.append([record("x"), record("y"), record("z")])
    assert [r.key for r in (await log.since(1)).valid] == [b"y", b"z"]


def test_a_record_without_a_type_cannot_be_decoded() -> None:
    with pytest.raises(InvalidMessage):
        decode(Record(TOPIC, 0, 0, 0, b"k", b"{}"))


# A log is a list of steps: ("claim", _) by a new writer, ("write", w) by one of the writers so far, valid or not.
steps = st.lists(st.tuples(st.sampled_from(["claim", "write", "write", "tombstone"]), st.integers(0, 5)), max_size=25)


def build(plan: Sequence[tuple[str, int]]) -> tuple[list[Record], list[bytes]]:
    """The log, and the keys of its valid records by the rule's own words, tombstoned ones left out."""
    log: list[Record] = []
    claims: list[int] = []
    valid: dict[bytes, bool] = {}
    for kind, number in plan:
        at = len(log)
        if kind == "claim":
            claims.append(at)
            log.append(Record(TOPIC, 0, at, 0, f"claim|{at}".encode(), b"{}"))
        elif kind == "write" and claims:
            epoch = claims[number % len(claims)]
            key = f"r|{epoch}|{at}".encode()
            log.append(Record(TOPIC, 0, at, 0, key, b"{}", ((EPOCH_HEADER, str(epoch).encode()),)))
            valid[key] = not any(epoch < claim for claim in claims)
        elif kind == "tombstone" and valid:
            key = sorted(valid)[number % len(valid)]
            log.append(Record(TOPIC, 0, at, 0, key, None))
            del valid[key]
    return log, sorted(key for key, is_valid in valid.items() if is_valid)


@settings(deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_validity_by_its_definition_and_whatever_is_compacted(plan: list[tuple[str, int]], dice: random.Random) -> None:
    log, wanted = build(plan)
    dirty = dice.randrange(len(log) + 1)
    newest = {r.key: r.offset for r in log[:dirty]}
    compacted = [r for r in log[:dirty] if newest[r.key] == r.offset and dice.random() < (1 if r.value else 0.5)]
    # A tombstone may only go together with what it names: then nothing of its key is left in the compacted part.
    for records in (log, compacted + log[dirty:]):
        judge = Judge()
        judge.feed(records)
        survey = judge.survey()
        assert sorted(r.key for r in survey.valid) == wanted
        assert all(epoch_of(r) is not None for r in survey.invalid)


@pytest.mark.asyncio
@pytest.mark.parametrize("shift_ms", [-3_600_000, 0, 3_600_000])
async def test_the_time_is_the_brokers_however_wrong_the_writers_clock_is(bus: FailingBus, shift_ms: int) -> None:
    log = FencedLog(bus, TOPIC, 0, "a", SystemClock(shift_ms))
    await log.claim()
    assert abs(log.now() - SystemClock().now()) < 1_000
    await log.append([record("x")])
    assert abs(log.now() - SystemClock().now()) < 1_000
