"""What one partition's effect log says, in memory, and the only ways to add to it."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from services.executor.settings import ExecutorSettings
from tandem import telemetry
from tandem.bus.base import Bus, NewRecord, Record
from tandem.clock import Clock
from tandem.contracts.log import EffectRecorded, Intent, JobStarted
from tandem.contracts.message import Envelope, Message, to_headers
from tandem.contracts.topics import EFFECTS
from tandem.contracts.values import Millis, derive_id
from tandem.errors import BusUnavailable, Fenced, OutcomeUnknown
from tandem.fenced_log import FencedLog, decode, epoch_of

logger = logging.getLogger(__name__)

_STRENGTH = {"done": 3, "failed": 2, "refused": 1, "expired": 1, "unknown": 0}
_FACT_ATTEMPTS = 6
_SWEEP_MS = 60_000
_SWEEP_KEYS = 500
_IDLE_S = 3_600.0


@dataclass(slots=True)
class Known:
    """What the log says of one effect."""

    id: str
    tool: str = ""
    arguments_hash: str = ""
    once: str | None = None
    attempt: int = 0
    first_at: Millis = 0  # append time of the first intent
    over_at: Millis = 0  # by then the latest call is over, wherever it is made; 0: none was announced
    job: JobStarted | None = None
    result: EffectRecorded | None = None
    recorded: bool = True  # False: the result is in memory and may not be in the log
    keep_until: Millis = 0
    keys: set[str] = field(default_factory=set)

    @property
    def in_doubt(self) -> bool:
        """A call was announced, and whether the effect happened is not known."""
        return self.over_at > 0 and (self.result is None or self.result.result.status == "unknown")


class Shard:
    """One partition of `effects`, claimed. Raises Fenced or OutcomeUnknown when the claim is over: open another."""

    def __init__(self, bus: Bus, partition: int, owner: str, clock: Clock, keep_ms: int) -> None:
        self.partition = partition
        self._bus = bus
        self._clock = clock
        self._keep_ms = keep_ms
        self._log = FencedLog(bus, EFFECTS.name, partition, owner, clock)
        self._known: dict[str, Known] = {}
        self._once: dict[str, set[str]] = {}
        self._expiry: list[tuple[Millis, str]] = []
        self._void_keys: list[str | bytes] = []
        self._next_sweep: Millis = 0

    async def open(self) -> None:
        """Claim the partition and replay it. Raises BusUnavailable."""
        await self._log.claim()
        survey = await self._log.survey()
        for record in survey.valid:
            self._apply(record, decode(record))
        old = self._clock.now() - self._keep_ms
        self._void_keys = [record.key for record in survey.invalid if record.key]
        self._void_keys += [c.key for c in survey.claims if c.key and c.timestamp < old and c.offset != self._log.epoch]
        self._next_sweep = 0

    def find(self, effect: str) -> Known | None:
        return self._known.get(effect)

    def under(self, once: str) -> list[Known]:
        """Every effect of a once-per key."""
        return [self._known[effect] for effect in self._once.get(once, ()) if effect in self._known]

    @property
    def epoch(self) -> int:
        return self._log.epoch

    async def intend(self, intent: Intent) -> None:
        """Announce a call. When this returns the intent is committed, and nobody has claimed the partition since."""
        key = f"i|{intent.effect}|{intent.epoch}"
        [landed] = await self._log.append([_new(key, intent, landed_at=self._clock.now())])
        self._absorb()
        self._intended(intent, landed.timestamp)

    async def record(self, fact: EffectRecorded | JobStarted) -> None:
        """Write what happened: a fact, whoever owns the partition now. Raises BusUnavailable if it cannot be written."""
        known = self._learn(fact)
        known.recorded = False
        record = _new(_fact_key(fact), fact, landed_at=self._clock.now())
        try:
            await self._log.append_facts([record])
        except (Fenced, OutcomeUnknown):
            await self._insist(record)
        known.recorded = True

    async def refresh(self) -> None:
        """Take in what others have written since. Raises Fenced, OutcomeUnknown, BusUnavailable."""
        await self._log.verify()
        self._absorb()

    async def sweep(self) -> None:
        """Forget what nobody can ask for any more, in memory and in the log."""
        now = self._clock.now()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_MS
        keys, self._void_keys = self._void_keys[:_SWEEP_KEYS], self._void_keys[_SWEEP_KEYS:]
        while self._expiry and self._expiry[0][0] <= now and len(keys) < _SWEEP_KEYS:
            keys += self._forget(heapq.heappop(self._expiry)[1], now)
        await self._log.tombstone(keys)

    def _forget(self, effect: str, now: Millis) -> list[str]:
        known = self._known.get(effect)
        if known is None or known.keep_until > now:
            return []
        del self._known[effect]
        if known.once:
            self._once[known.once].discard(effect)
            if not self._once[known.once]:
                del self._once[known.once]
        return sorted(known.keys)

    async def _insist(self, record: NewRecord) -> None:
        for attempt in range(_FACT_ATTEMPTS):
            try:
                await self._bus.append(EFFECTS.name, self.partition, [record])
            except BusUnavailable:
                if attempt == _FACT_ATTEMPTS - 1:
                    raise
                await self._clock.sleep(0.1 * 2**attempt)
            else:
                return

    def _absorb(self) -> None:
        """Late facts of writers before count; their intents do not."""
        while self._log.foreign:
            record = self._log.foreign.pop()
            if epoch_of(record) is None:
                self._apply(record, decode(record))
            elif record.key is not None:
                self._void_keys.append(record.key)

    def _apply(self, record: Record, message: Message) -> None:
        if isinstance(message, Intent):
            self._intended(message, record.timestamp)
        elif isinstance(message, EffectRecorded | JobStarted):
            self._learn(message)

    def _intended(self, intent: Intent, at: Millis) -> None:
        known = self._entry(intent.effect)
        known.tool, known.arguments_hash = intent.tool, intent.arguments_hash
        known.attempt = max(known.attempt, intent.attempt)
        first = intent.first_at or at
        known.first_at = min(known.first_at or first, first)
        known.over_at = max(known.over_at, at + intent.call_by_ms)
        known.keys.add(f"i|{intent.effect}|{intent.epoch}")
        self._remember_once(known, intent.once)
        self._keep(known, at + self._keep_ms)
        if known.result is not None and known.result.result.status != "done":
            known.result = None  # a call was announced after it: what is known is that one is under way

    def _learn(self, fact: EffectRecorded | JobStarted) -> Known:
        known = self._entry(fact.effect)
        known.tool = fact.tool
        known.keys.add(_fact_key(fact))
        if isinstance(fact, JobStarted):
            known.job = fact
            self._keep(known, fact.at + self._keep_ms)
            return known
        known.arguments_hash = fact.arguments_hash
        self._remember_once(known, fact.once)
        if known.result is None or _STRENGTH[fact.result.status] >= _STRENGTH[known.result.result.status]:
            known.result = fact
        self._keep(known, max(fact.keep_until, fact.at + self._keep_ms))
        return known

    def _entry(self, effect: str) -> Known:
        return self._known.setdefault(effect, Known(effect))

    def _remember_once(self, known: Known, once: str | None) -> None:
        if once:
            known.once = once
            self._once.setdefault(once, set()).add(known.id)

    def _keep(self, known: Known, until: Millis) -> None:
        if until > known.keep_until:
            known.keep_until = until
            heapq.heappush(self._expiry, (until, known.id))


class Shards:
    """The partitions this process has claimed, each on first use.

    A claim is taken when a partition's first task arrives, not before: a stale one can do no harm, because every call
    needs an append that notices a newer claim.
    """

    def __init__(self, bus: Bus, owner: str, clock: Clock, settings: ExecutorSettings) -> None:
        self._open: Callable[[int], Shard] = lambda number: Shard(bus, number, owner, clock, settings.keep_ms)
        self._clock = clock
        self._shards: dict[int, Shard] = {}
        self._used: dict[int, float] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def get(self, partition: int) -> Shard:
        """The partition, claimed and replayed. Raises BusUnavailable, Fenced, OutcomeUnknown."""
        self._leave_idle(partition)
        async with self._locks.setdefault(partition, asyncio.Lock()):
            shard = self._shards.get(partition)
            if shard is None:
                shard = self._open(partition)
                await shard.open()
                telemetry.count(telemetry.names.REBUILDS, "effects")
                self._shards[partition] = shard
            try:
                await shard.sweep()
            except (Fenced, OutcomeUnknown):
                self.drop(shard)
                raise
            return shard

    def _leave_idle(self, partition: int) -> None:
        """Forget partitions that had no task for long: they may be another's by now."""
        now = self._clock.boot()
        self._used[partition] = now
        for idle in [number for number, used in self._used.items() if now - used > _IDLE_S]:
            del self._used[idle]
            self._shards.pop(idle, None)

    def drop(self, shard: Shard) -> None:
        """Its claim is over: what it knows may be old."""
        if self._shards.get(shard.partition) is shard:
            del self._shards[shard.partition]
            telemetry.count(telemetry.names.FENCED, "executor")
            logger.warning("claim is over", extra={"partition": shard.partition, "epoch": shard.epoch})


def _fact_key(fact: EffectRecorded | JobStarted) -> str:
    return f"j|{fact.effect}" if isinstance(fact, JobStarted) else f"r|{fact.effect}|{fact.result.status}"


def _new(key: str, message: Message, landed_at: Millis) -> NewRecord:
    envelope = Envelope(
        id=derive_id(key, landed_at),
        source="tandem/executor",
        type=message.TYPE,
        time=landed_at,
        subject="",
        tenant="",
        traceparent=telemetry.current_traceparent(),
    )
    return NewRecord(key, message.model_dump_json().encode(), to_headers(envelope))
