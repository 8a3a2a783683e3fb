"""The effect protocol against a real HTTP server: crashes at each step, fencing, doubt, once-per, long runs."""

from __future__ import annotations

import asyncio

import pytest

from services.executor.effects import Shard
from tandem.bus.base import Bus
from tandem.contracts.customer import Reply
from tandem.contracts.inbox import StepProgress
from tandem.contracts.log import EffectRecorded, Intent
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.topics import CUSTOMER_REPLIES, EFFECTS, TICKET_INBOX
from tandem.errors import Fenced, OutcomeUnknown
from tandem.fenced_log import decode
from tests.integration.executor.world import (
    SETTINGS,
    Crash,
    Outside,
    Process,
    found_out,
    make_pack,
    make_task,
    partition_of,
)

CRASHES = [
    # class's tool, dies at, then: status, calls made in all
    ("wire", "executor.1", "done", 1),
    ("wire", "executor.2", "done", 1),
    ("wire", "executor.3", "unknown", 0),
    ("wire", "executor.4", "unknown", 1),
    ("wire", "executor.5", "done", 1),
    ("book", "executor.1", "done", 1),
    ("book", "executor.2", "done", 1),
    ("book", "executor.3", "done", 1),
    ("book", "executor.4", "done", 2),
    ("book", "executor.5", "done", 1),
    ("charge", "executor.1", "done", 1),
    ("charge", "executor.2", "done", 1),
    ("charge", "executor.3", "done", 1),
    ("charge", "executor.4", "done", 1),
    ("charge", "executor.5", "done", 1),
]


def check(outside: Outside) -> None:
    """Invariants 6 and 7: calls only under a valid intent and in time, and no effect twice."""
    assert all(call.permitted for call in outside.calls)
    assert all(count == 1 for count in outside.effects.values())


@pytest.mark.asyncio
@pytest.mark.parametrize(("tool", "point", "status", "calls"), CRASHES)
async def test_a_crash_between_any_two_steps(
    any_bus: Bus, ticket: str, tool: str, point: str, status: str, calls: int
) -> None:
    outside = Outside(any_bus)
    await outside.start()
    pack, task = make_pack(outside.url), make_task(tool, ticket)
    with pytest.raises(Crash):
        await Process(any_bus, pack, dies_at=point).execute(task)
    again = Process(any_bus, pack)
    assert await again.status(task) == status
    assert await again.status(task) == status  # the commit was lost as well
    assert outside.calls_of(task) == calls
    check(outside)
    await outside.stop()


@pytest.mark.asyncio
async def test_a_read_survives_a_crash_and_needs_no_log(bus: Bus, outside: Outside, ticket: str) -> None:
    pack, task = make_pack(outside.url), make_task("look", ticket, arguments={"code": "1"})
    with pytest.raises(Crash):
        await Process(bus, pack, dies_at="executor.1").execute(task)
    assert await Process(bus, pack).status(task) == "done"
    assert await bus.end(EFFECTS.name, partition_of(bus, task)) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tool", "script", "status", "reason", "calls"),
    [
        ("book", ["hang"], "done", "", 2),
        ("book", ["break", "error"], "done", "", 3),
        ("book", ["error", "error", "error"], "unknown", "http-500", 3),
        ("book", ["garbage"], "done", "", 2),
        ("book", ["refuse"], "failed", "not_refundable", 1),
        ("book", ["busy"], "done", "", 2),
        ("wire", ["hang"], "unknown", "timeout", 1),
        ("wire", ["break"], "unknown", "connection-lost", 1),
        ("wire", ["error"], "unknown", "http-500", 1),
        ("wire", ["garbage"], "unknown", "bad-answer", 1),
        ("wire", ["huge"], "unknown", "bad-answer", 1),
        ("wire", ["busy"], "done", "", 2),
        ("wire", ["refuse"], "failed", "not_refundable", 1),
        ("wire", ["redirect"], "failed", "redirect", 1),
        ("refund", ["garbage"], "done", "", 1),
        ("rebook", ["break"], "unknown", "connection-lost", 1),
        ("charge", ["hang"], "done", "", 1),
        ("charge", ["error-undone"], "done", "", 2),
        ("charge", ["error-undone", "error-undone", "error-undone"], "failed", "not-done", 3),
        ("charge", ["garbage"], "done", "", 1),
    ],
)
async def test_what_an_uncertain_answer_comes_to(
    bus: Bus, outside: Outside, ticket: str, tool: str, script: list[str], status: str, reason: str, calls: int
) -> None:
    outside.script[tool] = list(script)
    task = make_task(tool, ticket)
    executed = await Process(bus, make_pack(outside.url)).execute(task)
    assert (executed.result.status, executed.result.reason) == (status, reason)
    assert executed.cost.calls == 1
    assert executed.cost.micros == 7
    assert outside.calls_of(task) == calls
    check(outside)


