"""Loading: what a pack becomes, and that every mistake is said at once with its place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem.errors import InvalidPack
from tandem.packs.files import parse_yaml, sentence_hash
from tandem.packs.load import load_pack
from tandem.packs.model import END
from tandem.packs.problems import Problems
from tandem.packs.registry import Packs
from tandem.packs.tools import read_tools
from tests.unit.packs.shop import SENTENCES, Files, files, write

FLOW = "procedures/change_address.flow.yaml"


def test_a_pack_is_read_whole(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path, files()))
    assert (pack.name, pack.languages) == ("shop", ("en", "zh"))
    assert pack.intents["question"].examples == {"en": ["how long does it take?"]}
    flow = pack.flow_of("change_address")
    assert flow is not None
    assert flow.start == "ask_code"
    assert flow.sentences[4] == SENTENCES[3]
    assert {name: node.kind for name, node in flow.nodes.items()} == {
        "ask_code": "ask",
        "verify": "tool",
        "again": "ask",
        "give_up": "handover",
        "ask_address": "ask",
        "consent": "ask",
        "change": "tool",
        "done": "reply",
    }
    assert [edge.to for edge in flow.nodes["done"].next] == [END]
    tool = pack.tools["change_address"]
    assert (tool.secret, tool.server, tool.method, tool.path) == ("SHOP_TOKEN", "${SHOP_URL}", "POST", "/address")
    assert tool.required == ("order_id", "address")
    assert "ping" not in pack.tools


def test_parameters_and_body_become_one_object_of_arguments(tmp_path: Path) -> None:
    content = files()
    content["tools/more.yaml"] = {
        "openapi": "3.1.0",
        "servers": [{"url": "http://x"}],
        "paths": {
            "/orders/{id}": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"$ref": "#/components/schemas/Id"}}
                ],
                "put": {
                    "operationId": "update",
                    "parameters": [
                        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}},
                        {"name": "dry", "in": "query", "schema": {"type": "boolean"}},
                    ],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}},
                    "responses": {"201": {"content": {"application/json": {"schema": {"type": "object"}}}}},
                    "x-tandem": {"class": "idempotent"},
                },
            }
        },
        "components": {
            "schemas": {
                "Id": {"type": "string", "minLength": 2},
                "Body": {
                    "type": "object",
                    "required": ["size"],
                    "properties": {"size": {"type": "integer"}, "child": {"$ref": "#/components/schemas/Body"}},
                },
            }
        },
    }
    tool = load_pack(write(tmp_path, content)).tools["update"]
    assert tool.places == {"id": "path", "dry": "query", "size": "body", "child": "body"}
    assert tool.required == ("id", "size")
    assert tool.properties["id"] == {"type": "string", "minLength": 2}
    assert tool.output == {"type": "object"}


def test_an_answer_is_found_under_a_number_too(tmp_path: Path) -> None:
    """`200:` without quotes is how many write it."""
    content = files()
    answer = content["tools/shop.yaml"]["paths"]["/address"]["post"]["responses"].pop("200")
    answer["content"]["application/json"]["schema"]["properties"] = {"reference": {"type": "string"}}
    content["tools/shop.yaml"]["paths"]["/address"]["post"]["responses"][200] = answer
    assert list(load_pack(write(tmp_path, content)).tools["change_address"].output["properties"]) == ["reference"]


def _places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _places(item, *path, key)


def test_tools_of_any_shape_are_read_or_refused(tmp_path: Path) -> None:
    """No mistake in an API's document ends in a traceback."""
    whole = files()["tools/shop.yaml"]
    for path in _places(whole):
        for wrong in (None, 1, "x", [1], {"a": 1}):
            broken: Any = copy.deepcopy({"": whole})
            at = broken
            for key in ("", *path)[:-1]:
                at = at[key]
            at[("", *path)[-1]] = wrong
            if isinstance(broken[""], dict):
                read_tools(broken[""], "tools/shop.yaml", Problems())


@pytest.mark.parametrize("transport", ["mcp", "python"])
def test_tools_without_openapi(tmp_path: Path, transport: str) -> None:
    content = files()
    content["tools/more.yaml"] = {
        transport: "examples.tools",
        "x-tandem": {"timeout_ms": 5},
        "tools": {
            "find": {"class": "read", "path": "find_it", "parameters": {"type": "object", "properties": {"a": {}}}}
        },
    }
    tool = load_pack(write(tmp_path, content)).tools["find"]
    assert (tool.transport, tool.server, tool.path, tool.timeout_ms) == (transport, "examples.tools", "find_it", 5)


