"""The offset tracker: nothing is committed past a record that is not finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.bus.base import TopicPartition
from tandem.bus.offsets import Offsets, PartitionOffsets

HERE, THERE = TopicPartition("t", 0), TopicPartition("t", 1)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Offsets taken up in order, with gaps, and finished in any order."""
    offsets = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=25)))
    to_begin, at_work = list(offsets), []
    history: list[tuple[str, int]] = []
    while to_begin or at_work:
        if to_begin and (not at_work or draw(st.booleans())):
            at_work.append(to_begin.pop(0))
            history.append(("begin", at_work[-1]))
        else:
            history.append(("finish", at_work.pop(draw(st.integers(0, len(at_work) - 1)))))
    return history


@given(histories())
def test_position_is_the_first_unfinished_and_never_goes_back(history: list[tuple[str, int]]) -> None:
    tracker = PartitionOffsets()
    begun: list[int] = []
    finished: set[int] = set()
    last = -1
    for what, offset in history:
        if what == "begin":
            tracker.begin(offset)
            begun.append(offset)
        else:
            tracker.finish(offset)
            finished.add(offset)
        unfinished = [each for each in begun if each not in finished]
        assert tracker.position == (unfinished[0] if unfinished else begun[-1] + 1)
        assert tracker.unfinished == len(unfinished)
        assert tracker.span == len([each for each in begun if unfinished and each >= unfinished[0]])
        assert tracker.position >= last
        last = tracker.position
    assert last == begun[-1] + 1


def test_nothing_taken_up_is_nothing_to_commit() -> None:
    assert PartitionOffsets().position is None
    assert Offsets().to_commit() == {}


def test_only_what_moved_is_committed() -> None:
    offsets = Offsets()
    for at in (HERE, THERE):
        offsets.of(at).begin(5)
        offsets.of(at).begin(6)
    offsets.of(HERE).finish(5)
    assert offsets.to_commit() == {HERE: 6, THERE: 5}
    offsets.committed({HERE: 6, THERE: 5})
    assert offsets.to_commit() == {}
    offsets.of(THERE).finish(5)
    assert offsets.to_commit() == {THERE: 6}


def test_a_partition_that_comes_back_starts_afresh() -> None:
    """What a handler of before finishes late does not count for the records that come again."""
    offsets = Offsets()
    before = offsets.of(HERE)
    before.begin(5)
    offsets.lose([HERE])
    offsets.forget([HERE])
    again = offsets.of(HERE)
    again.begin(5)
    before.finish(5)
    assert before.lost
    assert not again.lost
    assert offsets.to_commit() == {HERE: 5}
