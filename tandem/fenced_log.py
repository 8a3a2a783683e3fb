"""A log with one writer at a time: claims, appends that notice a newer claim, validity, replay, tombstones.

A writer appends an `OwnerClaim`; the claim's offset is its *epoch*. A record of epoch e at offset z is *valid* iff no
claim lies between e and z. A writer that has been superseded may still append (it was frozen, or its sends land late):
what it appends is invalid for every reader, and it finds out itself because its records do not land where it expects
them. Nothing outside the log (no lease, no Redis key, no group membership) takes part in this.

Records without an epoch header are *facts*: accepted from any epoch. A tombstone removes the record of its key, valid or
not; claims count whether tombstoned or not, for as long as they lie in the log.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tandem.bus.base import Appended, Bus, NewRecord, Record
from tandem.clock import Clock
from tandem.contracts.log import OwnerClaim
from tandem.contracts.message import Envelope, Message, read_body, to_headers
from tandem.contracts.values import Millis
from tandem.errors import BusUnavailable, Fenced, InvalidMessage, OutcomeUnknown

EPOCH_HEADER = "tandem-epoch"
CLAIM_PREFIX = b"claim|"
MAX_FOREIGN = 1_000
"""Foreign records remembered; past it the writer claims again and replays."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Survey:
    """What lies in a stretch of the log, tombstoned records left out, each list in order of offsets."""

    valid: list[Record] = field(default_factory=list)  # facts included
    invalid: list[Record] = field(default_factory=list)
    claims: list[Record] = field(default_factory=list)


def is_claim(record: Record) -> bool:
    """True for a claim; a claim's tombstone is none."""
    return record.value is not None and record.key is not None and record.key.startswith(CLAIM_PREFIX)


def epoch_of(record: Record) -> int | None:
    """The epoch a record was written in; None for a fact."""
    raw = record.header(EPOCH_HEADER)
    return None if raw is None else int(raw)


def decode(record: Record) -> Message:
    """The record's message. Raises InvalidMessage."""
    type_ = record.header("ce_type")
    if type_ is None:
        raise InvalidMessage("missing-header", "ce_type is missing")
    return read_body(type_.decode(errors="replace"), record.value)


class Judge:
    """Sorts records, fed in order of offsets, into valid and invalid ones."""

    def __init__(self, highest_claim: int = -1) -> None:
        self._highest = highest_claim
        self._claims: list[Record] = []
        self._kept: dict[bytes | None, tuple[Record, bool]] = {}

    def feed(self, records: Iterable[Record]) -> None:
        for record in records:
            if is_claim(record):
                self._highest = record.offset
                self._claims.append(record)
            elif record.value is None:
                self._kept.pop(record.key, None)
            else:
                # An epoch above the highest claim seen: its claim was tombstoned and compacted.
                epoch = epoch_of(record)
                valid = epoch is None or epoch >= self._highest
                self._kept.pop(record.key, None)
                self._kept[record.key] = (record, valid)

    def survey(self) -> Survey:
        found = Survey(claims=self._claims)
        for record, valid in self._kept.values():
            (found.valid if valid else found.invalid).append(record)
        return found