@pytest.mark.asyncio
async def test_an_answer_carries_evidence_and_the_call_its_key(bus: Bus, outside: Outside, ticket: str) -> None:
    task = make_task("wire", ticket)
    result = (await Process(bus, make_pack(outside.url)).execute(task)).result
    assert result.output["reference"] == f"ref-{task.effect[:6]}"
    assert result.evidence == "req-1"
    assert outside.headers[0]["Idempotency-Key"] == task.effect


@pytest.mark.asyncio
async def test_nothing_listens_and_nothing_was_sent(bus: Bus, outside: Outside, ticket: str) -> None:
    pack, task = make_pack("http://127.0.0.1:1"), make_task("wire", ticket)
    result = (await Process(bus, pack).execute(task)).result
    assert (result.status, result.reason) == ("failed", "unreachable")
    later = make_task("wire", ticket, attempt=2)
    assert await Process(bus, make_pack(outside.url)).status(later) == "done"
    assert outside.calls_of(task) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        (["error", "error"], "done", ""),
        (["error"] * 3, "failed", "http-500"),
        (["garbage"], "done", ""),
        (["garbage"] * 3, "failed", "bad-answer"),
    ],
)
async def test_a_read_is_repeated_freely(
    bus: Bus, outside: Outside, ticket: str, script: list[str], status: str, reason: str
) -> None:
    outside.script["read"] = list(script)
    task = make_task("look", ticket, arguments={})
    result = (await Process(bus, make_pack(outside.url)).execute(task)).result
    assert (result.status, result.reason) == (status, reason)


@pytest.mark.asyncio
async def test_expired_before_any_call(bus: Bus, outside: Outside, ticket: str) -> None:
    task = make_task("wire", ticket, expires=1)
    assert await Process(bus, make_pack(outside.url)).status(task) == "expired"
    assert outside.calls == []


@pytest.mark.asyncio
async def test_expired_with_an_open_intent_is_unknown_not_called(bus: Bus, outside: Outside, ticket: str) -> None:
    pack, task = make_pack(outside.url), make_task("book", ticket)
    with pytest.raises(Crash):
        await Process(bus, pack, dies_at="executor.3").execute(task)
    late = task.model_copy(update={"expires": 1})
    result = (await Process(bus, pack).execute(late)).result
    assert (result.status, result.reason) == ("unknown", "expired")
    assert outside.calls == []


@pytest.mark.asyncio
async def test_same_id_with_other_arguments(bus: Bus, outside: Outside, ticket: str) -> None:
    process, task = Process(bus, make_pack(outside.url)), make_task("wire", ticket)
    await process.execute(task)
    other = make_task("wire", ticket, arguments={"item": "i2"})
    result = (await process.execute(other.model_copy(update={"effect": task.effect}))).result
    assert (result.status, result.reason) == ("refused", "arguments-changed")
    assert len(outside.calls) == 1


@pytest.mark.asyncio
async def test_a_repeat_after_the_key_is_forgotten_is_unsafe(bus: Bus, outside: Outside, ticket: str) -> None:
    pack, task = make_pack(outside.url), make_task("book", ticket)
    with pytest.raises(Crash):
        await Process(bus, pack, dies_at="executor.4").execute(task)
    short = pack.tools["book"].model_copy(update={"key_ttl_ms": 1})
    forgetful = pack.model_copy(update={"tools": {**pack.tools, "book": short}})
    assert await Process(bus, forgetful).status(task) == "unknown"
    assert outside.calls_of(task) == 1


