"""How far behind a group is, in records: what an operator scales by."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from tandem.bus.base import Bus, Consumer, TopicPartition
from tandem.clock import Clock
from tandem.errors import BusUnavailable
from tandem.telemetry import gauge, names

logger = logging.getLogger(__name__)

EVERY_S = 15.0

Membership: TypeAlias = tuple[str, Consumer]
"""A group, and this process's place in it."""


async def lag_of(bus: Bus, group: str, partitions: Iterable[TopicPartition]) -> Mapping[str, int]:
    """Records not yet committed, by topic. Raises BusUnavailable."""
    found: Counter[str] = Counter()

    async def look(at: TopicPartition) -> None:
        end, committed = await asyncio.gather(bus.end(*at), bus.committed(group, *at))
        found[at.topic] += max(0, end - (committed or 0))

    await asyncio.gather(*(look(at) for at in partitions))
    return found


async def report_lag(
    bus: Bus, service: str, member: Callable[[], Membership | None], clock: Clock, every_s: float = EVERY_S
) -> None:
    """Keep the gauge true for the partitions this process has, until cancelled."""
    while True:
        await clock.sleep(every_s)
        joined = member()
        if joined is None:
            continue
        group, consumer = joined
        try:
            lag = await lag_of(bus, group, consumer.assignment)
        except BusUnavailable as error:
            logger.warning("lag not known", extra={"group": group, "error": str(error)})
            continue
        for topic, records in lag.items():
            gauge(names.LAG, records, service, topic)
