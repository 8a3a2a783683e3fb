"""Due timers become messages of the mailbox; they never call `decide` themselves."""

from __future__ import annotations

from dataclasses import dataclass

from services.planner.store import FORGET, SEPARATOR, SOURCE
from tandem.bus.base import NewRecord, Outgoing
from tandem.contracts.inbox import TimerFired
from tandem.contracts.message import Envelope, to_headers
from tandem.contracts.ticket import Ticket
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import Millis, derive_id

UNHANDLED_S = 30.0
"""A timer that was appended and not handled for so long is appended again; a reader drops what is disarmed."""

FIRST_AGAIN_S = 0.05
LAST_AGAIN_S = 300.0
MAX_SENT = 10_000


@dataclass(slots=True)
class _Sent:
    times: int
    again_at: float


@dataclass(frozen=True, slots=True)
class TimerName:
    """A member of the shard's sorted set."""

    conversation: str
    ticket: str
    tenant: str
    name: str

    @classmethod
    def read(cls, member: str) -> TimerName:
        return cls(*member.split(SEPARATOR, 3))

    @property
    def member(self) -> str:
        return SEPARATOR.join((self.conversation, self.ticket, self.tenant, self.name))

    @property
    def forgets(self) -> bool:
        return self.name == FORGET


class SentTimers:
    """Which timers are in the mailbox already. Lost with the process: then some are there twice, and disarmed."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, Millis], _Sent] = {}

    def fresh(self, due: list[tuple[str, Millis]], boot: float) -> list[tuple[str, Millis]]:
        """Those to append now."""
        still = set(due)
        if len(self._sent) > MAX_SENT:
            self._sent = {key: sent for key, sent in self._sent.items() if key in still}
        return [key for key in due if key not in self._sent or self._sent[key].again_at <= boot]

    def appended(self, keys: list[tuple[str, Millis]], boot: float) -> None:
        for key in keys:
            before = self._sent.get(key)
            self._sent[key] = _Sent(before.times + 1 if before else 1, boot + UNHANDLED_S)

    def handled(self, member: str, due: Millis, armed: bool, boot: float) -> float | None:
        """`decide` has seen it. Still armed, it was early: when to append it again, later each time."""
        key = (member, due)
        if not armed:
            self._sent.pop(key, None)
            return None
        sent = self._sent.setdefault(key, _Sent(1, boot))
        sent.again_at = boot + min(LAST_AGAIN_S, FIRST_AGAIN_S * 4.0 ** (sent.times - 1))
        return sent.again_at


def fired(timer: TimerName, due: Millis, now: Millis, ticket: Ticket | None, partition: int) -> Outgoing:
    """The message of a due timer. A wait for the platform goes on in its trace; one for a person starts another."""
    message = TimerFired(
        tenant=timer.tenant, conversation=timer.conversation, ticket=timer.ticket, name=timer.name, due=due
    )
    trace = ticket.traceparent if ticket is not None else None
    goes_on = timer.name == "burst" or timer.name.startswith("step:")
    envelope = Envelope(
        id=derive_id("timer", timer.ticket, timer.name, due),
        source=SOURCE,
        type=TimerFired.TYPE,
        time=now,
        subject=timer.conversation,
        tenant=timer.tenant,
        traceparent=trace if goes_on else None,
        tracelink=None if goes_on else trace,
    )
    record = NewRecord(timer.conversation, message.model_dump_json().encode(), to_headers(envelope))
    return Outgoing(TICKET_INBOX.name, record, partition)