@pytest.mark.asyncio
async def test_once_per_holds_across_tickets(bus: Bus, outside: Outside, ticket: str) -> None:
    process = Process(bus, make_pack(outside.url))
    first = make_task("refund", ticket, arguments={"item": "order-1", "note": "please"})
    asked_again = make_task("refund", f"{ticket}-b", arguments={"item": "order-1", "note": "in other words"})
    other_item = make_task("refund", ticket, arguments={"item": "order-2"})
    done = (await process.execute(first)).result
    result = (await Process(bus, process.pack).execute(asked_again)).result
    assert (result.status, result.repeated, result.reason) == ("done", True, "once-per")
    assert (result.effect, result.output) == (asked_again.effect, done.output)
    assert await process.status(other_item) == "done"
    assert len(outside.calls) == 2
    check(outside)


@pytest.mark.asyncio
async def test_once_per_in_doubt_is_not_called_again(bus: Bus, outside: Outside, ticket: str) -> None:
    outside.script["refund"] = ["hang"]
    process = Process(bus, make_pack(outside.url))
    assert await process.status(make_task("refund", ticket)) == "unknown"
    result = (await process.execute(make_task("refund", f"{ticket}-b"))).result
    assert (result.status, result.reason) == ("unknown", "once-per-unknown")
    assert len(outside.calls) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("happened", [True, False])
async def test_what_a_person_found_out_is_known_to_other_tickets_and_after_a_restart(
    bus: Bus, outside: Outside, ticket: str, happened: bool
) -> None:
    outside.script["refund"] = ["hang"]
    process, task = Process(bus, make_pack(outside.url)), make_task("refund", ticket)
    assert await process.status(task) == "unknown"
    await process.executor.settle(found_out(task, happened))
    other = Process(bus, process.pack)
    result = (await other.execute(make_task("refund", f"{ticket}-b"))).result
    assert result.status == "done"
    assert len(outside.calls) == (1 if happened else 2)
    if happened:
        assert (result.reason, result.output, result.evidence) == (
            "once-per",
            {"reference": "R-7"},
            "found out by dana",
        )


@pytest.mark.asyncio
async def test_what_a_person_found_out_does_not_replace_the_other_sides_own_answer(
    bus: Bus, outside: Outside, ticket: str
) -> None:
    process, task = Process(bus, make_pack(outside.url)), make_task("refund", ticket)
    done = (await process.execute(task)).result
    await process.executor.settle(found_out(task, happened=False))
    again = (await Process(bus, process.pack).execute(task)).result
    assert (again.status, again.output, again.repeated) == ("done", done.output, True)
    await process.executor.settle(found_out(make_task("nothing", ticket), happened=True))  # no tool of the pack


@pytest.mark.asyncio
async def test_one_key_at_the_same_time_is_one_call(bus: Bus, outside: Outside, ticket: str) -> None:
    process, task = Process(bus, make_pack(outside.url)), make_task("wire", ticket)
    results = await asyncio.gather(*(process.executor.execute(task) for _ in range(5)))
    await process.http.close()
    assert [executed.result.status for executed in results] == ["done"] * 5
    assert sum(executed.result.repeated for executed in results) == 4
    assert outside.calls_of(task) == 1


@pytest.mark.asyncio
async def test_a_zombie_is_fenced_before_it_can_call(any_bus: Bus, ticket: str) -> None:
    """It claimed, was frozen, and wakes when another has claimed, called and recorded."""
    outside = Outside(any_bus)
    await outside.start()
    pack, task = make_pack(outside.url), make_task("wire", ticket)
    zombie, owner = Process(any_bus, pack, owner="zombie"), Process(any_bus, pack, owner="new")
    stale = await zombie.world.shards.get(partition_of(any_bus, task))
    assert await owner.status(task) == "done"
    with pytest.raises((Fenced, OutcomeUnknown)):
        await stale.intend(_intent(stale, task.effect))
    assert await zombie.status(task) == "done"
    assert outside.calls_of(task) == 1
    check(outside)
    await outside.stop()


@pytest.mark.asyncio
async def test_a_zombie_with_a_valid_intent_is_too_late_to_call(bus: Bus, outside: Outside, ticket: str) -> None:
    """Frozen between its intent and its call; the new owner waits that out, reports, and the zombie does not call."""
    pack, task = make_pack(outside.url), make_task("wire", ticket)
    zombie = Process(bus, pack, owner="zombie")
    asleep, woken = asyncio.Event(), asyncio.Event()
    shard = await zombie.world.shards.get(partition_of(bus, task))
    real = shard.intend

    async def frozen(intent: Intent) -> None:
        await real(intent)
        asleep.set()
        await woken.wait()

    shard.intend = frozen  # type: ignore[method-assign]
    sleeping = asyncio.create_task(zombie.execute(task))
    await asleep.wait()
    assert await Process(bus, pack, owner="new").status(task) == "unknown"
    woken.set()
    assert (await sleeping).result.status == "unknown"
    assert outside.calls == []


