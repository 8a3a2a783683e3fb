"""Parameter judgment and assembly: a table, and the property that nothing is made up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.function_agent.assembly import assemble, conversation
from services.function_agent.coercion import coerce
from tandem.contracts.tasks import AssembleCall, CallProposal
from tandem.contracts.ticket import Fact, Line
from tandem.contracts.values import Json, canonical_json
from tandem.packs.model import Pack, Slot, Tool

STRING = {"type": "string"}
INTEGER = {"type": "integer"}

PACK = Pack(
    name="p",
    hash="h",
    root=".",
    slots={
        "instance": Slot(name="instance", pattern=r"i-[a-z0-9]{4}"),
        "ip": Slot(name="ip", type="ip"),
        "size": Slot(name="size", type="choice", choices={"small": ["tiny", "little"], "large": ["big", "大"]}),
        "port": Slot(name="port", type="integer", label={"en": "port", "zh": "端口"}),
        "note": Slot(name="note", free_text=True),
    },
)


def tool(properties: dict[str, Any], required: tuple[str, ...] = (), **fields: Any) -> Tool:
    parameters: dict[str, Json] = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name="call", tool_class="read", parameters=parameters, **fields)


def task(
    *said: str, bound: dict[str, Json] | None = None, facts: dict[str, Json] | None = None, **more: Any
) -> AssembleCall:
    known = {name: Fact(value=value, origin="tool", ref="s1", at=1) for name, value in (facts or {}).items()}
    fields: dict[str, Any] = {
        "id": "t", "tenant": "acme", "conversation": "c", "ticket": "k", "pack": "p", "step": "s2", "attempt": 1, "turn": 1,
        "deadline": 10, "tools": ("call",), "goal": "", "bound": bound or {}, "facts": known,
        "recent": tuple(Line(who="customer", text=text, at=1) for text in said), **more,
    }  # fmt: skip
    return AssembleCall(**fields)


DESK = tool({"instance": STRING, "ip": STRING}, alternatives=(("instance", "ip"),))

TABLE: list[tuple[str, Tool, AssembleCall, dict[str, Json], tuple[tuple[str, ...], ...]]] = [
    ("bound wins", tool({"a": STRING}, ("a",)), task(bound={"a": "x"}, facts={"a": "y"}), {"a": "x"}, ()),
    ("fact of the same name", tool({"a": STRING}, ("a",)), task(facts={"a": "y"}), {"a": "y"}, ()),
    (
        "fact by slot",
        tool({"id": STRING}, ("id",), slots={"id": "instance"}),
        task("i-9999", facts={"instance": "i-0001"}),
        {"id": "i-0001"},
        (),
    ),
    (
        "last mention wins",
        tool({"id": STRING}, ("id",), slots={"id": "instance"}),
        task("i-0001", "no, i-0002, sorry: i-0003"),
        {"id": "i-0003"},
        (),
    ),
    (
        "the goal is a message",
        tool({"instance": STRING}, ("instance",)),
        task(goal="fix I-00aa"),
        {"instance": "I-00aa"},
        (),
    ),
    ("one of the group", DESK, task("it is 10.0.0.7."), {"ip": "10.0.0.7"}, ()),
    ("none of the group", DESK, task("it is broken"), {}, (("instance", "ip"),)),
    ("both of the group", DESK, task("i-00aa at 10.0.0.7"), {"instance": "i-00aa", "ip": "10.0.0.7"}, ()),
    (
        "customers' words",
        tool({"size": {"enum": ["small", "large"]}}, ("size",)),
        task("a tiny one"),
        {"size": "small"},
        (),
    ),
    ("Chinese words", tool({"size": STRING}, ("size",)), task("要大的"), {"size": "large"}, ()),
    (
        "an enum without a slot",
        tool({"kind": {"enum": ["full_day", "half_day"]}}, ("kind",)),
        task("Half day please"),
        {"kind": "half_day"},
        (),
    ),
    (
        "a number after its name",
        tool({"port": INTEGER}, ("port",)),
        task("open port 8080, 3 times"),
        {"port": 8080},
        (),
    ),
    ("a number without its name", tool({"port": INTEGER}, ("port",)), task("I tried 3 times"), {}, (("port",),)),
    ("a label in Chinese", tool({"port": INTEGER}, ("port",)), task("端口8080"), {"port": 8080}, ()),
    ("an optional one is not searched", tool({"port": INTEGER}), task("port 8080"), {}, ()),
    ("an optional fact is taken", tool({"port": INTEGER}), task(facts={"port": "8080"}), {"port": 8080}, ()),
    ("a fact of the wrong shape", tool({"port": INTEGER}, ("port",)), task(facts={"port": "web"}), {}, (("port",),)),
    ("free text is not guessed", tool({"note": STRING}, ("note",)), task("my note is this"), {}, (("note",),)),
    (
        "a format",
        tool({"to": {"type": "string", "format": "email"}}, ("to",)),
        task("to A@B.io!"),
        {"to": "a@b.io"},
        (),
    ),
    (
        "a schema's pattern",
        tool({"order": {"type": "string", "pattern": r"^O-\d{3}$"}}, ("order",)),
        task("orders O-1234 and O-123"),
        {"order": "O-123"},
        (),
    ),
]


@pytest.mark.parametrize(
    ("wanted", "asked", "arguments", "lacking"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_assembly(
    wanted: Tool, asked: AssembleCall, arguments: dict[str, Json], lacking: tuple[tuple[str, ...], ...]
) -> None:
    call = assemble(asked, PACK, wanted)
    assert call.arguments == arguments
    assert call.missing == lacking
    assert call.origins.keys() == arguments.keys()
    assert (call.confidence == 0.0) is bool(lacking)


def test_what_the_bot_or_an_expert_said_is_no_customers_value() -> None:
    lines = (Line(who="bot", text="Is it i-0001?", at=1), Line(who="expert:e", text="i-0002", at=2))
    call = assemble(task(recent=lines), PACK, tool({"instance": STRING}, ("instance",)))
    assert call.missing == (("instance",),)


def test_every_argument_says_where_it_came_from() -> None:
    wanted = tool({"a": STRING, "b": STRING, "ip": STRING, "c": STRING}, ("a", "b", "ip", "c"))
    asked = task(
        "10.0.0.7", bound={"a": "literal", "b": "from a tool"}, facts={"found": {"deep": ["from a tool"]}, "c": "z"}
    )
    assert assemble(asked, PACK, wanted).origins == {"a": "system", "b": "tool", "ip": "customer", "c": "tool"}


COERCIONS: list[tuple[Json, dict[str, Any], Json]] = [
    ("42", INTEGER, 42),
    ("1,200", INTEGER, 1200),
    ("4.5", INTEGER, None),
    ("$4.50", {"type": "number"}, 4.5),
    ("twelve", INTEGER, None),
    (True, INTEGER, None),
    ("Yes", {"type": "boolean"}, True),
    ("不", {"type": "boolean"}, False),
    ("maybe", {"type": "boolean"}, None),
    (7, STRING, "7"),
    ("  x ", STRING, "x"),
    ("", STRING, None),
    ({"a": 1}, STRING, None),
    ("HALF DAY", {"enum": ["half_day"]}, "half_day"),
    (2, {"enum": [1, 2]}, 2),
    ("2", {"enum": [1, 2]}, 2),
    ("3", {"enum": [1, 2]}, None),
    ("2024/3/9", {"type": "string", "format": "date"}, "2024-03-09"),
    ("March 9th, 2024", {"type": "string", "format": "date"}, "2024-03-09"),
    ("2024-02-30", {"type": "string", "format": "date"}, None),
    ("3 pm", {"type": "string", "format": "time"}, "15:00:00"),
    ("12:30am", {"type": "string", "format": "time"}, "00:30:00"),
    ("25:00", {"type": "string", "format": "time"}, None),
    ("a", {"type": "array", "items": STRING}, ["a"]),
    ("5", {"anyOf": [INTEGER, {"type": "null"}]}, 5),
    ("x", {"anyOf": [INTEGER, {"type": "null"}]}, None),
    ("5", {"type": "integer", "maximum": 4}, None),
    ("a", {}, "a"),
    (None, STRING, None),
]


@pytest.mark.parametrize(("value", "schema", "shaped"), COERCIONS)
def test_coercion(value: Json, schema: dict[str, Any], shaped: Json) -> None:
    assert coerce(value, schema) == shaped
    assert type(coerce(value, schema)) is type(shaped)


NAMES = st.sampled_from(["instance", "ip", "size", "port", "note", "when", "other"])
SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        STRING,
        INTEGER,
        {"type": "string", "format": "date"},
        {"enum": ["small", "large"]},
        {"type": "string", "format": "email"},
    ]
)
TEXTS = st.lists(
    st.sampled_from(["i-0001", "10.0.0.7", "tiny", "big", "port 80", "2024-01-05", "a@b.io", "please", "，", "9"]),
    max_size=6,
).map(" ".join)
VALUES: st.SearchStrategy[Json] = st.one_of(
    st.sampled_from(["i-0009", "large", "x@y.io", "2023-02-01"]), st.integers(1, 99)
)


@given(
    properties=st.dictionaries(NAMES, SCHEMAS, min_size=1),
    said=st.lists(TEXTS, max_size=4),
    facts=st.dictionaries(NAMES, VALUES, max_size=3),
    bound=st.dictionaries(NAMES, VALUES, max_size=2),
    group=st.lists(NAMES, max_size=2, unique=True),
)
def test_no_value_is_ever_made_up(
    properties: dict[str, Any], said: list[str], facts: dict[str, Json], bound: dict[str, Json], group: list[str]
) -> None:
    wanted = tool(properties, tuple(properties), alternatives=(tuple(group),) if group else ())
    asked = task(*said, bound=bound, facts=facts)
    call = assemble(asked, PACK, wanted)
    for name, value in call.arguments.items():
        assert _had(value, name, call, asked)
    assert {name for name in properties if name not in call.arguments} <= {n for g in call.missing for n in g}
    assert not any(name in call.arguments for names in call.missing for name in names)


def _had(value: Json, name: str, call: CallProposal, asked: AssembleCall) -> bool:
    """The value is bound, a fact, written, or the canonical form of a customer's word for it."""
    if name in asked.bound:
        return value == asked.bound[name]
    spoken = [canonical_json(fact.value).strip('"') for fact in asked.facts.values()] + conversation(asked)
    words = [str(value), *PACK.slots["size"].choices.get(str(value), [])]
    return any(word in text for word in words for text in spoken)
