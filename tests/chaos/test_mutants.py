"""A harness that cannot fail proves nothing: each mutant breaks one rule of the protocol, and the simulation must see it on
some seed on which the platform as it is keeps the promise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import pytest

from services.executor import policies, protocol
from services.executor.tools import TooLate
from services.planner import decider, shard, store
from services.planner.decide import dispatch
from services.planner.mailbox import Letter
from services.planner.shard import Shard
from services.planner.timers import TimerName
from tandem.bus.base import NewRecord, Record
from tandem.chaos.simulation.run import simulate
from tandem.contracts.inbox import StepsCompleted, TimerFired
from tandem.contracts.message import Envelope, to_headers
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import call_identity, derive_id
from tandem.fenced_log import FencedLog

Mutate = Callable[[pytest.MonkeyPatch], None]
SEEDS: Final = range(1, 61)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Mutants make the platform complain of every fault there is."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def acknowledge_before_outputs(patch: pytest.MonkeyPatch) -> None:
    """The inbox is committed as soon as the record is in the log."""
    commit = Shard._commit

    async def early(self: Shard, transitions: list[Any], held: Any, dead: Any) -> None:
        if transitions:
            self._commits.note(self.partition, transitions[-1].cause + 1)
        await commit(self, transitions, held, dead)

    patch.setattr(Shard, "_commit", early)


def no_gap_check(patch: pytest.MonkeyPatch) -> None:
    """A writer does not look at what others have written between its own records."""

    async def trusting(self: FencedLog, start: int, end: int) -> None:
        return None

    patch.setattr(FencedLog, "_judge_gap", trusting)


def call_before_intent(patch: pytest.MonkeyPatch) -> None:
    """The tool is called first, and what was meant is written down afterwards."""

    async def hasty(self: Any, call: Any, attempt: int) -> Any:
        def guard() -> None:
            self.calls += 1

        try:
            outcome = await call.send(guard)
        except TooLate:
            raise AssertionError("no guard of ours is ever too late") from None
        settings = self._world.settings
        await self._log.intend(self._intent(settings.call_window_ms + self._tool.timeout_ms, attempt))
        return outcome

    patch.setattr(protocol.Run, "_call", hasty)


def plain_key_compaction(patch: pytest.MonkeyPatch) -> None:
    """Records of the log are keyed by the conversation alone, and compaction keeps whatever came last."""
    patch.setattr(store, "record_key", lambda conversation, epoch, version: conversation)

    async def nothing(self: Shard, keys: list[bytes], committed: int) -> None:
        self._garbage.clear()

    patch.setattr(Shard, "_remove", nothing)


def no_applied_check(patch: pytest.MonkeyPatch) -> None:
    """Whatever Redis says of a ticket is believed."""

    async def believing(self: Shard, letters: Any) -> dict[str, Any]:
        names = dict.fromkeys(letter.conversation for letter in letters)
        _, found = await self._index.load([name for name in names if name not in self._cache])
        return found | {name: self._cache[name] for name in names if name in self._cache}

    patch.setattr(Shard, "_load", believing)


def effect_id_from_the_plan_version(patch: pytest.MonkeyPatch) -> None:
    """A step that is sent again is another effect."""
    version: ContextVar[int] = ContextVar("version", default=0)
    execute = dispatch.execute

    def versioned(draft: Any, *rest: Any) -> bool:
        version.set(draft.version)
        return execute(draft, *rest)

    patch.setattr(dispatch, "execute", versioned)

    def another(*parts: Any) -> tuple[str, str]:
        effect, hash_ = call_identity(*parts)
        return derive_id(effect, version.get()), hash_

    patch.setattr(dispatch, "call_identity", another)
    patch.setattr(policies, "call_identity", lambda *parts: (_Any(), call_identity(*parts)[1]))


class _Any(str):
    """Equal to every effect id: the executor of this mutant cannot know better."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def timer_straight_into_decide(patch: pytest.MonkeyPatch) -> None:
    """A due timer is decided at once, without a place in the mailbox."""

    async def straight(self: Shard, due: list[tuple[str, int]], now: int) -> None:
        for member, at in due:
            timer = TimerName.read(member)
            held = self._cache.get(timer.conversation)
            if timer.forgets or held is None:
                continue
            fired = TimerFired(
                tenant=timer.tenant, conversation=timer.conversation, ticket=timer.ticket, name=timer.name, due=at
            )
            envelope = Envelope(
                derive_id(member, at), "tandem/planner", fired.TYPE, now, fired.conversation, fired.tenant
            )
            new = NewRecord(fired.conversation, fired.model_dump_json().encode(), to_headers(envelope))
            offset = held.ticket.inbox_offset + 1
            key = fired.conversation.encode()
            self.deliver(Record(TICKET_INBOX.name, self.partition, offset, now, key, new.value, tuple(new.headers)))

    patch.setattr(Shard, "_fire", straight)


def a_result_lost_among_others(patch: pytest.MonkeyPatch) -> None:
    """Of results that lie together the first is dropped, and the record says that all were applied."""
    joined = decider.together

    def forgetful(letters: Iterable[Letter]) -> list[Letter]:
        found = joined(letters)
        return [
            one._replace(message=StepsCompleted(one.message.results[1:]))
            if isinstance(one.message, StepsCompleted)
            else one
            for one in found
        ]

    patch.setattr(decider, "together", forgetful)


MUTANTS: Final[dict[str, Mutate]] = {
    "acknowledge before outputs": acknowledge_before_outputs,
    "no gap check": no_gap_check,
    "call before intent": call_before_intent,
    "plain-key compaction": plain_key_compaction,
    "no `applied` check": no_applied_check,
    "effect id from the plan version": effect_id_from_the_plan_version,
    "timer straight into `decide`": timer_straight_into_decide,
    "a result lost among others": a_result_lost_among_others,
}


def first_caught() -> int | None:
    """The first seed on which something is wrong."""
    return next((seed for seed in SEEDS if simulate(seed).violations), None)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_where_the_platform_is_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        MUTANTS[name](patch)
        seed = first_caught()
    assert seed is not None, f"nobody noticed in {len(SEEDS)} seeds"
    assert simulate(seed).violations == []


def test_the_mutants_patch_what_is_there() -> None:
    """Names of the platform that the mutants replace; a rename must not turn one into nothing."""
    assert callable(shard.Shard._fire)
    assert callable(store.record_key)
