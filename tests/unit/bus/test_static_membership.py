"""A process that keeps its name keeps it in every group that it joins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tandem.bus import connect, kafka
from tandem.clock import SystemClock
from tandem.settings import Settings


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("setting", "given", "expected"),
    [(None, None, None), ("executor-0", None, "executor-0"), ("executor-0", "other", "other")],
)
async def test_the_setting_is_the_members_name(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, given: str | None, expected: str | None
) -> None:
    joined: list[Any] = []

    class Member:
        closed = True

        def __init__(self, link: object, names: object, group: str, listener: object, instance: str | None) -> None:
            joined.append(SimpleNamespace(group=group, instance=instance))

        async def join(self, topics: object) -> None:
            joined[-1].topics = topics

    monkeypatch.setattr(kafka, "KafkaConsumer", Member)
    bus = connect.connect(Settings(bus="kafka", kafka_instance=setting), SystemClock())
    await bus.consumer("executor", ["tasks.executor"], instance=given)
    assert [(one.group, one.instance, one.topics) for one in joined] == [("executor", expected, ["tasks.executor"])]
