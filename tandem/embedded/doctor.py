"""What is stuck, why, and what to do: read from the bus and Redis, nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from services.memory.noting import GROUP as NOTES
from services.planner.store import stored
from tandem.bus.base import Bus
from tandem.bus.dead_letters import REASON
from tandem.clock import Clock
from tandem.contracts.log import OwnerClaim
from tandem.contracts.ticket import Status, Ticket
from tandem.contracts.topics import AGENTS, CUSTOMER_MESSAGES, DEAD_LETTERS, TICKET_EVENTS, TICKET_INBOX, tasks_of
from tandem.contracts.values import Millis
from tandem.embedded.state import survey, verify
from tandem.errors import IndexUnavailable
from tandem.fenced_log import Survey, decode
from tandem.redis import Redis

OWNERS = "planner.owner"
BEHIND = 1_000
"""Records a service may be behind before it is called so."""
OVERDUE_MS = 60_000
CHANGES_WITHIN_MS = 600_000
MAX_CHANGES = 3
"""Owners a shard may have had in ten minutes before somebody should look."""
REDRIVEN = "tandem-redriven"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be. `error`: a ticket suffers, or will."""

    level: Literal["error", "warning"]
    about: str
    what: str
    do: str


@dataclass(slots=True)
class Report:
    """Everything that was looked at."""

    lag: dict[str, int] = field(default_factory=dict)  # by service: records not yet handled
    shards: int = 0
    tickets: dict[str, int] = field(default_factory=dict)  # by status
    overdue_timers: int = 0
    without_timer: list[str] = field(default_factory=list)  # conversations
    dead_letters: dict[str, int] = field(default_factory=dict)  # by reason, those sent again left out
    findings: list[Finding] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {"well": self.well, **asdict(self)}


async def examine(bus: Bus, redis: Redis, clock: Clock) -> Report:
    """Look at everything. Raises BusUnavailable; without Redis, says so."""
    report = Report(shards=bus.partitions(TICKET_INBOX.name))
    generation = await _redis(redis, report)
    await _lags(bus, generation, report)
    for shard in range(report.shards):
        await _shard(bus, redis, clock, shard, generation is not None, report)
    await _dead_letters(bus, report)
    return report


async def _redis(redis: Redis, report: Report) -> str | None:
    """Memory's generation, as its group is named after it; None if Redis does not answer."""
    try:
        found = await redis.call("GET", f"{redis.prefix}:memory:generation")
    except IndexUnavailable as error:
        do = "start Redis again; nothing is lost, owners rebuild the index from the log"
        report.findings.append(Finding("error", "redis", f"Redis does not answer, so no ticket moves: {error}", do))
        return None
    return bytes(found or b"").decode()


# Lag ---------------------------------------------------------------------------------------------------------------


async def _lags(bus: Bus, generation: str | None, report: Report) -> None:
    readers = {
        "router": ("router", CUSTOMER_MESSAGES.name),
        "planner (owner)": (OWNERS, TICKET_INBOX.name),
        **{f"{name} (worker)" if name == "planner" else name: (name, tasks_of(name)) for name in AGENTS},
    }
    if generation:
        readers["memory"] = (f"memory-{generation}", TICKET_EVENTS.name)
    if await _reads(bus, NOTES, TICKET_EVENTS.name):  # it does not where no model may be asked
        readers["memory (notes)"] = (NOTES, TICKET_EVENTS.name)
    for service, (group, topic) in readers.items():
        behind = sum([await _behind(bus, group, topic, number) for number in range(bus.partitions(topic))])
        report.lag[service] = behind
        if behind > BEHIND:
            do = f"see that {service} runs and is ready (its /readyz says what it lacks); more replicas if it is only slow"
            report.findings.append(Finding("warning", service, f"{service} is {behind} records behind on {topic}", do))


async def _reads(bus: Bus, group: str, topic: str) -> bool:
    """Whether the group has ever read the topic."""
    return any([await bus.committed(group, topic, number) is not None for number in range(bus.partitions(topic))])


async def _behind(bus: Bus, group: str, topic: str, partition: int) -> int:
    return await bus.end(topic, partition) - (await bus.committed(group, topic, partition) or 0)


# Shards ------------------------------------------------------------------------------------------------------------