def _set(file: str, *path: Any, value: Any) -> Callable[[Files], None]:
    def change(content: Files) -> None:
        target = content[file]
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def _body(schema: Any) -> Callable[[Files], None]:
    content = {"content": {"application/json": {"schema": schema}}}
    return _set("tools/shop.yaml", "paths", "/address", "post", "requestBody", value=content)


MISTAKES: list[tuple[str, Callable[[Files], None], str]] = [
    ("field", _set("pack.yaml", "slotz", value={}), "pack.yaml: slotz: there is no field"),
    (
        "field of a slot",
        _set("pack.yaml", "slots", "code", "sensetive", value=True),
        "pack.yaml: slots.code.sensetive: there is no field 'sensetive'; did you mean 'sensitive'?",
    ),
    ("no mapping", _set("pack.yaml", "timers", value=3), "pack.yaml: timers: must be a mapping of fields"),
    (
        "a threshold above 1",
        _set("pack.yaml", "thresholds", value={"intent": 5}),
        "thresholds.intent: input should be less",
    ),
    ("no intents", lambda content: content.update({"intents.yaml": ""}), "intents.yaml: must be a list of intents"),
    (
        "class of no meaning",
        _set("tools/shop.yaml", "paths", "/address", "post", "x-tandem", "class", value="idempotant"),
        "class 'idempotant' is none",
    ),
    ("name", _set("pack.yaml", "name", value="other"), "pack.yaml: name: is 'other' but the folder is 'shop'"),
    ("hash given", _set("pack.yaml", "hash", value="1"), "pack.yaml: hash: does not belong here"),
    (
        "slot type",
        _set("pack.yaml", "slots", "code", "type", value="word"),
        "pack.yaml: slots.code.type: input should be",
    ),
    ("slot pattern", _set("pack.yaml", "slots", "code", "pattern", value="("), "slots.code.pattern: '(' is no regular"),
    ("slot within", _set("pack.yaml", "slots", "code", "within", value="("), "slots.code.within: '(' is no regular"),
    ("slot cue", _set("pack.yaml", "slots", "code", "cues", value=["code"]), "slots.code.cues: 'code' must have words"),
    (
        "slot question",
        _set("pack.yaml", "slots", "code", "ask", value="{code:d}?"),
        "slots.code.ask.en: 'code:d': invalid",
    ),
    ("choice", _set("pack.yaml", "slots", "code", "type", value="choice"), "slots.code.choices: a choice needs"),
    ("template", _set("pack.yaml", "texts", value={"hi": "{a b}"}), "pack.yaml: texts.hi.en: 'a b'"),
    ("yaml", lambda c: c.update({"intents.yaml": "- name: [\n"}), "intents.yaml: line"),
    ("twice", lambda c: c.update({"policies.yaml": "links: []\nlinks: []\n"}), "the key 'links' is written twice"),
    ("not a list", lambda c: c.update({"intents.yaml": {"a": 1}}), "intents.yaml: must be a list"),
    ("same intent", lambda c: c["intents.yaml"].append(c["intents.yaml"][1]), "intents.yaml: question: is there twice"),
    ("procedure", _set("intents.yaml", 1, "procedure", value="chang_address"), "did you mean 'change_address'?"),
    ("skill group", _set("intents.yaml", 1, "skill_group", value="x"), "there is no skill group 'x'"),
    ("no graph", lambda c: c.pop(FLOW), "procedures/change_address.md: has no graph"),
    ("no procedure", lambda c: c.pop("procedures/change_address.md"), "change_address.flow.yaml: has no procedure"),
    ("front matter", lambda c: c.update({"procedures/change_address.md": "1. x\n"}), "has no front matter"),
    (
        "numbers",
        lambda c: c.update({"procedures/change_address.md": "---\nintent: change_address\n---\n1. a\n3. b\n"}),
        "sentence 3: number it 2",
    ),
    ("node field", _set(FLOW, "nodes", "done", "txt", value="x"), "nodes.done.txt: there is no field"),
    ("nothing to do", _set(FLOW, "nodes", "done", value={"sentence": 4}), "nodes.done: says nothing to do"),
    ("two kinds", _set(FLOW, "nodes", "consent", "tool", value="x"), "nodes.consent: is ask and tool at once"),
    (
        "edge",
        _set(FLOW, "nodes", "done", "next", value="dnoe"),
        "nodes.done.next: there is no node 'dnoe'; did you mean",
    ),
    ("start", _set(FLOW, "start", value="x"), "change_address.flow.yaml: start: there is no node 'x'"),
    ("tool", _set(FLOW, "nodes", "change", "tool", value="x"), "nodes.change.tool: there is no tool 'x'"),
    ("parameter", _set(FLOW, "nodes", "change", "args", value={"addr": 1}), "args.addr: there is no parameter 'addr'"),
    ("slot", _set(FLOW, "nodes", "ask_code", "slots", value=["x"]), "nodes.ask_code.slots: there is no slot 'x'"),
    (
        "agent",
        _set(FLOW, "nodes", "done", value={"sentence": 4, "agent": "x"}),
        "nodes.done.agent: there is no agent 'x'",
    ),
    ("consent", _set(FLOW, "nodes", "consent", "consent", value="done"), "'done' calls no tool"),
    ("expression", _set(FLOW, "nodes", "change", "save", value={"a": "f(x)"}), "save.a: 'f(x)': 'f(x)' is not in the"),
    (
        "class",
        _set("tools/shop.yaml", "paths", "/ping", "get", "x-tandem", value={}),
        "paths./ping.get: has no `class`",
    ),
    ("fact", _set("tools/shop.yaml", "x-tandem", "klass", value=1), "klass: there is no field"),
    ("ref", _body({"$ref": "#/nothing"}), "'#/nothing' leads nowhere"),
    ("body", _body({"type": "array"}), "its request body is not an object"),
    (
        "lookup",
        _set("tools/shop.yaml", "paths", "/ping", "get", "x-tandem", value={"class": "lookup"}),
        "tools: ping.lookup: is missing",
    ),
    (
        "policy tool",
        _set("policies.yaml", "no_consent", value=["x"]),
        "policies.yaml: no_consent: there is no tool 'x'",
    ),
    ("policy", _set("policies.yaml", "identity_when", value="if"), "policies.yaml: identity_when: 'if'"),
]


