"""Named points of the services' protocols at which a crash test has a process kill itself.

`TANDEM_KILL_POINT=executor.3` kills it with -9 the first time it comes there, `executor.3:5` the fifth. The setting is read
once, when a service is composed; without it a point is a call of an empty function.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final, TypeAlias

from tandem.errors import InvalidSettings

Kill: TypeAlias = Callable[[str], None]
"""Called with a point's name wherever a crash test may stop."""

LOOP: Final = ("loop.1", "loop.2", "loop.3", "loop.4")
"""A consume loop: records were polled; a handler returned; its outputs are acknowledged; offsets are about to be committed."""

POINTS: Final[dict[str, tuple[str, ...]]] = {
    "router": tuple(f"router.{point}" for point in LOOP),
    "planner": (
        *(f"owner.{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8)),
        *("owner.9", "owner.9.indexed", "owner.9.published", "owner.10", "owner.10.tombstoned", "owner.11", "owner.12"),
        *(f"planner.{point}" for point in LOOP),
    ),
    "rag_agent": tuple(f"rag_agent.{point}" for point in LOOP),
    "function_agent": tuple(f"function_agent.{point}" for point in LOOP),
    "executor": (
        *(f"executor.{number}" for number in (1, 2, 3, 4, 5)),
        "executor.job",
        *(f"executor.{point}" for point in LOOP),
    ),
    "memory": tuple(f"memory.{point}" for point in LOOP),
    "llm_gateway": ("llm_gateway.1", "llm_gateway.2"),
}
"""Every point by the service that has it, in the order of its protocol."""


def go_on(point: str) -> None:
    """What a point does where nothing is armed."""


def armed(wanted: str, die: Callable[[], None] | None = None) -> Kill:
    """What to call at each point. Raises InvalidSettings for a point that does not exist."""
    if not wanted:
        return go_on
    name, _, count = wanted.partition(":")
    if not any(name in points for points in POINTS.values()) or not (count or "1").isdigit():
        known = ", ".join(point for points in POINTS.values() for point in points)
        raise InvalidSettings(f"TANDEM_KILL_POINT={wanted} names no point; a point is one of {known}, or one with `:n`")
    end = die or _kill_myself
    left = int(count or 1)

    def kill(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if left == 0:
                end()

    return kill


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
