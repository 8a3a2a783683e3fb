"""A plan: which customers come, and what is done to the platform meanwhile. YAML, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.contracts.topics import SERVICES
from tandem.errors import InvalidSettings

SizeName: TypeAlias = Literal["per_change", "by_hand"]
ServiceName: TypeAlias = Literal[
    "router", "planner", "rag_agent", "function_agent", "executor", "memory", "llm_gateway"
]
ScriptName: TypeAlias = Literal[
    "question", "reset", "vague", "port", "refund", "approval", "takeover", "plan", "silent", "returns"
]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kill(_Value):
    """kill -9 of a service chosen at random, again and again while customers are served."""

    kind: Literal["kill"]
    services: tuple[ServiceName, ...] = SERVICES  # type: ignore[assignment]
    every_s: float = Field(5.0, gt=0)


class Points(_Value):
    """Each service kills itself at each point of its protocol in turn."""

    kind: Literal["points"]
    services: tuple[ServiceName, ...] = SERVICES  # type: ignore[assignment]


class RedisFault(_Value):
    """kill: -9, and started again empty. flush: FLUSHALL. regress: a stalled replica is promoted."""

    kind: Literal["redis"]
    how: Literal["kill", "flush", "regress"]
    every_s: float = Field(5.0, gt=0)
    stall_s: tuple[float, float] = (0.5, 5.0)


class Freeze(_Value):
    """SIGSTOP past the session timeout while a second instance takes over, then SIGCONT."""

    kind: Literal["freeze"]
    services: tuple[ServiceName, ...] = ("planner", "executor")
    beyond_s: float = Field(2.0, gt=0, description="frozen for the session timeout and so much more")


class Restart(_Value):
    """SIGTERM to each service in turn, and a new one."""

    kind: Literal["restart"]
    services: tuple[ServiceName, ...] = SERVICES  # type: ignore[assignment]


class Noise(_Value):
    """What every service publishes is sent twice, late, and in another order."""

    kind: Literal["noise"]
    twice: float = Field(0.2, ge=0, le=1)
    late: float = Field(0.05, ge=0, le=1)
    late_s: float = Field(10.0, ge=0)


class Poison(_Value):
    """Records that no adapter and no service of ours would write."""

    kind: Literal["poison"]
    per_s: float = Field(100.0, gt=0)


class Model(_Value):
    """A model that times out, fails, is cut off and asks for what nobody offered; then is away altogether."""

    kind: Literal["model"]
    timeouts: float = Field(0.3, ge=0, le=1)
    errors: float = Field(0.2, ge=0, le=1)
    cut: float = Field(0.1, ge=0, le=1)
    wrong: float = Field(0.05, ge=0, le=1)
    outage_s: float = Field(0.0, ge=0)


class Broker(_Value):
    """Of three brokers: one after the other restarted, a leader killed, all of them away."""

    kind: Literal["broker"]
    outage_s: float = Field(30.0, ge=0)


class Upgrade(_Value):
    """While tickets wait for a person, every service becomes a release that writes fields this one does not know, and
    this one again."""

    kind: Literal["upgrade"]
    services: tuple[ServiceName, ...] = SERVICES  # type: ignore[assignment]


class Backlog(_Value):
    """Once every customer has an open ticket and has gone quiet, everything in Redis is flushed while they come back."""

    kind: Literal["backlog"]


class Clocks(_Value):
    """Owners are restarted in turn, each time with a clock that is off by another amount."""

    kind: Literal["clocks"]
    shifts_s: tuple[float, ...] = (3600.0, -3600.0, 0.0)
    every_s: float = Field(2.0, gt=0)


Fault: TypeAlias = Annotated[
    Kill | Points | RedisFault | Freeze | Restart | Noise | Poison | Model | Broker | Clocks | Upgrade | Backlog,
    Field(discriminator="kind"),
]


class Size(_Value):
    """How much of it."""

    tickets: int = Field(ge=1, description="at least; more if the faults take longer")
    at_once: int = Field(20, ge=1)
    ramp_s: float = Field(0.0, ge=0, description="over how long the first of them come, and come back")
    rounds: int = Field(1, ge=0, description="how often what is not endless is done: freezes, restarts, flushes, …")
    messages: int = Field(0, ge=0, description="hostile records")
    patience_s: float = Field(120.0, gt=0, description="how long a customer waits for one reply")


class Plan(_Value):
    """One YAML file of `tests/chaos/plans/`."""

    plan: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    about: str
    scripts: tuple[ScriptName, ...] = Field(min_length=1)
    faults: tuple[Fault, ...] = ()
    pack: dict[str, object] = Field(
        default_factory=dict, description="fields of pack.yaml that are other for this plan"
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="settings of the services that are other for this plan"
    )
    per_change: Size | None = Field(None, description="none: too long for every change")
    by_hand: Size

    @property
    def reminded_after_ms(self) -> int:
        """When a silent customer is reminded, as far as the plan says."""
        timers = self.pack.get("timers")
        return int(timers.get("question", 0)) if isinstance(timers, dict) else 0

    @property
    def brokers(self) -> int:
        """How many it needs."""
        return 3 if any(isinstance(fault, Broker) for fault in self.faults) else 1

    def resized(self, name: SizeName, tickets: int, rounds: int) -> Plan:
        """With other numbers of tickets and rounds, where they are not 0."""
        other = {"tickets": tickets or self.size(name).tickets, "rounds": rounds or self.size(name).rounds}
        return self.model_copy(update={name: self.size(name).model_copy(update=other)})

    def size(self, name: SizeName) -> Size:
        """Raises InvalidSettings for a plan that has no such size."""
        size = self.per_change if name == "per_change" else self.by_hand
        if size is None:
            raise InvalidSettings(f"plan {self.plan} has no size per_change: run it with --size by_hand")
        return size


def read_plan(path: Path) -> Plan:
    """Raises InvalidSettings that says what is wrong with it."""
    try:
        return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidSettings(f"{path} is no plan: {error}") from None
