"""The executor as a service: tasks in, results out, over the consume loop."""

from __future__ import annotations

import asyncio

import pytest

from services.executor.app import build
from tandem.bus.base import Bus, NewRecord, Outgoing, outgoing
from tandem.contracts.inbox import StepCompleted
from tandem.contracts.message import Envelope, read_body, read_envelope
from tandem.contracts.tasks import ExecuteTool, SettleEffect
from tandem.contracts.topics import DEAD_LETTERS, TICKET_INBOX, task_topic
from tandem.contracts.values import once_key
from tandem.packs.model import Pack
from tandem.service import Service
from tandem.wiring import Wiring
from tests.integration.executor.world import SETTINGS, OnePack, Outside, found_out, make_pack, make_task

TASKS = task_topic("executor").name
WAIT_S = 20.0


def start(bus: Bus, pack: Pack) -> Service:
    return build(SETTINGS, Wiring(SETTINGS, bus=bus, packs=OnePack(pack)))


def send(task: ExecuteTool | SettleEffect, key: str | None = None) -> Outgoing:
    envelope = Envelope(
        id=task.id, source="tandem/planner", type=task.TYPE, time=1, subject=task.conversation, tenant=task.tenant
    )
    return outgoing(TASKS, key or (task.effect if isinstance(task, ExecuteTool) else task.call.effect), task, envelope)


async def read_all(bus: Bus, topic: str) -> list[NewRecord]:
    return [
        NewRecord(record.key, record.value, record.headers)
        for partition in range(bus.partitions(topic))
        async for records in bus.read(topic, partition, 0)
        for record in records
    ]


async def answers(bus: Bus, tasks: list[ExecuteTool]) -> dict[str, StepCompleted]:
    """The answer of each task, once all are there."""
    wanted = {task.id for task in tasks}
    async with asyncio.timeout(WAIT_S):
        while True:
            messages = [
                read_body(read_envelope(r.headers).type, r.value) for r in await read_all(bus, TICKET_INBOX.name)
            ]
            found = {m.task: m for m in messages if isinstance(m, StepCompleted) and m.task in wanted}
            if found.keys() == wanted:
                return found
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_tasks_are_answered_into_the_mailbox(any_bus: Bus, ticket: str) -> None:
    outside = Outside(any_bus)
    await outside.start()
    service = start(any_bus, make_pack(outside.url))
    await service.start()
    tasks = [
        make_task("wire", ticket),
        make_task("book", ticket),
        make_task("look", ticket, arguments={"code": "1234"}),
        make_task("nothing", ticket),
    ]
    await any_bus.publish([send(task) for task in tasks])
    found = await answers(any_bus, tasks)
    assert [found[task.id].output["status"] for task in tasks] == ["done", "done", "done", "refused"]
    wired = found[tasks[0].id]
    assert (wired.output_type, wired.service, wired.step) == ("ToolResult", "executor", "s-wire")
    assert (wired.cost.calls, wired.cost.micros) == (1, 7)
    assert found[tasks[3].id].cost.calls == 0
    await service.stop(2.0)
    await outside.stop()


@pytest.mark.asyncio
async def test_killed_in_the_middle_of_an_unsafe_call(any_bus: Bus, ticket: str) -> None:
    """The call has reached the other side; the executor is gone before the answer. Another one is started."""
    outside = Outside(any_bus)
    await outside.start()
    pack, task = make_pack(outside.url), make_task("wire", ticket)
    outside.script["wire"] = ["hang"]
    service = start(any_bus, pack)
    await service.start()
    await any_bus.publish([send(task)])
    await asyncio.wait_for(outside.arrived.wait(), WAIT_S)
    await service.stop(0.0)
    again = start(any_bus, pack)
    await again.start()
    found = await answers(any_bus, [task])
    assert found[task.id].output["status"] == "unknown"
    assert outside.calls_of(task) == 1
    await again.stop(2.0)
    await outside.stop()


@pytest.mark.asyncio
async def test_a_slow_call_delays_no_other_ticket(bus: Bus, outside: Outside, ticket: str) -> None:
    outside.script["wire"] = ["hang"]
    service = start(bus, make_pack(outside.url))
    await service.start()
    slow, quick = make_task("wire", ticket), [make_task("book", f"{ticket}-{number}") for number in range(10)]
    await bus.publish([send(slow), *map(send, quick)])
    await answers(bus, quick)
    messages = [read_body(read_envelope(r.headers).type, r.value) for r in await read_all(bus, TICKET_INBOX.name)]
    assert all(message.task != slow.id for message in messages)
    await service.stop(2.0)


@pytest.mark.asyncio
async def test_an_order_refunded_from_two_tickets_at_once(bus: Bus, outside: Outside, ticket: str) -> None:
    service = start(bus, make_pack(outside.url))
    await service.start()
    tasks = [make_task("refund", f"{ticket}-{number}", arguments={"item": "o1"}) for number in range(6)]
    key = once_key("acme", "refund", ["o1"])
    await bus.publish([send(task, key) for task in tasks])
    found = await answers(bus, tasks)
    assert [answer.output["status"] for answer in found.values()] == ["done"] * 6
    assert sum(bool(answer.output["repeated"]) for answer in found.values()) == 5
    assert len(outside.calls) == 1
    await service.stop(2.0)


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_kept_and_stops_nobody(bus: Bus, outside: Outside, ticket: str) -> None:
    service = start(bus, make_pack(outside.url))
    await service.start()
    task = make_task("book", ticket)
    broken = Outgoing(TASKS, NewRecord(task.effect, b"{not json", send(task).record.headers))
    await bus.publish([broken, send(task)])
    found = await answers(bus, [task])
    assert found[task.id].output["status"] == "done"
    await service.stop(2.0)
    [letter] = await read_all(bus, DEAD_LETTERS.name)
    assert letter.value == b"{not json"


@pytest.mark.asyncio
async def test_what_a_person_found_out_is_kept_and_not_answered(any_bus: Bus, ticket: str) -> None:
    outside = Outside(any_bus)
    await outside.start()
    outside.script["refund"] = ["hang"]
    service = start(any_bus, make_pack(outside.url))
    await service.start()
    task, other = make_task("refund", ticket), make_task("refund", f"{ticket}-b")
    key = once_key("acme", "refund", ["i1"])
    await any_bus.publish([send(task, key)])
    assert (await answers(any_bus, [task]))[task.id].output["status"] == "unknown"
    await any_bus.publish([send(found_out(task, happened=True), key), send(other, key)])
    result = (await answers(any_bus, [other]))[other.id].output
    assert (result["status"], result["reason"], result["output"]) == ("done", "once-per", {"reference": "R-7"})
    told = [read_body(read_envelope(r.headers).type, r.value) for r in await read_all(any_bus, TICKET_INBOX.name)]
    assert [m.task for m in told if isinstance(m, StepCompleted) and m.ticket == task.ticket] == [task.id]
    await service.stop(2.0)
    await outside.stop()
