"""Calling a tool of the outside world, and saying no more about it than the caller can know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from tandem.contracts.values import Json
from tandem.errors import Refused
from tandem.packs.model import Tool

Guard: TypeAlias = Callable[[], None]
"""Called as the last thing before anything is written to the other side; raises TooLate."""


class TooLate(Exception):
    """The time in which a call may be made is over, so nothing was written."""


class Came(StrEnum):
    """What one call came to."""

    DONE = "done"
    REJECTED = "rejected"  # the other side says definitely no
    NOT_SENT = "not_sent"  # nothing left this process, or the other side says it did nothing: another call is safe
    UNKNOWN = "unknown"  # it was sent, and nobody here can know
    UNREADABLE = "unreadable"  # accepted, but the answer is not what the tool promises


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    came: Came
    output: dict[str, Json] = field(default_factory=dict)
    reason: str = ""  # short stable code
    error: str = ""  # for people
    evidence: str | None = None
    wait_s: float | None = None  # the other side's Retry-After


class Call(Protocol):
    """A call that is ready to be made: whatever could be refused beforehand has been."""

    async def send(self, guard: Guard) -> Outcome:
        """Make the call, at most once, within the tool's timeout. Raises what `guard` raises, and nothing else."""
        ...


class Transport(Protocol):
    def prepare(self, tool: Tool, arguments: Mapping[str, Json], effect: str) -> Call:
        """Raises Refused for what can be told without calling."""
        ...


class Tools:
    """All transports; which one follows from the tool."""

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = dict(transports)

    def prepare(self, tool: Tool, arguments: Mapping[str, Json], effect: str) -> Call:
        transport = self._transports.get(tool.transport)
        if transport is None:
            raise Refused(
                "transport-unknown",
                f"{tool.name} is an {tool.transport} tool, which this version cannot call; "
                "offer it as an OpenAPI operation or a Python function",
            )
        return transport.prepare(tool, arguments, effect)


def at_path(value: Any, path: str) -> Any:
    """The value at a dotted path; None if the path leads nowhere. An empty path is the value itself."""
    for part in filter(None, path.split(".")):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def as_object(value: Any) -> dict[str, Json]:
    """An answer as an object: lists and plain values are put under `items` and `value`."""
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    return {"items": value} if isinstance(value, list) else {"value": value}
