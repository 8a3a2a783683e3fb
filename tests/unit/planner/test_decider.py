"""What becomes of results that lie together in a batch of the mailbox."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from services.planner.core import Core, OwnerPolicy
from services.planner.decide import decide, quarantine
from services.planner.decider import Decider
from services.planner.store import Held, Transition
from tandem.bus.base import NewRecord, Outgoing, Record
from tandem.contracts.inbox import StepCompleted, StepsCompleted
from tandem.contracts.message import Envelope, to_headers
from tandem.contracts.ticket import Ticket
from tandem.packs.model import Pack
from tests.unit.decide.world import PACK, World, tool_result

UNUSED: Any = None


class Packs:
    def get(self, name: str, hash: str | None = None) -> Pack:
        return PACK


def decider(decides: Any = decide) -> Decider:
    core = Core(
        bus=UNUSED,
        redis=UNUSED,
        packs=Packs(),
        decide=decides,
        quarantine=quarantine,
        clock=UNUSED,
        policy=OwnerPolicy(),
        kill=lambda point: None,
        owner_id="o",
        group="g",
    )
    return Decider(core, 0)


def forked() -> World:
    """A ticket that waits for two calls at once."""
    world = World()
    world.say("fork", "fork")
    world.result({})
    return world


def mailed(world: World) -> list[Record]:
    """The answers to all that the ticket waits for, as they lie in the mailbox."""
    records = []
    for number, task in enumerate(world.tasks, world.offset + 1):
        message = world.completed(tool_result(task, {"v": str(number)}), task)
        envelope = Envelope(f"r{number}", "tandem/executor", StepCompleted.TYPE, 1, message.conversation, "acme")
        new = NewRecord(message.conversation, message.to_json(), to_headers(envelope))
        key = message.conversation.encode()
        records.append(Record("ticket.inbox", 0, number, world.now + number, key, new.value, new.headers))
    return records


def decided(one: Decider, ticket: Ticket, records: list[Record]) -> list[Transition]:
    dead: list[Outgoing] = []
    letters, _ = one.read(records)
    made = one.transitions(letters, {ticket.conversation: Held(ticket, 1)}, 1, dead)
    assert not dead
    return made


def test_they_are_one_transition_caused_by_the_last() -> None:
    world = forked()
    records = mailed(world)
    [made] = decided(decider(), world.t, records)
    assert (made.cause, made.ticket.inbox_offset, made.ticket.version) == (
        records[-1].offset,
        records[-1].offset,
        world.t.version + 1,
    )
    assert made.time == records[-1].timestamp


def test_one_that_was_applied_before_is_passed_over() -> None:
    world = forked()
    first, second = mailed(world)
    [before] = decided(decider(), world.t, [first])
    [after] = decided(decider(), before.ticket, [first, second])
    assert (after.cause, after.ticket.version) == (second.offset, before.ticket.version + 1)


def test_where_they_fail_together_each_is_decided_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    world = forked()
    first, second = mailed(world)

    def fails_on_the_second(ticket: Any, message: Any, now: int, pack: Pack, offset: int) -> Any:
        if isinstance(message, StepsCompleted) or offset == second.offset:
            raise RuntimeError("boom")
        return decide(ticket, message, now, pack, offset)

    with caplog.at_level(logging.CRITICAL):
        made = decided(decider(fails_on_the_second), world.t, [first, second])
    assert [(one.cause, one.ticket.version - world.t.version) for one in made] == [
        (first.offset, 1),
        (second.offset, 2),
    ]
    done = {effect.step for effect in made[-1].ticket.effects.values() if effect.status == "done"}
    assert len(done) == 2, "the first result is in the ticket, beside that of the step before"
    assert "boom" in (made[-1].ticket.quarantined or "")
