"""Grants: the same call under one grant is made and paid once; all calls under it together stay within its limit."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from services.llm_gateway.calls import Call, Completion, Failed
from tandem import telemetry
from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted
from tandem.telemetry import names

LEFT = "left"
"""Outcome of a call whose caller went away: whoever waits for the same call makes it."""

MAX_GRANTS = 20_000
MAX_CALLS = 16
"""Answers kept under one grant."""


@dataclass(slots=True)
class Entry:
    """One call under a grant: what is set aside for it, and the answer once there is one."""

    reserved: Cost
    answer: asyncio.Future[Completion]


@dataclass(slots=True)
class _Grant:
    spent: Cost = field(default_factory=Cost)
    reserved: Cost = field(default_factory=Cost)
    calls: dict[str, Entry] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return self.reserved == Cost()


class Grants:
    """The ledger of this process. What is forgotten first is what was used longest ago and is not in use."""

    def __init__(self) -> None:
        self._grants: OrderedDict[str, _Grant] = OrderedDict()

    def begin(self, call: Call, question: str, estimate: Cost) -> Entry | asyncio.Future[Completion]:
        """A new entry to settle or release, or the answer, perhaps still to come, of the same call before it.
        Raises Exhausted when the limit has no room."""
        grant = self._grants.get(call.grant)
        if grant is None:
            grant = self._grants[call.grant] = _Grant()
            self._forget()
        self._grants.move_to_end(call.grant)
        known = grant.calls.get(question)
        if known is not None:
            telemetry.count(names.MODEL_REPEATED, "grant")
            return known.answer
        if not _within(grant.spent + grant.reserved + estimate, call.limit) or len(grant.calls) >= MAX_CALLS:
            telemetry.count(names.MODEL_REFUSED, "grant_spent")
            raise Exhausted("grant_spent", f"grant {call.grant} has no room for this call")
        entry = Entry(estimate, asyncio.get_running_loop().create_future())
        grant.calls[question] = entry
        grant.reserved += estimate
        return entry

    def settle(self, call: Call, entry: Entry, completion: Completion) -> None:
        """The call has an answer, and this is what it took."""
        self._close(call, entry, completion.cost)
        entry.answer.set_result(completion)

    def fail(self, call: Call, question: str, entry: Entry, error: BaseException, spent: Cost) -> None:
        """The call has no answer: it may be made again, for what is left."""
        self._close(call, entry, spent)
        self._grants[call.grant].calls.pop(question, None)
        left = Failed(LEFT, "the caller before went away", fault=False)
        entry.answer.set_exception(error if isinstance(error, Exception) else left)
        entry.answer.exception()  # whoever waits is told; if nobody does, that is no error

    def spent(self, grant: str) -> Cost:
        return self._grants[grant].spent if grant in self._grants else Cost()

    def _close(self, call: Call, entry: Entry, spent: Cost) -> None:
        grant = self._grants[call.grant]
        grant.reserved -= entry.reserved
        grant.spent += spent

    def _forget(self) -> None:
        while len(self._grants) > MAX_GRANTS:
            name, oldest = next(iter(self._grants.items()))
            if not oldest.idle:
                self._grants.move_to_end(name)
                return
            del self._grants[name]


def _within(cost: Cost, limit: Cost) -> bool:
    """As Cost.within, but zero sets no limit."""
    pairs = ((cost.calls, limit.calls), (cost.tokens, limit.tokens), (cost.micros, limit.micros))
    return all(not most or value <= most for value, most in pairs)
