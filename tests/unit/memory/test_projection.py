from __future__ import annotations

import pytest

from services.memory.figures import COUNTED
from services.memory.handlers import having
from services.memory.projection import KEPT, MAX_TEXT, Said, Update, project
from tandem.bus.base import Record
from tandem.contracts.events import KINDS_HEADER, Event, TicketEvents
from tandem.contracts.ticket import Cost

BASE = {"ticket": "t1", "at": 7, "status": "working"}


def said(who, text, message=""):
    return Said(who=who, text=text, at=7, ticket="t1", message=message)


def events(*found, owner="bot"):
    return TicketEvents(
        tenant="acme",
        conversation="c1",
        ticket="t1",
        version=3,
        turn=1,
        at=7,
        owner=owner,
        status="working",
        cause="tandem.routed-message.v1",
        pack="p",
        events=found,
    )


@pytest.mark.parametrize(
    ("event", "owner", "update"),
    [
        (
            Event(kind="message_received", name="m1", text="hi, the code is 4711"),
            "bot",
            Update((said("customer", "hi, the code is 4711", "m1"),), {**BASE, "asked": "hi, the code is •••"}),
        ),
        (Event(kind="reply_sent", text="ok"), "bot", Update((said("bot", "ok"),), BASE)),
        (Event(kind="reply_sent", text="ok"), "expert:ana", Update((said("expert:ana", "ok"),), BASE)),
        (
            Event(kind="noted", text="Money back.", data={"facts": [{"name": "region"}]}),
            "bot",
            Update((), {**BASE, "summary": "Money back.", "facts": '[{"name": "region"}]'}),
        ),
        (Event(kind="noted", cost=Cost(calls=2)), "bot", Update((), BASE)),
        (Event(kind="reply_sent"), "bot", Update((), BASE)),
        (Event(kind="plan_started", name="refund"), "bot", Update((), {**BASE, "intent": "refund"})),
        (Event(kind="plan_started"), "bot", Update((), BASE)),
        (Event(kind="resolved", status="done"), "bot", Update((), {**BASE, "outcome": "done"})),
        (Event(kind="handed_over", text="why"), "bot", Update((), {**BASE, "outcome": "handed_over"})),
        (Event(kind="reopened"), "bot", Update((), {**BASE, "outcome": ""})),
        (Event(kind="a_later_kind", text="x"), "bot", Update((), BASE)),
    ],
)
def test_what_an_event_means(event, owner, update):
    found = project(events(event, owner=owner))
    assert found == update
    assert found.matters == (update != Update((), BASE))
    assert not found.matters or event.kind in KEPT


@pytest.mark.parametrize("kind", sorted(KEPT))
def test_no_kind_is_read_in_vain(kind):
    assert project(events(Event(kind=kind, name="n", text="x", status="done"))).matters


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (b"reply_sent", True),
        (b"step_completed,plan_started", True),
        (b"approved", True),
        (b"step_completed,effect_done,step_dispatched", False),
        (b"not_resolved,resolved_not", False),
        (b"", False),
        (b"\xff", False),
        (None, True),
    ],
)
def test_by_its_header_a_record_may_have_events_that_memory_keeps_or_counts(header, wanted):
    headers = (("ce_type", b"x"), *(((KINDS_HEADER, header),) if header is not None else ()))
    assert having(KEPT | COUNTED)(Record("ticket.events", 0, 0, 0, b"c1", b"{}", headers)) is wanted


def test_lines_keep_their_order_and_are_capped():
    found = project(events(Event(kind="message_received", text="x" * 5_000), Event(kind="reply_sent", text="y")))
    assert [len(line.text) for line in found.lines] == [MAX_TEXT, 1]
