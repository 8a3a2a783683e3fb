"""A schema, as models are told it where an endpoint has only JSON mode."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm_gateway.notation import Beyond, notation

STRING, NUMBER = {"type": "string"}, {"type": "number"}


def fields(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (fields(), "{}"),
        ({"type": "object"}, "{ [name: string]: any }"),
        (fields(["a"], a=STRING, b={"type": "boolean"}), '{ "a": string, "b"?: boolean }'),
        (fields(["a b"], **{"a b": {"type": ["integer", "null"]}}), '{ "a b": number | null /* whole */ }'),
        ({"properties": {"n": True}}, '{ "n"?: any }'),
        ({"type": "object", "additionalProperties": NUMBER}, "{ [name: string]: number }"),
        ({"type": "array", "items": STRING, "minItems": 1}, "Array<string> /* not empty */"),
        ({"type": "array"}, "Array<any>"),
        ({"enum": ["refund", "退款", None]}, '"refund" | "退款" | null'),
        ({"const": "tool", "description": "what it is"}, '"tool" /* what it is */'),
        ({"anyOf": [STRING, {"type": "null"}]}, "string | null"),
        ({**NUMBER, "minimum": 0, "maximum": 1}, "number /* 0 to 1 */"),
        ({"type": "integer", "minimum": 3}, "number /* whole, at least 3 */"),
        ({**STRING, "maxLength": 9, "pattern": "^a*/$"}, "string /* at most 9 characters, matches ^a* /$ */"),
        ({"$defs": {"Item": STRING}, "type": "array", "items": {"$ref": "#/$defs/Item"}}, "Array<string>"),
        ({}, "any"),
    ],
)
def test_how_a_schema_is_written(schema, written):
    assert notation(schema) == written


WIDE = {f"A{n}": {"type": "array", "items": {"anyOf": [{"$ref": f"#/$defs/A{n + 1}"}] * 9}} for n in range(12)}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [STRING]},
        {"type": "object", "patternProperties": {"a": STRING}},
        {"type": "colour"},
        {"type": "array", "items": False},
        {"properties": {"a": False}},
        {"$ref": "#/$defs/Nowhere"},
        {"$defs": {"Tree": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}, "$ref": "#/$defs/Tree"},
        {"$defs": {**WIDE, "A12": STRING}, "$ref": "#/$defs/A0"},
    ],
)
def test_what_has_no_form_is_told_as_a_schema(schema):
    with pytest.raises(Beyond):
        notation(schema)


SCHEMAS = st.recursive(
    st.sampled_from([STRING, NUMBER, {"type": "null"}, {"enum": ["a", 1]}, {"type": "integer", "maximum": 5}]),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda parts: fields(**parts), st.dictionaries(st.text("ab*/", min_size=1), inner, max_size=3))
    ),
)


def names(schema):
    for name, part in schema.get("properties", {}).items():
        yield name
        yield from names(part)
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from names(part)


@given(SCHEMAS)
def test_it_is_one_line_with_every_name_in_quotes(schema):
    written = notation(schema)
    assert "\n" not in written
    assert all(json.dumps(name) + "?: " in written for name in names(schema))
