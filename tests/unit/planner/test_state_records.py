"""A state record is spliced together: it must read as what it says it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.store import Transition, encode, outgoing_of, stored
from tandem.bus.base import Record
from tandem.contracts.log import Output, StateRecord
from tandem.contracts.ticket import Budget, Cost, Fact, Ticket
from tandem.fenced_log import EPOCH_HEADER, decode

text = st.text(max_size=40)


@st.composite
def transitions(draw: st.DrawFn) -> Transition:
    ticket = Ticket(
        id=draw(text),
        conversation=draw(st.text("abc|-1", min_size=1, max_size=10)),
        tenant="acme",
        channel="web",
        thread=draw(text),
        pack="p",
        pack_hash="h",
        created_at=1,
        now=2,
        version=draw(st.integers(1, 10**6)),
        facts={'","ticket":{': Fact(value=draw(text), origin="customer", ref="m", at=1)},
        budget=Budget(limit=Cost()),
    )
    outputs = st.builds(Output, topic=text, key=text, id=text, type=text, body=text | st.just(',"ticket":{}'))
    return Transition(
        epoch=draw(st.integers(0, 10**9)),
        cause=draw(st.integers(0, 10**12)),
        ticket=ticket,
        outputs=tuple(draw(st.lists(outputs, max_size=3))),
        time=draw(st.integers(0, 10**12)),
        traceparent=draw(st.none() | text),
    )


@settings(deadline=None)
@given(transitions())
def test_it_reads_as_what_was_written_with_and_without_decoding(transition: Transition) -> None:
    new = encode(transition, transition.encode_ticket())
    assert isinstance(new.key, str)
    stamp = (EPOCH_HEADER, str(transition.epoch).encode())
    record = Record("ticket.state", 0, 0, 0, new.key.encode(), new.value, (*new.headers, stamp))
    state = decode(record)
    assert isinstance(state, StateRecord)
    assert state == StateRecord(
        epoch=transition.epoch,
        version=transition.ticket.version,
        cause=transition.cause,
        ticket=transition.ticket,
        outputs=transition.outputs,
        time=transition.time,
        traceparent=transition.traceparent,
    )
    one = stored(record)
    assert (one.conversation, one.epoch, one.cause) == (
        transition.ticket.conversation,
        transition.epoch,
        transition.cause,
    )
    assert Ticket.model_validate_json(one.ticket_json) == transition.ticket
    assert [outgoing_of(o, state) for o in state.outputs] == [outgoing_of(o, transition) for o in transition.outputs]
