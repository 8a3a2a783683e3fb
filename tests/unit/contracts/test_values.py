"""Identifiers: the same for ever, on every machine."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.contracts.ticket import Line
from tandem.contracts.values import NAMESPACE, call_hash, call_identity, derive_id, partition_for


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), min_size=1, max_size=4))
def test_a_derived_id_is_a_name_based_uuid(parts: list[object]) -> None:
    assert derive_id(*parts) == str(uuid.uuid5(NAMESPACE, "\x1f".join(map(str, parts))))


def test_an_effect_is_the_same_whatever_the_order_of_its_arguments() -> None:
    assert call_identity("t", "reset", {"a": 1, "b": 2}, 0) == call_identity("t", "reset", {"b": 2, "a": 1}, 0)
    (effect, hash_), (again, the_same) = (call_identity("t", "reset", {"a": 1}, n) for n in (0, 1))
    assert effect != again
    assert hash_ == the_same == call_hash("reset", {"a": 1}) != call_hash("reset", {"a": 2})


@pytest.mark.parametrize(("key", "expected"), [("a", 7), ("conversation", 0), ("ü", 7)])
def test_partitions_never_move(key: str, expected: int) -> None:
    assert partition_for(key, 8) == expected


def test_a_changed_value_is_what_model_copy_makes() -> None:
    line = Line.model_validate({"who": "bot", "text": "a", "at": 1, "new_field": 7})
    assert line.changed(text="b") == line.model_copy(update={"text": "b"})
    assert line.changed(text="b").model_dump_json() == line.model_copy(update={"text": "b"}).model_dump_json()
    assert line.text == "a"
