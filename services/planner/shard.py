"""One shard's owner: the numbered steps of the architecture (docs/architecture.md, "The ticket and its one writer")."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import islice
from typing import TypeVar

from services.planner.core import Commits, Core, level
from services.planner.decider import Decider
from services.planner.mailbox import SERVICE, Letter
from services.planner.store import (
    Changes,
    Held,
    ShardIndex,
    Transition,
    encode,
    outgoing_of,
    stored,
    timers_of,
)
from services.planner.timers import SentTimers, TimerName, fired
from tandem import telemetry
from tandem.bus.base import Outgoing, Record
from tandem.contracts.inbox import TimerFired
from tandem.contracts.log import StateRecord
from tandem.contracts.ticket import Status
from tandem.contracts.topics import TICKET_INBOX, TICKET_STATE
from tandem.contracts.values import Millis
from tandem.errors import Fenced, IndexUnavailable, OutcomeUnknown, RetryableError
from tandem.fenced_log import FencedLog, Survey, decode, epoch_of

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Shard:
    """Owns one partition of the mailbox from assignment to revocation, and may be given it again."""

    def __init__(self, partition: int, core: Core, commits: Commits, steer: Callable[[], None]) -> None:
        self.partition = partition
        self.ready = False
        self.pending: deque[Record] = deque()
        self._core = core
        self._commits = commits
        self._steer = steer
        self._policy = core.policy
        self.log = FencedLog(
            core.bus, TICKET_STATE.name, partition, core.owner_id, core.clock, landed=lambda: core.kill("owner.7")
        )
        self._decider = Decider(core, partition)
        self._index = ShardIndex(core.redis, partition, core.policy.keep_closed_ms)
        self._cache: OrderedDict[str, Held] = OrderedDict()
        self._garbage: deque[tuple[int, bytes]] = deque()  # (cause, key) of superseded records
        self._sent = SentTimers()
        self._check_at = 0.0
        self._clean = False  # everything appended is published: the epoch may be kept
        self._stopping = False
        self._wake = asyncio.Event()

    # Life

    def deliver(self, record: Record) -> None:
        if not self._stopping:
            self.pending.append(record)
            self._wake.set()

    @property
    def full(self) -> bool:
        return len(self.pending) >= self._policy.max_pending

    def ask_to_stop(self) -> None:
        """Finish the batch in hand and end `run`."""
        self._stopping = True
        self._wake.set()

    def start(self) -> Coroutine[None, None, None]:
        """What to run as a task."""
        self._stopping = self.ready = False
        self.pending.clear()
        return self._run()

    async def _run(self) -> None:
        """Take over and serve until stopped; trouble of one shard keeps no other from its work."""
        tries = 0
        while not self._stopping:
            try:
                await self._take_over()
                tries = 0
                await self._serve()
            except Fenced as error:
                telemetry.count(telemetry.names.FENCED, SERVICE)
                logger.warning("fenced", extra={"shard": self.partition, "error": str(error)})
                self._drop()
                # Still assigned after a session's time, the claim was a late one of somebody gone.
                await self._rest(self._policy.claim_again_s)
            except (OutcomeUnknown, RetryableError) as error:
                logger.log(level(error), "shard pauses", extra={"shard": self.partition, "error": str(error)})
                self._drop()
                await self._rest(self._backoff(tries))
                tries += 1
            except Exception:  # the boundary of one shard: the others go on
                logger.exception("shard failed", extra={"shard": self.partition})
                self._drop()
                await self._rest(self._backoff(tries))
                tries += 1
        self.ready = False

    def _drop(self) -> None:
        """Forget everything that was derived; messages not yet committed stay in hand."""
        self.ready = self._clean = False
        self._cache.clear()
        self._garbage.clear()
        self._steer()

    def _backoff(self, tries: int) -> float:
        return min(self._policy.max_backoff_s, self._policy.backoff_s * 2.0 ** min(tries, 10))

    async def _rest(self, seconds: float) -> None:
        """Sleep, or until asked to stop."""
        until = self._core.clock.boot() + seconds
        while not self._stopping and self._core.clock.boot() < until:
            await self._sleep_until(until)

    async def _sleep_until(self, boot: float) -> None:
        """Until that boot time, or something happens."""
        self._wake.clear()
        sleeper = asyncio.ensure_future(self._core.clock.sleep(max(0.0, boot - self._core.clock.boot())))
        sleeper.add_done_callback(lambda task: None if task.cancelled() else self._wake.set())
        try:
            await self._wake.wait()
        finally:
            sleeper.cancel()

    async def _persist(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works: infrastructure trouble pauses the shard. Raises it when asked to stop meanwhile."""
        tries = 0
        while True:
            try:
                return await attempt()
            except RetryableError as error:
                if self._stopping:
                    raise
                logger.log(level(error), "waiting", extra={"shard": self.partition, "for": what, "error": str(error)})
                await self._rest(self._backoff(tries))
                tries += 1

    # Steps 1-4

    async def _take_over(self) -> None:
        core = self._core
        committed = await core.bus.committed(core.group, TICKET_INBOX.name, self.partition) or 0
        core.kill("owner.1")
        if not await self._still_mine():
            self._drop()
            await self.log.claim()
            core.kill("owner.2")
            await self._replay(committed)
        core.kill("owner.4")
        self._clean = self.ready = True
        self._check_at = core.clock.boot()
        self._steer()

    async def _still_mine(self) -> bool:
        """Given back with no foreign claim since: the epoch goes on, nothing is rebuilt."""
        if not self._clean:
            return False
        try:
            await self.log.verify()
        except (Fenced, OutcomeUnknown):
            return False
        return True

    async def _replay(self, committed: int) -> None:
        survey = await self.log.survey()
        telemetry.count(telemetry.names.REBUILDS, "assigned")
        applied, _ = await self._persist("index", lambda: self._index.load(()))
        await self._persist("index", lambda: self._index_from(applied, survey.valid))
        self._core.kill("owner.3")
        states = [(stored(record), record) for record in survey.valid]
        again = [record for one, record in states if one.cause >= committed]
        for start in range(0, len(again), self._policy.max_batch):
            past = [decode(record) for record in again[start : start + self._policy.max_batch]]
            await self._publish([outgoing_of(o, t) for t in past if isinstance(t, StateRecord) for o in t.outputs])
        newest = {one.conversation: record.offset for one, record in states}
        self._garbage.extend(
            (one.cause, record.key or b"") for one, record in states if newest[one.conversation] != record.offset
        )
        await self._remove(self._void(survey), committed)

    def _void(self, survey: Survey) -> list[bytes]:
        """Keys of invalid records, and of claims that have nothing left to judge."""
        epochs = {epoch_of(record) or 0 for record in (*survey.valid, *survey.invalid)}
        before = self.log.now() - self._policy.keep_claims_ms
        idle = [c for c in survey.claims if c.timestamp < before and all(epoch >= c.offset for epoch in epochs)]
        return [record.key or b"" for record in (*survey.invalid, *idle)]

    async def _index_from(self, applied: int | None, valid: Sequence[Record]) -> None:
        """Bring the index to the last valid record."""
        last = self.log.last
        if applied is not None and applied <= last:
            newer = [record for record in valid if record.offset > applied]
            if await self._index.catch_up(applied, last, newer):
                return
        if await self._index.rebuild(last, valid):
            return
        await self.log.verify()
        if not await self._index.rebuild(last, valid, force=True):
            raise IndexUnavailable("another rebuild is under way")

    async def _repair(self, applied: int | None) -> None:
        """The index is not where the log is: I am fenced, or Redis has lost something."""
        await self.log.verify()
        logger.info("index is off", extra={"shard": self.partition, "applied": applied, "last": self.log.last})
        telemetry.count(telemetry.names.REBUILDS, "index")
        self._cache.clear()
        if applied is not None and self.log.epoch <= applied <= self.log.last:
            newer = (await self.log.since(applied)).valid
            if await self._index.catch_up(applied, self.log.last, newer):
                return
        await self._index_from(None, (await self.log.survey()).valid)

    # Steps 5-10

    async def _serve(self) -> None:
        while not self._stopping:
            if self.pending:
                await self._process(list(islice(self.pending, self._policy.max_batch)))
            if self._core.clock.boot() >= self._check_at:
                await self._check()
            elif not self.pending and not self._stopping:
                await self._sleep_until(self._check_at)

    async def _process(self, batch: list[Record]) -> None:
        letters, dead = self._decider.read(batch)
        held = await self._persist("index", lambda: self._load(letters))
        self._core.kill("owner.5")
        transitions = self._decider.transitions(letters, held, self.log.epoch, dead)
        self._core.kill("owner.6")
        await self._commit(transitions, held, dead)
        self._timers_handled(letters, held)
        for _ in batch:
            self.pending.popleft()
        self._commits.note(self.partition, batch[-1].offset + 1)
        if len(self.pending) + len(batch) >= self._policy.max_pending:
            self._steer()
        if len(self._garbage) >= self._policy.tombstones:
            await self._remove([], self._commits.acknowledged(self.partition))

    async def _load(self, letters: Sequence[Letter]) -> dict[str, Held]:
        """The tickets of a batch, once the index is known to be where the log is. Raises Fenced, RetryableError."""
        while True:
            names = dict.fromkeys(letter.conversation for letter in letters)
            applied, found = await self._index.load([name for name in names if name not in self._cache])
            if applied == self.log.last:
                return found | {name: self._cache[name] for name in names if name in self._cache}
            await self._repair(applied)

    def _timers_handled(self, letters: Sequence[Letter], held: dict[str, Held]) -> None:
        """A timer that is still armed came early, and comes again."""
        boot = self._core.clock.boot()
        for message in (letter.message for letter in letters):
            if isinstance(message, TimerFired):
                one = held.get(message.conversation)
                armed = one is not None and any(
                    (t.name, t.due) == (message.name, message.due) for t in one.ticket.timers
                )
                member = TimerName(message.conversation, message.ticket, message.tenant, message.name).member
                again = self._sent.handled(member, message.due, armed, boot)
                if again is not None:
                    self._check_at = min(self._check_at, again)

    async def _commit(self, transitions: list[Transition], held: dict[str, Held], dead: list[Outgoing]) -> None:
        """Steps 7-9: append, then publish and index at the same time."""
        before, changes = self.log.last, Changes()
        outgoing = [*dead, *(outgoing_of(o, t) for t in transitions for o in t.outputs)]
        if transitions:
            self._clean = False
            texts = [t.encode_ticket() for t in transitions]
            await self.log.append([encode(t, text) for t, text in zip(transitions, texts, strict=True)])
            self._core.kill("owner.8")
            self._change(changes, transitions, texts, held)
            indexing = asyncio.create_task(self._write_index(before, changes))
            try:
                await self._publish(outgoing)
            finally:
                await indexing
            self._clean = True
        else:
            await self._publish(outgoing)
        self._core.kill("owner.9")

    def _change(
        self, changes: Changes, transitions: list[Transition], texts: list[bytes], held: dict[str, Held]
    ) -> None:
        """What the index must hear, what the cache holds now, and which records are superseded."""
        first = dict(held)
        encoded: dict[str, bytes] = {}
        for transition, text in zip(transitions, texts, strict=True):
            name = transition.ticket.conversation
            if name in held:
                self._garbage.append((held[name].ticket.inbox_offset, held[name].key.encode()))
            held[name] = Held(transition.ticket, transition.epoch)
            encoded[name] = text
        keep = self._policy.keep_closed_ms
        for name, text in encoded.items():
            after = timers_of(held[name].ticket, keep)
            changes.add(name, self.log.epoch, text)
            changes.add_timers(timers_of(first[name].ticket, keep) if name in first else {}, after)
            self._cache[name] = held[name]
            self._cache.move_to_end(name)
        while len(self._cache) > self._policy.cached_tickets:
            self._cache.popitem(last=False)
        if changes.armed:
            self._check_by(min(changes.armed.values()))

    def _check_by(self, due: Millis) -> None:
        clock = self._core.clock
        self._check_at = min(self._check_at, clock.boot() + max(0.0, (due - self.log.now()) / 1000))

    async def _write_index(self, before: int, changes: Changes) -> None:
        """Redis follows the log. Whatever goes wrong here, the next load finds."""
        try:
            if not await self._index.write(before, self.log.last, changes):
                logger.warning("index not written", extra={"shard": self.partition})
        except IndexUnavailable as error:
            logger.debug("index not written", extra={"shard": self.partition, "error": str(error)})
        self._core.kill("owner.9.indexed")

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        if messages:
            await self._persist("bus", lambda: self._core.bus.publish(messages))
        self._core.kill("owner.9.published")

    async def _remove(self, keys: list[bytes], committed: int) -> None:
        """Tombstone these keys, and superseded records whose outputs nobody can need again."""
        keys += [key for cause, key in self._garbage if cause < committed]
        self._garbage = deque(item for item in self._garbage if item[0] >= committed)
        for start in range(0, len(keys), 1_000):
            await self.log.tombstone(keys[start : start + 1_000])
        self._core.kill("owner.10.tombstoned")

    # Step 11

    async def _check(self) -> None:
        """The watermark, due timers, and what may be removed."""
        clock, now = self._core.clock, self.log.now()
        self._check_at = clock.boot() + self._policy.check_s
        try:
            due = await self._index.due(now)
            if due.applied != self.log.last:
                await self._repair(due.applied)
                self._check_at = clock.boot()
                return
            await self._fire(due.members, now)
            for member, _ in due.members:
                await self._forget(TimerName.read(member))
        except RetryableError as error:
            logger.log(level(error), "timers wait", extra={"shard": self.partition, "error": str(error)})
            return
        if due.next_due is not None:
            self._check_by(due.next_due)
        if self.log.foreign:
            self._garbage.extend((-1, record.key or b"") for record in self.log.foreign)
            self.log.foreign.clear()
        if self._garbage and not self.pending:
            await self._remove([], self._commits.acknowledged(self.partition))

    async def _fire(self, due: list[tuple[str, Millis]], now: Millis) -> None:
        fresh = [
            (TimerName.read(member), at)
            for member, at in self._sent.fresh(due, self._core.clock.boot())
            if not TimerName.read(member).forgets
        ]
        if not fresh:
            return
        held = {timer.conversation: self._cache.get(timer.conversation) for timer, _ in fresh}
        tickets = {name: one.ticket if one else None for name, one in held.items()}
        await self._core.bus.publish(
            [fired(timer, at, now, tickets[timer.conversation], self.partition) for timer, at in fresh]
        )
        self._sent.appended([(timer.member, at) for timer, at in fresh], self._core.clock.boot())
        self._core.kill("owner.11")

    async def _forget(self, timer: TimerName) -> None:
        """A closed ticket's last record goes, once none before it is left."""
        name = f"{timer.conversation}|".encode()
        if not timer.forgets or any(key.startswith(name) for _, key in self._garbage):
            return
        _, found = await self._index.load([timer.conversation])
        held = found.get(timer.conversation)
        if held is not None and (held.ticket.id != timer.ticket or held.ticket.status is not Status.CLOSED):
            return
        if held is not None:
            await self.log.tombstone([held.key])
        self._cache.pop(timer.conversation, None)
        await self._index.forget(self.log.last, timer.conversation, timer.member)
