from __future__ import annotations

import asyncio

import pytest

from tandem import telemetry
from tandem.bus.base import NewRecord, Outgoing, TopicPartition
from tandem.bus.lag import lag_of, report_lag
from tandem.bus.local import LocalBus
from tandem.clock import SystemClock
from tandem.contracts.topics import TICKET_EVENTS


@pytest.mark.asyncio
async def test_lag_is_what_is_not_committed_and_the_gauge_follows() -> None:
    bus = LocalBus(None, work_partitions=2)
    await bus.start()
    name = TICKET_EVENTS.name
    await bus.publish([Outgoing(name, NewRecord("a", b"{}"), partition) for partition in (0, 0, 1)])
    consumer = await bus.consumer("readers", [name])
    await consumer.poll(10, 1.0)
    assert await lag_of(bus, "readers", consumer.assignment) == {name: 3}
    await consumer.commit({TopicPartition(name, 0): 2})
    assert await lag_of(bus, "readers", consumer.assignment) == {name: 1}

    reporting = asyncio.create_task(report_lag(bus, "reader", lambda: ("readers", consumer), SystemClock(), 0.001))
    wanted = f'tandem_lag_records{{service="reader",topic="{name}"}} 1.0'
    async with asyncio.timeout(5):
        while wanted not in telemetry.metrics_text().decode():
            await asyncio.sleep(0.002)
    reporting.cancel()
    await consumer.close()
    await bus.stop()
