"""The consume loop: records in, handlers run, what they return is published, then the offsets are committed.

- At least once: an offset is committed only when the handler returned and what it returned is acknowledged, and when
  the same is true of every offset below it.
- At most `max_in_flight` handlers run, whatever the number of partitions. On ordered topics records of one key are
  handled one after the other, in the order of the log; all else runs side by side.
- A handler that fails sends its record through the retry topic, with growing pauses, and in the end to `dead-letters`;
  nothing else waits for it. Where a topic has no retry topic, a RetryableError holds the record and its key.
- What cannot be read goes to `dead-letters` as it came.
- When the bus does not acknowledge, outputs are kept and sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from tandem.bus.base import Bus, Consumer, Outgoing, Record, TopicPartition
from tandem.bus.dead_letters import dead_letter, tell_ticket
from tandem.bus.lag import Membership
from tandem.bus.lanes import Lanes, Taken
from tandem.bus.offsets import Offsets
from tandem.bus.publisher import AGAIN, Publisher
from tandem.bus.retries import Backoff, RetryDecision, attempt_of, decide_retry, retry_record, wait_of
from tandem.clock import Clock
from tandem.contracts.message import MAX_BODY_BYTES, Envelope, Message, read_body, read_envelope
from tandem.contracts.topics import Topic
from tandem.errors import BusUnavailable, FatalError, InvalidError, InvalidMessage, Refused
from tandem.kill_points import Kill, go_on
from tandem.telemetry import count, names, observe, unbind

logger = logging.getLogger(__name__)

TURN_S = 0.2
"""The loop turns at least this often; liveness is told by it."""


class Delivery(NamedTuple):
    """A record that could be read. `attempt` is 1 the first time."""

    record: Record
    envelope: Envelope
    message: Message
    attempt: int


Handler: TypeAlias = Callable[[Delivery], Awaitable[Sequence[Outgoing]]]
"""Handles one delivery and returns what to publish. May be called again with the same delivery."""

Around: TypeAlias = Callable[[Record], AbstractContextManager[Any]]
"""Entered around each call of the handler, in its task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPolicy:
    """What is read, how much at once, how long to wait."""

    wanted: Callable[[Record], bool] = lambda record: True  # what is not counts as handled
    max_in_flight: int = 64  # handlers at work
    ordered: bool = True  # one key serially
    poll_records: int = 500  # records taken up beyond those at work
    partition_records: int = 200  # of one partition, before it is paused and takes no more room from the others
    waiting_records: int = 1_000  # the same for one partition of a retry topic
    span_records: int = (
        20_000  # finished ones that a slow one keeps from being committed, before its partition is paused
    )
    backoff: Backoff = field(default_factory=Backoff)
    commit_s: float = 0.05
    revoke_grace_s: float = 5.0


