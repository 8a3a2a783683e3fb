from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.text import sentences, stem, terms, word_count
from tandem.vectors.sparse import document_vector, query_vector, term_index


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("ports", "port"),
        ("opening", "opened"),
        ("policies", "policy"),
        ("snapshots", "snapshot"),
        ("resetting", "reset"),
        ("addresses", "address"),
        ("boxes", "box"),
    ],
)
def test_forms_of_a_word_share_a_stem(a: str, b: str) -> None:
    assert stem(a) == stem(b)


@pytest.mark.parametrize("word", ["dns", "ssh", "is", "x86", "class", "status"])
def test_short_and_odd_words_are_left_alone(word: str) -> None:
    assert stem(word) == word


def test_terms_leave_out_stop_words_and_take_compounds_apart() -> None:
    assert terms("How do I open the ports?") == ["open", "port"]
    assert {"user@example.com", "example"} & set(terms("user@example.com"))
    assert terms("开放端口") == ["开放", "放端", "端口"]


def test_sentences_and_word_counts() -> None:
    assert sentences("Open it. Then wait!\nDone") == ["Open it.", "Then wait!", "Done"]
    assert word_count("open 端口设置 now") == 4


def test_the_index_of_a_term_never_changes() -> None:
    """Stored vectors rest on it."""
    assert term_index("port") == 940818290
    assert term_index("端口") == 3941416153


@given(st.text(max_size=400))
def test_vectors_are_what_an_engine_takes(text: str) -> None:
    for indices, values in (document_vector(text), query_vector(text)):
        assert indices == sorted(set(indices))
        assert len(indices) == len(values)
        assert all(0 <= index < 2**32 for index in indices)
        assert all(value > 0 for value in values)


def test_repeating_a_word_counts_less_each_time() -> None:
    once, twice, often = (document_vector("port " * n)[1][0] for n in (1, 2, 40))
    assert once < twice < often < 2.2
    assert often - twice < 39 * (twice - once)
