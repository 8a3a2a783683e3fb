"""What a reader of replies has seen, so that nothing is shown twice and nothing void is shown at all."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tandem.contracts.customer import Reply

MAX_TICKETS = 10_000
MAX_IDS = 512


@dataclass(slots=True)
class _Ticket:
    turn: int = 0
    final: int = 0  # the turn's highest seq of a final
    ids: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Seen:
    """Per ticket the highest turn and the last ids. Bounded: a ticket nobody wrote on for long is forgotten."""

    def __init__(self, max_tickets: int = MAX_TICKETS) -> None:
        self._max_tickets = max_tickets
        self._tickets: OrderedDict[str, _Ticket] = OrderedDict()

    def admit(self, reply: Reply) -> bool:
        """True if the reply should be shown: of the highest turn so far, and not seen before.

        A final makes the drafts before it void: one that comes late is not shown.
        """
        ticket = self._tickets.setdefault(reply.ticket, _Ticket())
        self._tickets.move_to_end(reply.ticket)
        if len(self._tickets) > self._max_tickets:
            self._tickets.popitem(last=False)
        if reply.turn < ticket.turn:
            return False
        if reply.turn > ticket.turn:
            ticket.turn, ticket.final = reply.turn, 0
        if reply.state == "final":
            ticket.final = max(ticket.final, reply.seq)
        elif reply.after is not None and reply.after < ticket.final:
            return False
        key = reply.id if reply.state == "final" else f"{reply.id}#{reply.seq}"
        if key in ticket.ids or reply.id in ticket.ids:
            return False
        ticket.ids[key] = None
        if len(ticket.ids) > MAX_IDS:
            ticket.ids.popitem(last=False)
        return True