@pytest.mark.parametrize(("change", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_said_with_its_place(tmp_path: Path, change: Callable[[Files], None], said: str) -> None:
    content = files()
    change(content)
    with pytest.raises(InvalidPack) as caught:
        load_pack(write(tmp_path, content))
    assert said in str(caught.value)


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    content = files()
    content["pack.yaml"]["slotz"] = 1
    content["policies.yaml"]["foo"] = 1
    content[FLOW]["nodes"]["done"]["bar"] = 1
    with pytest.raises(InvalidPack) as caught:
        load_pack(write(tmp_path, content))
    assert len(caught.value.problems) == 3


def test_a_folder_without_a_pack(tmp_path: Path) -> None:
    with pytest.raises(InvalidPack, match="tandem pack new"):
        load_pack(tmp_path / "nothing")


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    folder = write(tmp_path, files())
    (folder / "policies.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidPack, match="not UTF-8"):
        load_pack(folder)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("1e234567", "1e234567"),
    ],
)
def test_words_stay_words(text: str, value: str) -> None:
    assert parse_yaml(f"a: {text}") == {"a": value}


def test_a_sentence_is_known_by_its_words_not_its_line_breaks() -> None:
    assert sentence_hash("Ask  for\n the code.") == sentence_hash("Ask for the code.")
    assert sentence_hash("Ask for a code.") != sentence_hash("Ask for the code.")


def test_the_hash_covers_every_file(tmp_path: Path) -> None:
    folder = write(tmp_path, files())
    first = load_pack(folder).hash
    (folder / ".hidden").write_text("x")
    assert load_pack(folder).hash == first
    (folder / "knowledge" / "delivery.md").write_text("# Delivery\n\nFour days.\n")
    assert load_pack(folder).hash != first


def test_a_ticket_keeps_the_version_it_began_with(tmp_path: Path) -> None:
    folder = write(tmp_path / "packs", files())
    cache = tmp_path / "cache"
    old = Packs(tmp_path / "packs", cache).get("shop")
    (folder / "knowledge" / "delivery.md").write_text("# Delivery\n\nFour days.\n")
    packs = Packs(tmp_path / "packs", cache)
    assert packs.names() == ["shop"]
    assert packs.get("shop").hash != old.hash
    assert packs.get("shop", old.hash) == old
    assert packs.get("shop", "0000").hash == packs.get("shop").hash


def test_a_reload_keeps_the_version_before(tmp_path: Path) -> None:
    folder = write(tmp_path, files())
    packs = Packs(tmp_path)
    old = packs.get("shop")
    (folder / "knowledge" / "delivery.md").write_text("# Delivery\n\nFour days.\n")
    assert packs.get("shop") is old
    assert packs.reload("shop").hash != old.hash
    assert packs.get("shop", old.hash) is old
    (folder / "pack.yaml").write_text("name: [")
    with pytest.raises(InvalidPack):
        packs.reload("shop")
    assert packs.get("shop").name == "shop"


@pytest.mark.parametrize("name", ["nothing", "../packs", ""])
def test_an_unknown_pack_says_what_is_known(tmp_path: Path, name: str) -> None:
    write(tmp_path, files())
    with pytest.raises(InvalidPack, match="known: shop"):
        Packs(tmp_path).get(name)
