"""Which letters of a batch are decided on together."""

from __future__ import annotations

import pytest

from services.planner.mailbox import MAX_TOGETHER, Letter, together
from tandem.bus.base import Record
from tandem.contracts.inbox import AnyInboxMessage, StepCompleted, StepsCompleted, TimerFired


def letters(text: str) -> list[Letter]:
    """One for each word: whose conversation, whether a result or a timer, and of which ticket: `ann:r1`, `bob:t1`."""
    found = []
    for offset, word in enumerate(text.split()):
        conversation, kind, ticket = word[:3], word[4], word[5:]
        about = {"tenant": "acme", "conversation": conversation, "ticket": ticket}
        step = {"task": "t", "step": f"s{offset}", "attempt": 1, "service": "executor", "output_type": "ToolResult"}
        message: AnyInboxMessage
        message = StepCompleted(**about, **step) if kind == "r" else TimerFired(**about, name="close", due=1)
        record = Record("ticket.inbox", 0, offset, 0, conversation.encode(), b"", ())
        found.append(Letter(record, conversation, message))
    return found


@pytest.mark.parametrize(
    ("batch", "wanted"),
    [
        ("", []),
        ("ann:r1", ["0"]),
        ("ann:r1 ann:r1", ["0+1"]),
        ("ann:r1 bob:t1 ann:r1", ["0+2", "1"]),
        ("ann:r1 bob:r2 ann:r1 bob:r2", ["0+2", "1+3"]),
        ("ann:r1 ann:t1 ann:r1", ["0", "1", "2"]),
        ("ann:t1 ann:t1 ann:r1 ann:r1", ["0", "1", "2+3"]),
        ("ann:r1 ann:r2", ["0", "1"]),
        ("ann:r1 " * (MAX_TOGETHER + 1), ["+".join(map(str, range(MAX_TOGETHER))), str(MAX_TOGETHER)]),
    ],
)
def test_results_of_one_ticket_with_nothing_between_them_are_one_letter(batch: str, wanted: list[str]) -> None:
    found = together(letters(batch))
    assert ["+".join(str(part.record.offset) for part in one.parts or (one,)) for one in found] == wanted
    for one in found:
        last = (one.parts or (one,))[-1]
        assert one.record == last.record
        if one.parts:
            assert one.message == StepsCompleted(tuple(part.message for part in one.parts))