@pytest.mark.asyncio
async def test_a_late_definite_result_replaces_unknown(bus: Bus, outside: Outside, ticket: str) -> None:
    """The call was slow, not lost: another executor had to report `unknown` meanwhile."""
    pack, task = make_pack(outside.url), make_task("wire", ticket)
    slow, other = Process(bus, pack, owner="slow"), Process(bus, pack, owner="other")
    shard = await slow.world.shards.get(partition_of(bus, task))
    real, reported = shard.record, asyncio.Event()

    async def held(fact: EffectRecorded) -> None:
        await reported.wait()
        await real(fact)

    shard.record = held  # type: ignore[method-assign, assignment]
    calling = asyncio.create_task(slow.execute(task))
    await outside.arrived.wait()
    assert await other.status(task) == "unknown"
    reported.set()
    assert (await calling).result.status == "done"
    assert await Process(bus, pack).status(task) == "done"
    assert outside.calls_of(task) == 1
    check(outside)


@pytest.mark.asyncio
async def test_a_result_that_lands_while_it_is_waited_for_counts(bus: Bus, outside: Outside, ticket: str) -> None:
    pack, task = make_pack(outside.url), make_task("wire", ticket)
    slow, other = Process(bus, pack, owner="slow"), Process(bus, pack, owner="other")
    shard = await slow.world.shards.get(partition_of(bus, task))
    real, claimed = shard.record, asyncio.Event()

    async def held(fact: EffectRecorded) -> None:
        await claimed.wait()
        await real(fact)

    shard.record = held  # type: ignore[method-assign, assignment]
    calling = asyncio.create_task(slow.execute(task))
    await outside.arrived.wait()
    await other.world.shards.get(shard.partition)
    claimed.set()
    result = (await other.execute(task)).result
    assert (result.status, result.repeated) == ("done", True)
    assert (await calling).result.status == "done"
    assert outside.calls_of(task) == 1


@pytest.mark.asyncio
async def test_compaction_cannot_bring_unknown_back(bus: Bus, outside: Outside, ticket: str) -> None:
    """Of each key only the newest record stays: a definite result and a later `unknown` have different keys."""
    pack, task = make_pack(outside.url), make_task("wire", ticket)
    assert await Process(bus, pack).status(task) == "done"
    keys = {
        record.key
        async for records in bus.read(EFFECTS.name, partition_of(bus, task), 0)
        for record in records
        if isinstance(decode(record), EffectRecorded)
    }
    assert keys == {f"r|{task.effect}|done".encode()}


@pytest.mark.asyncio
async def test_a_call_before_its_intent_is_caught(bus: Bus, outside: Outside, ticket: str) -> None:
    """The mutant: the intent is only written after the call. The witness at the other side must notice."""
    process, task = Process(bus, make_pack(outside.url)), make_task("wire", ticket)
    shard = await process.world.shards.get(partition_of(bus, task))
    written: list[Intent] = []

    async def later(intent: Intent) -> None:
        written.append(intent)

    shard.intend = later  # type: ignore[method-assign]
    assert await process.status(task) == "done"
    assert len(written) == 1
    with pytest.raises(AssertionError):
        check(outside)


