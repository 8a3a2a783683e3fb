"""A model is told where its answer departs from its shape, and nothing of what it wrote there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.shape import MAX_TOLD, Shape


def step(kind: str, **more: Any) -> dict[str, Any]:
    properties = {"kind": {"const": kind}, **more}
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


STEPS = [
    step("tool", name={"const": "find"}),
    step("tool", name={"const": "cancel"}),
    step("say", text={"type": "string"}),
]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["steps"],
    "properties": {
        "steps": {"type": "array", "items": {"anyOf": STEPS}},
        "intent": {"enum": ["refund", "none"]},
        "values": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"steps": []}, None),
        ({"steps": [{"kind": "say", "text": "hello"}], "intent": "none", "values": {"a": "b"}}, None),
        ([], 'it is not of type "object"'),
        ({}, '"steps" is a required property'),
        ({"steps": [], "intent": "moon"}, 'intent: it is not one of "refund" or "none"'),
        ({"steps": [], "values": {"title": None}}, 'values.title: it is not of type "string"'),
        ({"steps": [], "more": 1}, "Additional properties are not allowed ('more' was unexpected)"),
        (
            {"steps": [{"kind": "tool", "name": "drop"}]},
            'steps.0: none of what it may be, nearest: name: "find" was expected; or name: "cancel" was expected; or '
            '"text" is a required property, kind: "say" was expected, '
            "Additional properties are not allowed ('name' was unexpected)",
        ),
        (
            {"steps": [{"kind": "say", "text": None}]},
            'steps.0: none of what it may be, nearest: text: it is not of type "string"; or '
            '"name" is a required property, kind: "tool" was expected, '
            "Additional properties are not allowed ('text' was unexpected)",
        ),
    ],
)
def test_where_a_value_departs(value: Any, told: str | None) -> None:
    assert Shape(SCHEMA).departure(value) == told


SECRET = "hunter2"
VALUES = st.recursive(
    st.sampled_from([None, 1, SECRET, True]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["steps", "kind", "name", "text", "intent", "values"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_nothing_of_the_value_is_repeated(value: Any) -> None:
    told = Shape(SCHEMA).departure(value) or ""
    assert SECRET not in told
    assert len(told) <= MAX_TOLD


def test_no_schema_is_an_error() -> None:
    with pytest.raises(ValueError, match="not valid"):
        Shape({"type": "no-such-type"})
