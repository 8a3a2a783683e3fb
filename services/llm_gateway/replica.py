"""One replica of a pool: its load as the gateway and the replica see it, and a circuit breaker."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from yarl import URL

from services.llm_gateway.wire import Place
from tandem.text import one_line

logger = logging.getLogger(__name__)

OPEN_AFTER = 3
"""Failures in a row that open the breaker."""

COOL_S, MAX_COOL_S = 2.0, 60.0
HALF_LIFE_S = 20.0
FULL_KV = 0.95

Now = Callable[[], float]


class State(IntEnum):
    """Of a breaker; the number is what the metric shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens after failures in a row, lets one call through after a while, twice as long each time that one fails."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._failures = 0
        self._cool_s = COOL_S
        self._until = 0.0
        self._probing = False
        self._open = False

    @property
    def state(self) -> State:
        if not self._open:
            return State.CLOSED
        return State.HALF_OPEN if self._now() >= self._until else State.OPEN

    def allows(self) -> bool:
        return not self._open or (self.state is State.HALF_OPEN and not self._probing)

    def started(self) -> None:
        if self._open:
            self._probing = True

    def left(self) -> None:
        """A call ended that says nothing of the replica: its caller went away."""
        self._probing = False

    def succeeded(self) -> None:
        self._failures = 0
        self._cool_s = COOL_S
        self._open = self._probing = False

    def failed(self) -> None:
        self._failures += 1
        self._probing = False
        if self._open:
            self._cool_s = min(MAX_COOL_S, self._cool_s * 2)
        elif self._failures < OPEN_AFTER:
            return
        self._open = True
        self._until = self._now() + self._cool_s


@dataclass(slots=True, eq=False)
class Replica:
    """`waiting` and `kv_use` are what its own metrics said last; `busy_until` is what its last Retry-After asked for;
    `silent`: it does not answer when asked how it is; `waits`: the time limits of those who wait for it."""

    base: str
    number: int
    now: Now
    breaker: Breaker = field(init=False)
    chat_url: URL = field(init=False)
    place: Place | None = None  # the same, with the headers of every call
    in_flight: int = 0
    waiting: int = 0
    kv_use: float = 0.0
    busy_until: float = 0.0
    silent: bool = False
    missed: int = 0  # polls in a row without an answer
    adapters: set[str] = field(default_factory=set)
    loading: dict[str, asyncio.Lock] = field(default_factory=dict)  # by adapter
    waits: set[asyncio.Timeout] = field(default_factory=set)
    _work: float = 0.0
    _work_at: float = 0.0

    def __post_init__(self) -> None:
        self.base = self.base.rstrip("/")
        self.breaker = Breaker(self.now)
        self.chat_url = URL(f"{self.base}/chat/completions")

    @property
    def root(self) -> str:
        """Where /metrics is: beside the API's version."""
        return self.base.removesuffix("/v1")

    @property
    def allowed(self) -> bool:
        """Nothing is known to be wrong with it."""
        return not self.silent and self.breaker.allows()

    @property
    def usable(self) -> bool:
        return self.allowed and self.now() >= self.busy_until

    @property
    def pressed(self) -> bool:
        """It says itself that it has more than it can hold: a prefix in its cache is no gain now."""
        return self.waiting > 0 and self.kv_use >= FULL_KV

    @property
    def load(self) -> float:
        """For the comparison of replicas: what runs and waits there."""
        return max(self.in_flight, 0) + self.waiting + self.kv_use

    def work(self) -> float:
        """Calls given to it lately; half of them are forgotten every 20 s."""
        return self._work * math.exp2((self._work_at - self.now()) / HALF_LIFE_S)

    def start(self) -> None:
        self._work, self._work_at = self.work() + 1.0, self.now()
        self.in_flight += 1
        self.breaker.started()

    def end(self) -> None:
        self.in_flight -= 1

    def succeeded(self) -> None:
        """A call ended well."""
        if self.breaker.state is not State.CLOSED:
            logger.warning("a model's replica serves again: %s", self.base)
        self.breaker.succeeded()

    def failed(self, why: Exception) -> None:
        """A call ended badly, by the replica's fault."""
        closed = self.breaker.state is State.CLOSED
        self.breaker.failed()
        if closed and self.breaker.state is not State.CLOSED:
            logger.warning("a model's replica is left alone: %s", one_line(why, 300))

    def fall_silent(self) -> None:
        """Nobody goes on waiting for it. What it had loaded may be gone when it is back."""
        if not self.silent:
            logger.warning("a model's replica does not answer /metrics: %s", self.base)
        self.silent = True
        self.adapters.clear()
        now = asyncio.get_running_loop().time()
        for wait in self.waits:
            if not wait.expired():
                wait.reschedule(now)

    def asked_to_wait(self, seconds: float) -> None:
        self.busy_until = self.now() + seconds


def read_load(replica: Replica, metrics: str) -> None:
    """Take over what vLLM's metrics say; what they do not say stays as it was."""
    waiting = [value for name, value in _samples(metrics) if name == "vllm:num_requests_waiting"]
    kv_use = [
        value for name, value in _samples(metrics) if name in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    ]
    if waiting:
        replica.waiting = round(sum(waiting))
    if kv_use:
        replica.kv_use = max(kv_use)


def _samples(metrics: str) -> list[tuple[str, float]]:
    found = []
    for line in metrics.splitlines():
        if line.startswith("vllm:"):
            name, _, value = line.rpartition(" ")
            try:
                found.append((name.partition("{")[0], float(value)))
            except ValueError:
                continue
    return found
