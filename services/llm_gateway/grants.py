"""Grants: the same call under one grant is made and paid once; all calls under it together stay within its limit."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from services.llm_gateway.calls import Call, Completion, Failed
from services.llm_gateway.shared_grants import SharedGrants
from tandem import telemetry
from tandem.contracts.ticket import FREE, Cost
from tandem.errors import Exhausted
from tandem.telemetry import names

LEFT = "left"
"""Outcome of a call whose caller went away: whoever waits for the same call makes it."""

MAX_GRANTS = 20_000
MAX_CALLS = 16
"""Answers kept under one grant."""


@dataclass(slots=True)
class Entry:
    """One call under a grant that is on its way: what is set aside for it, and who waits for its answer."""

    reserved: Cost
    answer: asyncio.Future[Completion]


Amount: TypeAlias = tuple[int, int, int]
"""Calls, tokens, micros. There are thousands of grants: what they are made of is looked through by the collector."""

NOTHING: Amount = (0, 0, 0)


@dataclass(slots=True)
class _Grant:
    """`taken`: spent, and set aside. `calls`: those on their way, and the answers of the others."""

    spent: Amount = NOTHING
    taken: Amount = NOTHING
    calls: dict[str, Entry | Completion] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return self.spent == self.taken

    def has_room(self, cost: Cost, limit: Cost) -> bool:
        """Zero sets no limit."""
        calls, tokens, micros = _plus(self.taken, cost)
        return (
            (not limit.calls or calls <= limit.calls)
            and (not limit.tokens or tokens <= limit.tokens)
            and (not limit.micros or micros <= limit.micros)
        )


def _plus(amount: Amount, cost: Cost, times: int = 1) -> Amount:
    calls, tokens, micros = amount
    return calls + times * cost.calls, tokens + times * cost.tokens, micros + times * cost.micros


class Grants:
    """The ledger of this process, before the one that processes share, if they do. What is forgotten first is what was used
    longest ago and is not in use."""

    def __init__(self, shared: SharedGrants | None = None) -> None:
        self._shared = shared
        self._grants: OrderedDict[str, _Grant] = OrderedDict()

    async def begin(self, call: Call, question: str, estimate: Cost) -> Entry | Completion | asyncio.Future[Completion]:
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
        self._answer(call, question, begun, known, Cost())
        return known

    def settle(self, call: Call, question: str, entry: Entry, completion: Completion) -> None:
        """The call has an answer, and this is what it took."""
        self._answer(call, question, entry, completion, completion.cost)
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
        calls, tokens, micros = grant.spent
        return Cost(calls=calls, tokens=tokens, micros=micros)

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def _begin(self, call: Call, question: str, estimate: Cost) -> Entry | Completion | asyncio.Future[Completion]:
        grant = self._grants.get(call.grant_key)
        if grant is None:
            grant = self._grants[call.grant_key] = _Grant()
            self._forget()
        self._grants.move_to_end(call.grant_key)
        known = grant.calls.get(question)
        if known is not None:
            telemetry.count(names.MODEL_REPEATED, "grant")
            return known.answer if isinstance(known, Entry) else known
        if not grant.has_room(estimate, call.limit) or len(grant.calls) >= MAX_CALLS:
            telemetry.count(names.MODEL_REFUSED, "grant_spent")
            raise Exhausted("grant_spent", f"grant {call.grant} has no room for this call")
        entry = Entry(estimate, asyncio.get_running_loop().create_future())
        grant.calls[question] = entry
        grant.taken = _plus(grant.taken, estimate)
        return entry

    def _fail(self, call: Call, question: str, entry: Entry, error: BaseException, spent: Cost) -> None:
        self._close(call, entry, spent)
        self._grants[call.grant_key].calls.pop(question, None)
        left = Failed(LEFT, "the caller before went away", fault=False)
        entry.answer.set_exception(error if isinstance(error, Exception) else left)
        entry.answer.exception()  # whoever waits is told; if nobody does, that is no error

    def _answer(self, call: Call, question: str, entry: Entry, completion: Completion, spent: Cost) -> None:
        self._close(call, entry, spent)
        self._grants[call.grant_key].calls[question] = completion
        entry.answer.set_result(completion)

    def _close(self, call: Call, entry: Entry, spent: Cost) -> None:
        grant = self._grants[call.grant_key]
        grant.taken = _plus(_plus(grant.taken, entry.reserved, -1), spent)
        grant.spent = _plus(grant.spent, spent)
        entry.reserved = FREE

    def _forget(self) -> None:
        while len(self._grants) > MAX_GRANTS:
            name, oldest = next(iter(self._grants.items()))
            if not oldest.idle:
                self._grants.move_to_end(name)
                return
            del self._grants[name]
