"""Grants: the same call under one grant is made and paid once; all calls under it together stay within its limit."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from services.llm_gateway.calls import Call, Completion, Failed
from services.llm_gateway.shared_grants import SharedGrants
from tandem import telemetry
from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted
from tandem.rpc.ports import FREE
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
class _Sum:
    """A cost that is counted up in place: there are thousands of grants, and each call changes one four times."""

    calls: int = 0
    tokens: int = 0
    micros: int = 0

    def add(self, cost: Cost, times: int = 1) -> None:
        self.calls += times * cost.calls
        self.tokens += times * cost.tokens
        self.micros += times * cost.micros


@dataclass(slots=True)
class _Grant:
    spent: _Sum = field(default_factory=_Sum)
    taken: _Sum = field(default_factory=_Sum)  # spent, and set aside
    calls: dict[str, Entry] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return self.spent == self.taken

    def has_room(self, cost: Cost, limit: Cost) -> bool:
        """Zero sets no limit."""
        taken = self.taken
        return (
            (not limit.calls or taken.calls + cost.calls <= limit.calls)
            and (not limit.tokens or taken.tokens + cost.tokens <= limit.tokens)
            and (not limit.micros or taken.micros + cost.micros <= limit.micros)
        )


class Grants:
    """The ledger of this process, before the one that processes share, if they do. What is forgotten first is what was used
    longest ago and is not in use."""

    def __init__(self, shared: SharedGrants | None = None) -> None:
        self._shared = shared
        self._grants: OrderedDict[str, _Grant] = OrderedDict()

    async def begin(self, call: Call, question: str, estimate: Cost) -> Entry | asyncio.Future[Completion]:
        """A new entry to settle or release, or the answer, perhaps still to come, of the same call before it.
        Raises Exhausted when the limit has no room."""
        begun = self._begin(call, question, estimate)
        if self._shared is None or not isinstance(begun, Entry):
            return begun
        try:
            known = await self._shared.begin(call, question, estimate)
        except BaseException as error:
            self._fail(call, question, begun, error, Cost())
            raise
        if known is None:
            return begun
        self._close(call, begun, Cost())
        begun.answer.set_result(known)
        return begun.answer

    def settle(self, call: Call, question: str, entry: Entry, completion: Completion) -> None:
        """The call has an answer, and this is what it took."""
        self._close(call, entry, completion.cost)
        entry.answer.set_result(completion)
        if self._shared is not None:
            self._shared.settle(call, question, completion)

    def fail(self, call: Call, question: str, entry: Entry, error: BaseException, spent: Cost) -> None:
        """The call has no answer: it may be made again, for what is left."""
        self._fail(call, question, entry, error, spent)
        if self._shared is not None:
            self._shared.fail(call, question, spent)

    def spent(self, call: Call) -> Cost:
        """Under the call's grant, by this process."""
        grant = self._grants.get(call.grant_key)
        if grant is None:
            return FREE
        spent = grant.spent
        return Cost(calls=spent.calls, tokens=spent.tokens, micros=spent.micros)

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def _begin(self, call: Call, question: str, estimate: Cost) -> Entry | asyncio.Future[Completion]:
        grant = self._grants.get(call.grant_key)
        if grant is None:
            grant = self._grants[call.grant_key] = _Grant()
            self._forget()
        self._grants.move_to_end(call.grant_key)
        known = grant.calls.get(question)
        if known is not None:
            telemetry.count(names.MODEL_REPEATED, "grant")
            return known.answer
        if not grant.has_room(estimate, call.limit) or len(grant.calls) >= MAX_CALLS:
            telemetry.count(names.MODEL_REFUSED, "grant_spent")
            raise Exhausted("grant_spent", f"grant {call.grant} has no room for this call")
        entry = Entry(estimate, asyncio.get_running_loop().create_future())
        grant.calls[question] = entry
        grant.taken.add(estimate)
        return entry

    def _fail(self, call: Call, question: str, entry: Entry, error: BaseException, spent: Cost) -> None:
        self._close(call, entry, spent)
        self._grants[call.grant_key].calls.pop(question, None)
        left = Failed(LEFT, "the caller before went away", fault=False)
        entry.answer.set_exception(error if isinstance(error, Exception) else left)
        entry.answer.exception()  # whoever waits is told; if nobody does, that is no error

    def _close(self, call: Call, entry: Entry, spent: Cost) -> None:
        grant = self._grants[call.grant_key]
        grant.taken.add(entry.reserved, -1)
        grant.taken.add(spent)
        grant.spent.add(spent)
        entry.reserved = FREE

    def _forget(self) -> None:
        while len(self._grants) > MAX_GRANTS:
            name, oldest = next(iter(self._grants.items()))
            if not oldest.idle:
                self._grants.move_to_end(name)
                return
            del self._grants[name]
