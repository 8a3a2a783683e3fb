"""What a model says that a customer wrote is theirs if it stands there, whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.text import stands_in


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Blue Moon", "it is called blue\n  moon."),
        ("O-1001", "order O-1001, please"),
        ("1001", "order O-1001, please"),
        ("4", "at 4pm"),
        ("12.50", "I paid $12.50."),
        ("3", "Bring 3, please"),
        ("tom@example.com", "write to tom@example.com!"),
        ("123456", "我的订单号是123456，谢谢"),
        ("ABC", "我要退ABC这个"),
        ("退款", "我要退款"),
        ("?", "is it gone?"),
    ],
)
def test_a_value_that_was_written(value: str, text: str) -> None:
    assert stands_in(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "anything"),
        (" ", "a b"),
        ("1", "order O-1001"),
        ("100", "order O-1001"),
        ("no", "not now"),
        ("id", "what did you do?"),
        ("12", "I paid 12.50"),
        ("200", "it was 1,200"),
        ("50", "I paid 12.50"),
        ("red moon", "it is called blue moon"),
        ("été", "étés"),
    ],
)
def test_a_value_that_was_not_written_or_is_a_piece_of_another(value: str, text: str) -> None:
    assert not stands_in(value, text)


WORDS = st.lists(st.text("abcdé019退款", min_size=1, max_size=5), min_size=1, max_size=6)


@given(WORDS, st.data())
def test_whole_words_of_a_text_stand_in_it(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    assert stands_in(" ".join(words[start:end]), "  ".join(words))


@given(st.text("abc", min_size=2, max_size=8), st.data())
def test_a_piece_of_a_word_does_not(word: str, data: st.DataObject) -> None:
    piece = word[: data.draw(st.integers(1, len(word) - 1))]
    assert not stands_in(piece, word)


@given(st.integers(10, 10**9), st.data())
def test_nor_a_piece_of_a_number(number: int, data: st.DataObject) -> None:
    digits = str(number)
    piece = digits[data.draw(st.integers(1, len(digits) - 1)) :]
    assert not stands_in(piece, f"number {digits}.")
