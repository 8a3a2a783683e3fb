"""Two versions live together in a rolling upgrade: what the previous one wrote is read here, what is written here is read
there, and what it writes back has lost nothing.

`previous/` holds the schemas and golden examples as the previous version published them. At a release they are replaced:
`tandem schemas`, and copy `docs/schemas` and `examples` there. The reader of the previous version is made of its schemas: it
knows their fields and no others, on the base of all values.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, create_model

from tandem import asyncapi
from tandem.contracts.log import StateRecord
from tandem.contracts.message import read_body
from tandem.contracts.values import Value
from tests.contracts.messages.test_examples import EXAMPLES, keeps, written

PREVIOUS = Path(__file__).parent / "previous"
TYPES = sorted(path.stem for path in (PREVIOUS / "schemas").iterdir())
STATE = StateRecord.TYPE

each = pytest.mark.parametrize("type_", TYPES)


def before(type_: str) -> Any:
    return json.loads((PREVIOUS / "schemas" / f"{type_}.json").read_text(encoding="utf-8"))


def example(type_: str, folder: Path = PREVIOUS / "examples") -> Any:
    return json.loads((folder / f"{type_}.json").read_text(encoding="utf-8"))


def now(type_: str) -> Any:
    return asyncapi.schema(asyncapi.all_messages()[type_])


def shape(schema: Any, root: Any) -> Any:
    """The schema behind references and `or null`; none for what is free."""
    while schema is not None and "properties" not in schema and schema.get("type") != "array":
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
            if "properties" not in schema:
                return schema
        else:
            schema = next((one for one in schema.get("anyOf", []) if one.get("type") != "null"), None)
    return schema


@functools.cache
def reader(type_: str) -> type[BaseModel]:
    """The previous version's model of a message."""
    root = before(type_)
    return _model(root, root)


def _model(schema: Any, root: Any) -> type[BaseModel]:
    fields = {name: (_kind(each, root), None) for name, each in schema["properties"].items()}
    return create_model(schema.get("title", "Old"), __base__=Value, **fields)


def _kind(schema: Any, root: Any) -> Any:
    found = shape(schema, root) or {}
    if "properties" in found:
        return _model(found, root) | None
    if found.get("type") == "array" and "items" in found:
        return list[_kind(found["items"], root)] | None  # type: ignore[misc]
    return Any


def there(type_: str, body: Any) -> Any:
    """What the previous version writes after it has read the body; it refuses what its schema refuses."""
    jsonschema.validate(body, before(type_))
    model = reader(type_).model_validate(body)
    return json.loads(model.model_dump_json(exclude_unset=True))


def added(old: Any, new: Any, old_root: Any, new_root: Any, at: str = "") -> dict[str, Any]:
    """Paths of the fields that are new → their schemas."""
    found: dict[str, Any] = {}
    for name, schema in new.get("properties", {}).items():
        path = f"{at}/{name}"
        if name not in old.get("properties", {}):
            found[path] = schema
            continue
        was, is_ = shape(old["properties"][name], old_root), shape(schema, new_root)
        if was and is_ and was.get("type") == is_.get("type") == "array":
            path += "/*"
            was, is_ = shape(was.get("items"), old_root), shape(is_.get("items"), new_root)
        if was and is_:
            found |= added(was, is_, old_root, new_root, path)
    return found


def sample(schema: Any, root: Any) -> Any:
    """A value that differs from what a default may be."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return schema["enum"][-1]
    if "anyOf" in schema:
        return sample(next(one for one in schema["anyOf"] if one.get("type") != "null"), root)
    if "properties" in schema:
        return {name: sample(each, root) for name, each in schema["properties"].items()}
    of_type = {"string": "something", "integer": 7, "number": 0.5, "boolean": True, "array": [], "object": {"a": 1}}
    return of_type.get(schema.get("type"), "something")


def put(body: Any, path: list[str], value: Any) -> None:
    if path[0] == "*":
        for item in body:
            put(item, path[1:], value)
    elif len(path) == 1:
        body[path[0]] = value
    elif body.get(path[0]) is not None:
        put(body[path[0]], path[1:], value)


def filled(type_: str) -> Any:
    """A body of this version with every field that the previous one does not know."""
    body = example(type_, EXAMPLES)
    old, new = before(type_), now(type_)
    for path, schema in added(old, new, old, new).items():
        put(body, path.strip("/").split("/"), sample(schema, new))
    return body


def test_no_message_of_the_previous_version_is_gone() -> None:
    assert set(TYPES) <= set(asyncapi.all_messages())
    assert sorted(path.stem for path in (PREVIOUS / "examples").iterdir()) == TYPES


@each
def test_what_it_wrote_is_read_here_and_what_is_written_of_it_is_read_there(type_: str) -> None:
    body = example(type_)
    here = written(type_, body)
    assert keeps(body, here)
    assert keeps(here, there(type_, here))


@each
def test_a_new_field_need_not_be_there(type_: str) -> None:
    old, new = before(type_), now(type_)
    assert set(new.get("required", [])) <= set(old.get("required", []))
    read_body(type_, json.dumps(example(type_)).encode())


@each
def test_a_downgrade_loses_no_field(type_: str) -> None:
    """This version writes, the previous one reads and writes, this one reads again."""
    body = written(type_, filled(type_))
    assert keeps(filled(type_), body)
    assert written(type_, there(type_, body)) == body


def test_a_ticket_changed_by_the_previous_version_keeps_what_it_does_not_know() -> None:
    body = written(STATE, filled(STATE))
    record: Any = reader(STATE).model_validate(body)
    changed = record.changed(version=record.version + 1, ticket=record.ticket.changed(turn=9))
    back = written(STATE, json.loads(changed.model_dump_json(exclude_unset=True)))
    assert back["ticket"] == {**body["ticket"], "turn": 9}


def test_there_are_new_fields_to_lose() -> None:
    """Otherwise the tests above would say nothing."""
    new = {type_: added(before(type_), now(type_), before(type_), now(type_)) for type_ in TYPES}
    assert any(new.values())
    assert any(path.count("/") > 1 for paths in new.values() for path in paths)


def test_a_reader_that_drops_what_it_does_not_know_would_be_found() -> None:
    body = written(STATE, filled(STATE))
    known = set(before(STATE)["$defs"]["Ticket"]["properties"])
    forgetful = {**body, "ticket": {name: value for name, value in body["ticket"].items() if name in known}}
    assert not keeps(body, written(STATE, forgetful))