class FencedLog:
    """One partition of a fenced log, as one writer sees it.

    - `claim` makes this writer the only valid one; everybody before it is fenced.
    - `append` returns once the records are in the log *and* known to be valid. It raises `Fenced` if another writer has
      claimed, and `OutcomeUnknown` if nobody can say what landed: claim again and replay. After either, every append
      raises until the next `claim`.
    - `last` is the offset of the last valid record: the epoch right after a claim, then the last one appended.

    `foreign` are records of other writers met since the claim: late facts, which count, and void ones to be tombstoned.
    `landed` is called between an append and its check; crash tests stop there.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        partition: int,
        owner: str,
        clock: Clock,
        landed: Callable[[], None] = lambda: None,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._partition = partition
        self._owner = owner
        self._clock = clock
        self._landed = landed
        self._lock = asyncio.Lock()
        self._next = 0  # where the next record lands if nobody else writes
        self._void: str | None = "not claimed yet"
        self._behind: Millis = 0  # how far this machine's clock is behind the broker's
        self.epoch = -1
        self.last = -1
        self.foreign: list[Record] = []

    async def claim(self) -> int:
        """Take the log over. Returns the epoch. Raises BusUnavailable; a claim that lands late fences whoever is there."""
        async with self._lock:
            self._void = "the claim did not return"
            claim_id, now = str(uuid.uuid4()), self._clock.now()
            claim = OwnerClaim(owner=self._owner, claim_id=claim_id, claimed_at=now)
            envelope = Envelope(
                id=claim_id, source="tandem/owner", type=OwnerClaim.TYPE, time=now, subject="", tenant=""
            )
            record = NewRecord(f"claim|{claim_id}", claim.model_dump_json().encode(), to_headers(envelope))
            [landed] = await self._bus.append(self._topic, self._partition, [record])
            self._behind = landed.timestamp - self._clock.now()
            self.epoch = self.last = landed.offset
            self._next = landed.offset + 1
            self._void = None
            self.foreign.clear()
        logger.info("claimed", extra={"topic": self._topic, "partition": self._partition, "epoch": self.epoch})
        return self.epoch

    async def append(self, records: Sequence[NewRecord]) -> list[Appended]:
        """Append records of this epoch and make sure of them. Raises Fenced, OutcomeUnknown."""
        stamp = (EPOCH_HEADER, str(self.epoch).encode())
        stamped = [NewRecord(record.key, record.value, (*record.headers, stamp)) for record in records]
        return await self._append(stamped, counts=True)

    async def append_facts(self, records: Sequence[NewRecord]) -> list[Appended]:
        """Append records that hold whatever the epoch. They may have landed even when this raises."""
        return await self._append(records, counts=True)

    async def tombstone(self, keys: Iterable[str | bytes]) -> None:
        """Remove the records of these keys. Raises Fenced, OutcomeUnknown."""
        records = [NewRecord(key, None) for key in keys]
        if records:
            await self._append(records, counts=False)

    async def verify(self) -> None:
        """Look at the log's tail. Raises Fenced or OutcomeUnknown if this epoch is over, BusUnavailable."""
        async with self._lock:
            self._check_usable()
            end = await self._bus.end(self._topic, self._partition)
            if end > self._next:
                await self._judge_gap(self._next, end)
                self._next = end

    def now(self) -> Millis:
        """The time by the broker's clock, as the last append told it: what is due by it is due for `decide` too."""
        return self._clock.now() + self._behind

    async def survey(self) -> Survey:
        """Everything below the end of what this writer knows (right after a claim: below the claim). BusUnavailable."""
        return await self._survey(0, Judge())

    async def since(self, offset: int) -> Survey:
        """What this epoch wrote after `offset`, which must not lie below the epoch. Raises BusUnavailable."""
        return await self._survey(offset + 1, Judge(self.epoch))

    async def replay(self, apply: Callable[[Record, Message], None]) -> None:
        """Hand over every valid record below the end of what this writer knows, in order, and every fact."""
        for record in (await self.survey()).valid:
            apply(record, decode(record))

    async def _survey(self, start: int, judge: Judge) -> Survey:
        async for records in self._bus.read(self._topic, self._partition, start, self._next):
            judge.feed(records)
        return judge.survey()

    async def _append(self, records: Sequence[NewRecord], counts: bool) -> list[Appended]:
        async with self._lock:
            self._check_usable()
            self._void = "an append did not return"
            try:
                landed = await self._bus.append(self._topic, self._partition, records)
            except BusUnavailable as error:
                raise self._unknown("the append was not acknowledged") from error
            self._landed()
            expected = self._next
            for offset, _ in landed:
                if offset != expected:
                    await self._judge_gap(expected, offset)
                expected = offset + 1
            self._next = expected
            self._behind = landed[-1].timestamp - self._clock.now()
            if counts:
                self.last = landed[-1].offset
            self._void = None
            return landed

    async def _judge_gap(self, start: int, end: int) -> None:
        """Others have written from `start` to `end`. A claim among it ends this epoch; anything else is void itself."""
        if end < start:
            raise self._unknown(f"the log's end went back from {start} to {end}")
        try:
            async for records in self._bus.read(self._topic, self._partition, start, end):
                for record in records:
                    if is_claim(record):
                        raise self._ended_by(record)
                    if record.value is not None:
                        self.foreign.append(record)
        except BusUnavailable as error:
            raise self._unknown("the gap cannot be read") from error
        if len(self.foreign) > MAX_FOREIGN:
            raise self._unknown(f"more than {MAX_FOREIGN} foreign records")

    def _ended_by(self, record: Record) -> Fenced | OutcomeUnknown:
        claim = decode(record)
        if isinstance(claim, OwnerClaim) and claim.owner == self._owner:
            return self._unknown(f"an earlier claim of our own landed late, at {record.offset}")
        self._void = f"fenced by the claim at {record.offset}"
        return Fenced(f"{self._topic}/{self._partition}: epoch {self.epoch} is over, {self._void}")

    def _unknown(self, why: str) -> OutcomeUnknown:
        self._void = why
        return OutcomeUnknown(f"{self._topic}/{self._partition}: {why}; claim again and replay")

    def _check_usable(self) -> None:
        if self._void is not None:
            raise OutcomeUnknown(f"{self._topic}/{self._partition}: {self._void}; claim again and replay")