class ConsumeLoop:
    """One member of a group and its handlers. `run` works until `stop`; both may be called once."""

    def __init__(
        self,
        bus: Bus,
        group: str,
        topics: Sequence[Topic],
        handler: Handler,
        *,
        policy: LoopPolicy | None = None,
        clock: Clock,
        name: str,
        around: Around = contextlib.nullcontext,
        kill: Kill = go_on,
    ) -> None:
        self._bus = bus
        self._group = group
        self._handler = handler
        self._policy = policy or LoopPolicy()
        self._clock = clock
        self._name = name
        self._around = around
        self._kill = kill
        self._topics = {topic.name: topic for topic in topics}
        self._plain = frozenset(self._topics)  # the others are retry topics
        self._topics |= {topic.retry: topic for topic in topics if topic.retries}
        self._offsets = Offsets()
        self._lanes = Lanes(self._work, self._policy.max_in_flight, clock, self._changed)
        self._publisher = Publisher(bus, clock, self._settled, self._refuse)
        self._paused: set[TopicPartition] = set()
        self._progress = asyncio.Event()  # something ended
        self._to_commit = asyncio.Event()
        self._stopping = False
        self._leaving = False
        self._grace_s = 0.0
        self._ended: asyncio.Event | None = None
        self._joined: Consumer | None = None
        self.heartbeat = clock.boot()

    @property
    def in_flight(self) -> int:
        """Records taken up and not finished; those whose time has not come are left out."""
        return self._lanes.queued + self._lanes.running + self._publisher.pending

    @property
    def idle(self) -> bool:
        return not self.in_flight and not self._lanes.waiting

    @property
    def member(self) -> Membership | None:
        """Its place in the group; None before it has joined."""
        return None if self._joined is None else (self._group, self._joined)

    async def run(self) -> None:
        """Consume until `stop`. Raises a FatalError of a handler, and what the listener or the bus refuse for good."""
        self._ended = asyncio.Event()
        helpers = [
            asyncio.create_task(self._publisher.run(), name=f"publish {self._name}"),
            asyncio.create_task(self._commits(), name=f"commit {self._name}"),
        ]
        try:
            consumer = await self._join()
            while consumer is not None and not self._stopping:
                self.heartbeat = self._clock.boot()
                self._check(helpers)
                await self._turn(consumer)
            await self._drain()
        finally:
            try:
                await self._leave(helpers)
            finally:
                self._ended.set()

    async def stop(self, grace_s: float) -> None:
        """Fetch no more, finish what is at work within `grace_s`, publish, commit, leave the group."""
        self._grace_s = grace_s
        self._stopping = True
        self._changed()
        if self._ended is not None:
            await self._ended.wait()

    # One turn

    async def _join(self) -> Consumer | None:
        """None when stopped before."""
        attempt = 0
        while not self._stopping:
            try:
                self._joined = await self._bus.consumer(self._group, list(self._topics), self)
                return self._joined
            except BusUnavailable as error:
                attempt += 1
                logger.warning("cannot join; trying again", extra={"group": self._group, "error": str(error)})
                await self._clock.sleep(AGAIN.after(attempt))
                self.heartbeat = self._clock.boot()
        return None

    async def _turn(self, consumer: Consumer) -> None:
        room = self._room()
        if room <= 0:
            await self._wait_for_progress(TURN_S)
        else:
            try:
                records = await consumer.poll(min(room, self._policy.partition_records), TURN_S)
                if records:
                    self._kill(f"{self._name}.loop.1")
                for record in records:
                    self._take(record)
            except BusUnavailable as error:
                logger.warning("cannot poll; trying again", extra={"group": self._group, "error": str(error)})
                await self._clock.sleep(AGAIN.first_s)
        self._make_way(consumer)

    def _room(self) -> int:
        """How many more may be taken up. Paused partitions have bounds of their own: a hot key holds up no other."""
        most = self._policy.max_in_flight + self._policy.poll_records
        parked = sum(self._offsets.of(at).unfinished for at in self._paused if at.topic in self._plain)
        return min(most, most + parked - self.in_flight)

    def _take(self, record: Record) -> None:
        offsets = self._offsets.of(record.at)
        if offsets.lost:
            return
        offsets.begin(record.offset)
        if not self._policy.wanted(record):
            offsets.finish(record.offset)
            self._to_commit.set()
            return
        key = record.key if self._policy.ordered else None
        if record.topic in self._plain:
            self._lanes.add(Taken(record, offsets, key, 1))
            return
        taken = Taken(record, offsets, key, attempt_of(record))
        if wait_s := wait_of(record, self._clock.now(), self._policy.backoff):
            self._lanes.add_later(taken, wait_s)
        else:
            self._lanes.add(taken)

    def _make_way(self, consumer: Consumer) -> None:
        """Pause partitions of which too much is open, until half of it is done."""
        for at, offsets in self._offsets:
            most = self._policy.partition_records if at.topic in self._plain else self._policy.waiting_records
            fill = max(offsets.unfinished / most, offsets.span / self._policy.span_records)
            if at not in self._paused and fill >= 1:
                self._paused.add(at)
                consumer.pause([at])
            elif at in self._paused and fill <= 0.5:
                self._paused.discard(at)
                consumer.resume([at])

    def _check(self, helpers: Sequence[asyncio.Task[None]]) -> None:
        if self._lanes.failure is not None:
            raise self._lanes.failure
        for helper in helpers:
            if helper.done():
                helper.result()

    # One record

    async def _work(self, taken: Taken) -> float | None:
        record = taken.record
        unbind()
        began = self._clock.boot()
        try:
            outputs = await self._handle(taken)
            self._kill(f"{self._name}.loop.2")
            outcome = "done"
        except FatalError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a message
            decision = decide_retry(error, taken.attempt, self._topics[record.topic], self._policy.backoff)
            self._log_failure(taken, decision, error)
            outcome = decision.kind
            if decision.kind == "hold":
                taken.attempt += 1
                return decision.wait_s
            outputs = self._failed(taken, decision, isinstance(error, Refused))
        finally:
            observe(names.HANDLER_SECONDS, self._clock.boot() - began, self._name, record.topic)
        count(names.MESSAGES, self._name, record.topic, outcome)
        self._publisher.add(taken, outputs)
        return None

    async def _handle(self, taken: Taken) -> Sequence[Outgoing]:
        record = taken.record
        envelope = read_envelope(record.headers)
        delivery = Delivery(record, envelope, read_body(envelope.type, record.value), taken.attempt)
        with self._around(record):
            try:
                outputs = await self._handler(delivery)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise RuntimeError("something the handler waited for was cancelled") from error
        for output in outputs:
            if len(output.record.value or b"") > MAX_BODY_BYTES:
                raise InvalidMessage("output-too-large", f"a body for {output.topic} is over {MAX_BODY_BYTES} bytes")
        return outputs

    def _failed(self, taken: Taken, decision: RetryDecision, refused: bool) -> Sequence[Outgoing]:
        record, topic = taken.record, self._topics[taken.record.topic]
        if decision.kind == "retry":
            count(names.RETRIES, self._name, topic.name)
            due = self._clock.now() + round(decision.wait_s * 1000)
            return [retry_record(record, topic, taken.attempt + 1, due)]
        if not topic.dead_letters:
            return []
        count(names.DEAD_LETTERS, self._name, topic.name, decision.reason)
        letter = dead_letter(record, decision.reason, decision.detail, self._name)
        told = None if refused else tell_ticket(record, decision.reason, self._name, self._clock.now())
        return [letter] if told is None else [letter, told]

    def _refuse(self, taken: Taken, error: InvalidError) -> Sequence[Outgoing]:
        """The bus does not take what the handler returned."""
        decision = RetryDecision("dead", reason="output-refused", detail=str(error))
        self._log_failure(taken, decision, error)
        return self._failed(taken, decision, False)

    def _log_failure(self, taken: Taken, decision: RetryDecision, error: Exception) -> None:
        record = taken.record
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        fate = {"attempt": taken.attempt, "fate": decision.kind, "reason": decision.reason}
        logger.warning("message not handled", exc_info=error, extra={"service": self._name, **where, **fate})

    def _settled(self, taken: Taken) -> None:
        """Its outputs are acknowledged."""
        self._kill(f"{self._name}.loop.3")
        taken.offsets.finish(taken.record.offset)
        taken.offsets.running -= 1
        self._to_commit.set()
        self._changed()

    def _changed(self) -> None:
        self._progress.set()

    async def _wait_for_progress(self, seconds: float) -> None:
        self._progress.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._progress.wait()

    # Commits and assignments

    async def _commits(self) -> None:
        while True:
            await self._to_commit.wait()
            await self._clock.sleep(self._policy.commit_s)
            self._to_commit.clear()
            await self._commit()

    async def _commit(self) -> None:
        positions = self._offsets.to_commit()
        if self._joined is None or not positions:
            return
        self._kill(f"{self._name}.loop.4")
        try:
            await self._joined.commit(positions)
        except BusUnavailable as error:
            logger.warning("offsets not committed; trying again", extra={"group": self._group, "error": str(error)})
            self._to_commit.set()
        else:
            self._offsets.committed(positions)

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._offsets.forget(partitions)

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finish what is at work on them, for a bounded time, and commit that."""
        if not self._leaving:
            self._offsets.lose(partitions)
            self._lanes.drop_lost()
            await self._finish(self._policy.revoke_grace_s, lambda: self._offsets.running(partitions) == 0)
            await self._commit()
        self._offsets.forget(partitions)
        self._paused.difference_update(partitions)

    async def _finish(self, seconds: float, finished: Callable[[], bool]) -> None:
        deadline = self._clock.boot() + seconds
        while not finished() and (left := deadline - self._clock.boot()) > 0:
            await self._wait_for_progress(left)

    async def _drain(self) -> None:
        await self._lanes.close()
        await self._finish(self._grace_s, lambda: self._lanes.running + self._publisher.pending == 0)

    async def _leave(self, helpers: Sequence[asyncio.Task[None]]) -> None:
        """Whatever is still at work is given up: it was not committed and comes again."""
        self._leaving = True
        await self._lanes.cancel()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        if self._joined is not None:
            await self._commit()
            await self._joined.close()
