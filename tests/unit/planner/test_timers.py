"""Which due timers go into the mailbox, and when again."""

from __future__ import annotations

import pytest

from services.planner.timers import UNHANDLED_S, SentTimers, TimerName, fired
from tandem.contracts.inbox import TimerFired
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.ticket import Budget, Cost, Ticket

DUE = ("member", 100)
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def test_a_timer_in_the_mailbox_is_not_appended_again_until_it_is_overdue() -> None:
    sent = SentTimers()
    assert sent.fresh([DUE], 0.0) == [DUE]
    sent.appended([DUE], 0.0)
    assert sent.fresh([DUE], UNHANDLED_S - 1) == []
    assert sent.fresh([DUE], UNHANDLED_S) == [DUE]


def test_a_timer_armed_anew_is_another_one() -> None:
    sent = SentTimers()
    sent.appended([DUE], 0.0)
    assert sent.fresh([("member", 200)], 0.0) == [("member", 200)]


def test_an_early_timer_comes_again_soon_and_then_later_each_time() -> None:
    sent, boot, waits = SentTimers(), 0.0, []
    for _ in range(9):
        sent.appended([DUE], boot)
        again = sent.handled(*DUE, armed=True, boot=boot)
        assert again is not None
        waits.append(again - boot)
        assert sent.fresh([DUE], again - 0.01) == []
        assert sent.fresh([DUE], again) == [DUE]
        boot = again
    assert waits[0] == pytest.approx(0.05)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(300)


def test_a_disarmed_timer_is_forgotten() -> None:
    sent = SentTimers()
    sent.appended([DUE], 0.0)
    assert sent.handled(*DUE, armed=False, boot=0.0) is None
    assert sent.fresh([DUE], 0.0) == [DUE]


@pytest.mark.parametrize(
    ("name", "parent", "link"),
    [("burst", TRACE, None), ("step:s1", TRACE, None), ("question", None, TRACE), ("close", None, TRACE)],
)
def test_a_wait_for_a_person_starts_another_trace(name: str, parent: str | None, link: str | None) -> None:
    ticket = Ticket(
        id="k",
        conversation="c",
        tenant="acme",
        channel="web",
        thread="t",
        pack="p",
        pack_hash="h",
        created_at=1,
        now=1,
        budget=Budget(limit=Cost()),
        traceparent=TRACE,
    )
    timer = TimerName("c", "k", "acme", name)
    assert TimerName.read(timer.member) == timer
    out = fired(timer, 100, 101, ticket, 3)
    envelope = read_envelope(out.record.headers)
    assert (out.topic, out.partition, out.record.key) == ("ticket.inbox", 3, "c")
    assert (envelope.traceparent, envelope.tracelink) == (parent, link)
    assert read_body(envelope.type, out.record.value) == TimerFired(
        tenant="acme", conversation="c", ticket="k", name=name, due=100
    )
    assert fired(timer, 100, 999, None, 3).record.value == out.record.value
