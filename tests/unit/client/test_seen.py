from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.client.seen import MAX_IDS, Seen
from tandem.contracts.customer import Reply, ReplyText


def reply(id, turn=1, seq=1, state="final", ticket="t1", after=None):
    return Reply(
        id=id,
        tenant="acme",
        channel="webhook",
        thread="r",
        conversation="c1",
        ticket=ticket,
        turn=turn,
        seq=seq,
        state=state,
        after=after,
        parts=(ReplyText(text=id),),
    )


def draft(id, seq, after, turn=1):
    return reply(id, turn, seq, "draft", after=after)


@pytest.mark.parametrize(
    ("replies", "shown"),
    [
        ([reply("a"), reply("b"), reply("a")], [True, True, False]),
        ([reply("a", turn=2), reply("b", turn=1), reply("c", turn=2)], [True, False, True]),
        ([reply("a", turn=2), reply("b", turn=1, ticket="t2")], [True, True]),
        ([reply("a", seq=1, state="draft"), reply("a", seq=2, state="draft"), reply("a", seq=3)], [True, True, True]),
        ([reply("a"), reply("a", seq=2, state="draft")], [True, False]),
        ([reply("a", state="draft"), reply("a", state="draft")], [True, False]),
        ([draft("d", 1, 0), draft("d", 2, 0), reply("a", seq=1), draft("d", 3, 0)], [True, True, True, False]),
        ([reply("a", seq=1), draft("d", 1, 0), reply("b", seq=2)], [True, False, True]),  # its final is another's
        ([reply("a", seq=1), draft("d", 1, 1), draft("d", 1, 1)], [True, True, False]),  # begun after that final
        ([reply("a", seq=4), draft("d", 1, 0, turn=2), reply("b", turn=2)], [True, True, True]),  # a turn counts anew
        ([draft("d", 1, 0), reply("taken over", turn=2), draft("d", 2, 0)], [True, True, False]),
        ([reply("card", seq=1, state="draft"), reply("a"), reply("card", seq=2, state="draft")], [True, True, True]),
        ([reply("x", turn=1, state="draft"), reply("y", turn=2), reply("x", turn=1, seq=2)], [True, True, False]),
    ],
)
def test_what_is_shown(replies, shown):
    seen = Seen()
    assert [seen.admit(one) for one in replies] == shown


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3)), max_size=60))
def test_turns_never_go_back_and_nothing_is_shown_twice(pairs):
    seen = Seen()
    shown = [(id, turn) for id, turn in pairs if seen.admit(reply(str(id), turn))]
    assert [turn for _, turn in shown] == sorted(turn for _, turn in shown)
    assert len({id for id, _ in shown}) == len(shown)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2), st.integers(0, 3), st.integers(1, 4)), max_size=40))
def test_no_draft_is_shown_after_a_final_that_ends_it(told):
    """Whatever order, repetition or delay the log brings them in."""
    seen, finals = Seen(), []
    for final, turn, after, seq in told:
        one = reply(f"f{turn}{seq}", turn, seq) if final else draft(f"d{turn}{after}", seq, after, turn)
        if not seen.admit(one):
            continue
        if final:
            finals.append((turn, seq))
        assert final or all(each <= (turn, after) for each in finals)


def test_memory_is_bounded():
    seen = Seen(max_tickets=2)
    assert all(seen.admit(reply("a", ticket=f"t{n}")) for n in range(5))
    assert not seen.admit(reply("a", ticket="t4"))
    assert seen.admit(reply("a", ticket="t0"))
    assert all(seen.admit(reply(str(n))) for n in range(MAX_IDS + 1))
