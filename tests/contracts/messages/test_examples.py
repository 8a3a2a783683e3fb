"""One golden example per message: what is in somebody's topic today must be read for ever."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tandem import asyncapi
from tandem.contracts.message import read_body

EXAMPLES = Path(__file__).parent / "examples"
TYPES = sorted(asyncapi.all_messages())

each = pytest.mark.parametrize("type_", TYPES)


def example(type_):
    return json.loads((EXAMPLES / f"{type_}.json").read_text())


def written(type_, body):
    """What a service writes after it has read the body."""
    return json.loads(read_body(type_, json.dumps(body).encode()).model_dump_json())


def keeps(old, new):
    """True if everything of `old` is in `new`, unchanged; `new` may have more fields."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and keeps(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return len(old) == len(new) and all(map(keeps, old, new))
    return old == new


FREE = {"arguments", "output", "visits", "facts", "effects", "origins", "bound", "data", "meta", "values"}
"""Fields whose keys are names, not fields: nothing is added there."""


def grown(value):
    """A newer writer's body: one more field in every object of known shape."""
    if isinstance(value, dict):
        inner = {key: item if key in FREE else grown(item) for key, item in value.items()}
        return inner | {"from_a_later_version": {"a": [1]}}
    return [grown(item) for item in value] if isinstance(value, list) else value


def test_there_is_one_example_per_message():
    assert sorted(path.stem for path in EXAMPLES.iterdir()) == TYPES


@each
def test_an_example_reads_and_nothing_of_it_is_lost(type_):
    assert keeps(example(type_), written(type_, example(type_)))


@each
def test_unknown_fields_survive_at_every_depth(type_):
    body = grown(example(type_))
    assert keeps(body, written(type_, body))


@each
def test_an_example_is_valid_by_the_published_schema(type_):
    jsonschema.validate(example(type_), asyncapi.schema(asyncapi.all_messages()[type_]))
