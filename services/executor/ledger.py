"""What all partitions' effect logs say together: proofs of a ticket, and what limits count.

An effect's partition follows from its id, so a ticket's verification lies in another partition than the write it permits,
and perhaps with another executor. Anybody may read all logs, though, and this does: as far as needed, when needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.executor.policies import Proof
from tandem.bus.base import Bus, Record
from tandem.clock import Clock
from tandem.contracts.log import EffectRecorded, Intent
from tandem.contracts.topics import EFFECTS
from tandem.contracts.values import Millis
from tandem.errors import InvalidMessage
from tandem.fenced_log import decode, epoch_of, is_claim

_COUNTS = frozenset({"done", "unknown"})
_PRUNE_MS = 600_000


class Ledger:
    """A reader of every partition of `effects`. Memory is bounded by how long effects are kept."""

    def __init__(self, bus: Bus, clock: Clock, keep_ms: int) -> None:
        self._bus = bus
        self._clock = clock
        self._horizon = keep_ms
        self._positions: dict[int, int] = {}
        self._claims: dict[int, int] = {}
        self._proofs: dict[str, dict[str, tuple[Millis, Proof]]] = {}
        self._uses: dict[str, dict[str, Millis]] = {}  # bucket → effect → when
        self._lock = asyncio.Lock()
        self._pruned_at: Millis = 0

    async def proofs(self, ticket: str, steps: frozenset[str]) -> dict[str, Proof]:
        """What the ticket's proving steps brought. The logs are read on only if one is not known. BusUnavailable."""
        found = self._proofs.get(ticket, {})
        if not steps <= found.keys():
            await self.catch_up()
            found = self._proofs.get(ticket, {})
        return {step: proof for step, (_, proof) in found.items() if step in steps}

    async def used(self, windows: Mapping[str, Millis], effect: str) -> dict[str, int]:
        """Other effects in each bucket's window: done, of unknown outcome, or announced. Raises BusUnavailable.

        Asked again after its own intent is committed, of two calls at once at least one sees the other.
        """
        if not windows:
            return {}
        self._horizon = max(self._horizon, *windows.values())
        await self.catch_up()
        now = self._clock.now()
        return {
            bucket: sum(1 for other, at in self._uses.get(bucket, {}).items() if other != effect and at > now - window)
            for bucket, window in windows.items()
        }

    async def catch_up(self) -> None:
        """Read every partition to its end."""
        async with self._lock:
            await asyncio.gather(*(self._read(number) for number in range(self._bus.partitions(EFFECTS.name))))
            self._prune()

    def note(self, fact: EffectRecorded) -> None:
        """Take in a fact; one seen before changes nothing."""
        if fact.proves and fact.ticket and fact.result.status in ("done", "failed"):
            proof = Proof(fact.tool, fact.result.output if fact.result.status == "done" else {})
            steps = self._proofs.setdefault(fact.ticket, {})
            if fact.step not in steps or steps[fact.step][0] <= fact.at:  # partitions are read in no common order
                steps[fact.step] = (fact.at, proof)
        for bucket in fact.counts:
            if fact.result.status in _COUNTS:
                self._uses.setdefault(bucket, {})[fact.effect] = fact.at
            else:
                self._uses.get(bucket, {}).pop(fact.effect, None)

    async def _read(self, partition: int) -> None:
        async for records in self._bus.read(EFFECTS.name, partition, self._positions.get(partition, 0)):
            for record in records:
                self._take(record)
                self._positions[partition] = record.offset + 1

    def _take(self, record: Record) -> None:
        if record.value is None:
            return
        if is_claim(record):
            self._claims[record.partition] = record.offset
            return
        try:
            message = decode(record)
        except InvalidMessage:
            return
        if isinstance(message, EffectRecorded):
            self.note(message)
        elif isinstance(message, Intent) and (epoch_of(record) or 0) >= self._claims.get(record.partition, -1):
            for bucket in message.counts:
                self._uses.setdefault(bucket, {})[message.effect] = record.timestamp

    def _prune(self) -> None:
        now = self._clock.now()
        if now - self._pruned_at < _PRUNE_MS:
            return
        self._pruned_at, old = now, now - self._horizon
        for bucket, uses in list(self._uses.items()):
            self._uses[bucket] = {effect: at for effect, at in uses.items() if at > old}
            if not self._uses[bucket]:
                del self._uses[bucket]
        for ticket, proofs in list(self._proofs.items()):
            if all(at <= old for at, _ in proofs.values()):
                del self._proofs[ticket]
