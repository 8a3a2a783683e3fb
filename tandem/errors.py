"""Every error Tandem raises on purpose.

TandemError
├── InvalidError               the input is wrong; trying again cannot help
│   ├── InvalidMessage         a record that cannot be read as a message: dead-lettered as it came
│   ├── InvalidPack            a pack that cannot be loaded or fails a check
│   ├── InvalidSettings        a setting is missing or contradicts the deployment
│   └── Refused                a policy, a signature or an approval says no
├── RetryableError             the world is in the way; try again later
│   ├── BusUnavailable         the broker did not acknowledge in time
│   ├── IndexUnavailable       Redis cannot be reached
│   └── Unavailable            a dependency (model, memory, vectors) cannot serve now
│       ├── Exhausted          a full queue, a quota or a spent grant says no
│       └── Misshapen          a model answered, not in the shape it was asked for
└── FatalError                 this process must stop doing what it does
    ├── Fenced                 another owner has claimed the shard
    └── OutcomeUnknown         an append may or may not have landed: drop what is in memory and replay
"""

from __future__ import annotations


class TandemError(Exception):
    """Base of all of Tandem's own errors."""


class InvalidError(TandemError):
    """The input is wrong; trying again cannot help."""


class InvalidMessage(InvalidError):
    """A record that cannot be read as a message. `reason` is a short stable code for dead letters and metrics."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidPack(InvalidError):
    """A pack that cannot be loaded. `problems` lists every problem found, each with its place and what to do."""

    def __init__(self, pack: str, problems: list[str]) -> None:
        lines = "\n".join(f"  - {p}" for p in problems)
        super().__init__(f"pack {pack!r} has {len(problems)} problem(s):\n{lines}")
        self.pack = pack
        self.problems = problems


class InvalidSettings(InvalidError):
    """A setting is missing or contradicts the deployment."""


class Refused(InvalidError):
    """A policy, a signature or an approval says no. `reason` is a short stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RetryableError(TandemError):
    """The world is in the way; the same call may succeed later."""


class BusUnavailable(RetryableError):
    """The broker did not acknowledge in time."""


class IndexUnavailable(RetryableError):
    """Redis cannot be reached, or is loading."""


class Unavailable(RetryableError):
    """A dependency cannot serve now: no model is configured, a deadline passed, a store is down."""


class Exhausted(Unavailable):
    """A bounded queue, a tenant's quota or a grant says no. `reason` is a short stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Misshapen(Unavailable):
    """A model answered, and the answer has not the shape that was asked for. Asked again, it may.

    `paid`: calls, tokens and micros that it cost all the same."""

    def __init__(self, detail: str, paid: tuple[int, int, int] = (0, 0, 0)) -> None:
        super().__init__(detail)
        self._paid = paid

    @property
    def paid(self) -> tuple[int, int, int]:
        return self._paid


class FatalError(TandemError):
    """This process, or this shard of it, must stop what it does."""


class Fenced(FatalError):
    """Another owner has claimed the shard; whatever this one holds in memory is void."""


class OutcomeUnknown(FatalError):
    """An append may or may not have landed. Drop what is in memory, claim again and replay."""
