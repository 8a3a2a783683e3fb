"""Values made without a check are what checked ones would be."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticSerializationError

from tandem.contracts.events import Event
from tandem.contracts.tasks import Authority, ExecuteTool
from tandem.contracts.ticket import Cost, Step
from tandem.contracts.values import Value

TASK = {
    "id": "t1",
    "tenant": "acme",
    "conversation": "c",
    "ticket": "t",
    "pack": "p",
    "step": "s1",
    "attempt": 1,
    "turn": 1,
    "deadline": 9,
    "tool": "reset",
    "effect": "e",
    "arguments": {"email": "a@b.c", "deep": [1, None, {"x": 2.5}]},
    "arguments_hash": "h",
    "expires": 9,
    "reserved": Cost(calls=1),
    "authority": Authority(consent="q1"),
}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Cost, {}),
        (Step, {"id": "s1", "kind": "tool", "name": "reset"}),
        (Step, {"name": "reset", "kind": "tool", "id": "s1", "needs": ("s0",)}),
        (Event, {"kind": "resolved"}),
        (Event, {"kind": "step_completed", "data": {"evidence": None}, "cost": Cost(calls=2)}),
        (ExecuteTool, TASK),
    ],
)
def test_it_is_the_checked_one(kind: type[Value], fields: dict[str, object]) -> None:
    made, checked = kind.made(**fields), kind(**fields)
    assert made == checked
    assert made.to_json() == checked.to_json()
    assert made.model_fields_set | checked.model_fields_set >= set(fields)
    assert kind.model_validate_json(made.to_json()) == checked
    assert made.changed(**dict(list(fields.items())[:1])) == checked


def test_what_is_made_anew_is_nobody_elses() -> None:
    one, other = Event.made(kind="a"), Event.made(kind="b")
    assert one.data == other.data == {}
    assert one.data is not other.data


def test_one_that_lacks_a_part_does_not_leave_the_process() -> None:
    with pytest.raises(PydanticSerializationError):
        Step.made(id="s1", kind="tool").to_json()


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Cost.made().calls = 3  # type: ignore[misc]