@pytest.mark.asyncio
async def test_a_slow_run_shows_progress_and_survives_a_restart(bus: Bus, outside: Outside, ticket: str) -> None:
    outside.polls = [{"state": "running", "percent": 10, "line": "looking"}]
    pack, task = make_pack(outside.url), make_task("slow_book", ticket)
    with pytest.raises(Crash):
        await Process(bus, pack, dies_at="executor.job").execute(task)
    outside.polls += [{"state": "running", "percent": 60, "line": "found\x07 it"}]
    outside.polls += [{"state": "done", "percent": 100, "line": "ended", "result": {"port": 22}}]
    executed = await Process(bus, pack).execute(task)
    assert (executed.result.status, executed.result.output) == ("done", {"port": 22})
    assert outside.calls_of(task) == 1
    progress = await _messages(bus, TICKET_INBOX.name, StepProgress)
    assert [message.state for message in progress] == ["running", "done"]
    cards = [reply.parts[0] for reply in await _messages(bus, CUSTOMER_REPLIES.name, Reply)]
    assert [card.percent for card in cards] == [10, 60, 100]
    assert len({card.card for card in cards}) == 1
    assert cards[-1].log == ("looking", "found it", "ended")
    assert cards[-1].text
    check(outside)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("poll", "status", "reason"),
    [
        ({"state": "failed", "line": "no disk"}, "failed", "job-failed"),
        ({"state": "running", "percent": 5}, "unknown", "still-running"),
        ({"percent": "many", "state": "??"}, "unknown", "still-running"),
    ],
)
async def test_how_a_slow_run_can_end(
    bus: Bus, outside: Outside, ticket: str, poll: dict[str, object], status: str, reason: str
) -> None:
    outside.polls = [poll]
    task = make_task("slow_book", ticket)
    soon = task.model_copy(update={"deadline": task.deadline - 19_700})
    result = (await Process(bus, make_pack(outside.url)).execute(soon)).result
    assert (result.status, result.reason) == (status, reason)


@pytest.mark.asyncio
async def test_identity_is_proven_by_the_log_not_by_the_task(bus: Bus, outside: Outside, ticket: str) -> None:
    pack = make_pack(outside.url, identity="required", identity_tools=("look",))
    lie = {"identity": "s-look"}
    write = make_task("wire", ticket, authority=lie)

    async def wire() -> str:
        return (await Process(bus, pack).execute(write)).result.reason

    assert await wire() == "identity-missing"
    await Process(bus, pack).execute(make_task("look", ticket, arguments={"code": "0000"}))
    assert await wire() == "identity-failed"
    await Process(bus, pack).execute(make_task("look", f"{ticket}-other", arguments={"code": "1234"}))
    assert await wire() == "identity-failed"
    assert outside.calls == []
    await asyncio.sleep(0.002)  # proofs of one step are told apart by their time
    await Process(bus, pack).execute(make_task("look", ticket, arguments={"code": "1234"}))
    assert await Process(bus, pack).status(write) == "done"


@pytest.mark.asyncio
async def test_a_limit_counts_over_partitions_and_processes(bus: Bus, outside: Outside) -> None:
    ticket = "limited"  # of these calls' effects, not all fall into one partition
    limit = {"tool": "wire", "max": 2, "per": "ticket"}
    pack = make_pack(outside.url, limits=(limit,))
    tasks = [make_task("wire", ticket, arguments={"item": f"i{number}"}) for number in range(4)]
    assert len({partition_of(bus, task) for task in tasks}) > 1
    results = [(await Process(bus, pack).execute(task)).result for task in tasks]
    assert [result.status for result in results] == ["done", "done", "refused", "refused"]
    assert results[-1].reason == "limit"
    assert len(outside.calls) == 2


@pytest.mark.asyncio
async def test_what_is_old_is_forgotten_in_memory_and_log(bus: Bus, outside: Outside, ticket: str) -> None:
    short = SETTINGS.model_copy(update={"keep_ms": 1})
    pack, task = make_pack(outside.url), make_task("wire", ticket, expires=1)
    process = Process(bus, pack, settings=short)
    shard = await process.world.shards.get(partition_of(bus, task))
    await shard.intend(_intent(shard, "e1"))
    assert shard.find("e1") is not None
    await asyncio.sleep(0.01)
    shard._next_sweep = 0
    await shard.sweep()
    assert shard.find("e1") is None
    fresh = await Process(bus, pack).world.shards.get(shard.partition)
    assert fresh.find("e1") is None


def _intent(shard: Shard, effect: str) -> Intent:
    return Intent(
        epoch=shard.epoch, effect=effect, task="t", tool="wire", arguments_hash="h", call_by_ms=100, arguments={}
    )


async def _messages(bus: Bus, topic: str, kind: type) -> list:
    found = []
    for partition in range(bus.partitions(topic)):
        async for records in bus.read(topic, partition, 0):
            for record in records:
                message = read_body(read_envelope(record.headers).type, record.value)
                if isinstance(message, kind):
                    found.append(message)
    return found