async def _shard(bus: Bus, redis: Redis, clock: Clock, shard: int, with_redis: bool, report: Report) -> None:
    found = await survey(bus, shard)
    now = clock.now()
    report.findings += _owners(shard, found, now, await _behind(bus, OWNERS, TICKET_INBOX.name, shard))
    tickets = list(_tickets(found))
    for ticket in tickets:
        report.tickets[ticket.status] = report.tickets.get(ticket.status, 0) + 1
    _timers(tickets, now, shard, report)
    if with_redis:
        state = await verify(bus, redis, shard)
        if not state.agrees:
            what = f"the index of shard {shard} differs from the log: {state.differences[0]}"
            do = f"an owner mends it at its next look; if it stays so: tandem state rebuild --shard {shard}"
            report.findings.append(Finding("warning", f"shard {shard}", what, do))


def _owners(shard: int, found: Survey, now: Millis, waiting: int) -> Iterator[Finding]:
    about = f"shard {shard}"
    if not found.claims and waiting:
        do = "start a planner with the role owner"
        yield Finding("error", about, f"{waiting} messages wait and nobody has ever owned the shard", do)
    recent = [record for record in found.claims if now - record.timestamp < CHANGES_WITHIN_MS]
    if len(recent) > MAX_CHANGES:
        claims = [claim for record in recent if isinstance(claim := decode(record), OwnerClaim)]
        names = ", ".join(dict.fromkeys(claim.owner[:8] for claim in claims))
        do = "look for owners that restart, or are frozen or starved past the session timeout"
        yield Finding("warning", about, f"{len(recent)} claims in ten minutes, by {names}", do)
    if found.invalid:
        what = f"{len(found.invalid)} records of fenced owners lie in the log; no reader counts them"
        yield Finding("warning", about, what, "the owner removes them at its next take-over; nothing to do")


def _tickets(found: Survey) -> Iterator[Ticket]:
    latest = {one.conversation: one for one in map(stored, found.valid)}
    for one in latest.values():
        yield Ticket.model_validate_json(one.ticket_json)


def _timers(tickets: list[Ticket], now: Millis, shard: int, report: Report) -> None:
    late = [ticket for ticket in tickets if any(timer.due < now - OVERDUE_MS for timer in ticket.timers)]
    if late:
        report.overdue_timers += len(late)
        what = f"{len(late)} tickets have a timer that is overdue by more than a minute, e.g. {late[0].conversation}"
        do = "the owner of this shard does not run or is behind: see its lag and its log"
        report.findings.append(Finding("error", f"shard {shard}", what, do))
    for ticket in tickets:
        if ticket.status is not Status.CLOSED and not ticket.timers:
            report.without_timer.append(ticket.conversation)
            do = f"a bug: please report it with `tandem ticket show {ticket.conversation} --timeline --json`"
            what = f"ticket {ticket.id} is {ticket.status} and has no timer: nothing will ever move it"
            report.findings.append(Finding("error", ticket.conversation, what, do))


# Dead letters ------------------------------------------------------------------------------------------------------


async def _dead_letters(bus: Bus, report: Report) -> None:
    reasons: dict[str, str] = {}
    redriven: set[str] = set()
    async for place, reason, mark in _letters(bus):
        if mark is None:
            reasons[place] = reason
        else:
            redriven.add(mark)
    left = Counter(reason for place, reason in reasons.items() if place not in redriven)
    report.dead_letters = dict(left.most_common())
    for reason, count in left.most_common():
        do = f"tandem dead-letters list --filter {reason}; once the cause is mended, redrive --filter {reason}"
        report.findings.append(Finding("warning", "dead-letters", f"{count} dead letters: {reason}", do))


async def _letters(bus: Bus) -> AsyncIterator[tuple[str, str, str | None]]:
    """Place, reason, and the place of the letter it is the mark of, if it is one."""
    for partition in range(bus.partitions(DEAD_LETTERS.name)):
        async for records in bus.read(DEAD_LETTERS.name, partition, 0):
            for record in records:
                mark = record.header(REDRIVEN)
                reason = (record.header(REASON) or b"").decode("utf-8", "replace")
                yield f"{partition}-{record.offset}", reason, None if mark is None else mark.decode()
