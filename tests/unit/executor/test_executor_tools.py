"""Requests as they are made of tools and arguments, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from services.executor.http_tools import HttpTools, _request
from services.executor.python_tools import PythonTools
from services.executor.schemas import problem
from services.executor.tools import Came, TooLate, Tools, at_path
from tandem.errors import Refused
from tandem.packs.model import Tool
from tandem.text import one_line

ENV = {"API": "http://api.example:81/v1/", "TOKEN": "s3cret"}


def make_tool(**facts: Any) -> Tool:
    return Tool.model_validate({"name": "t", "tool_class": "read", "server": "${API}", "path": "/x/{id}", **facts})


def test_arguments_go_to_their_places() -> None:
    tool = make_tool(
        tool_class="unsafe", method="post", places={"q": "query", "h": "header", "b": "body"}, secret="TOKEN"
    )
    arguments = {"id": "a/b?c", "q": [1, True], "h": "v", "b": {"x": None}}
    request = _request(tool, arguments, "e1", ENV)
    assert str(request.url) == "http://api.example:81/v1/x/a%2Fb%3Fc?q=1&q=true"
    assert request.method == "POST"
    assert request.body == {"b": {"x": None}}
    assert request.headers["h"] == "v"
    assert request.headers["Idempotency-Key"] == "e1"
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert "Idempotency-Key" not in _request(make_tool(), {"id": "1"}, "e1", ENV).headers


@given(st.text(min_size=1, max_size=40).filter(lambda value: value not in (".", "..")))
def test_an_argument_never_leaves_its_place_in_the_address(value: str) -> None:
    url = _request(make_tool(), {"id": value}, "e", ENV).url
    assert url.origin() == URL("http://api.example:81")
    assert url.raw_path.startswith("/v1/x/")
    assert url.raw_path.count("/") == 3
    assert not url.query_string


@pytest.mark.parametrize(
    ("facts", "arguments", "reason"),
    [
        ({}, {"id": ".."}, "arguments-invalid"),
        ({}, {"id": ""}, "arguments-invalid"),
        ({}, {}, "arguments-invalid"),
        ({"places": {"h": "header"}}, {"id": "1", "h": "a\r\nHost: b"}, "arguments-invalid"),
        ({"server": "${MISSING}"}, {"id": "1"}, "setting-missing"),
        ({"secret": "MISSING"}, {"id": "1"}, "setting-missing"),
        ({"server": "file:///etc"}, {"id": "1"}, "server-invalid"),
        ({"server": "http://user:pw@host"}, {"id": "1"}, "server-invalid"),
        ({"server": ""}, {"id": "1"}, "server-invalid"),
    ],
)
def test_what_makes_no_request(facts: dict[str, Any], arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        HttpTools(ENV, 1_000).prepare(make_tool(**facts), arguments, "e")
    assert refused.value.reason == reason


def test_mcp_tools_are_refused_in_plain_words() -> None:
    with pytest.raises(Refused, match="OpenAPI operation or a Python function"):
        Tools({}).prepare(make_tool(transport="mcp"), {}, "e")


def python_tool(path: str, **facts: Any) -> Tool:
    return make_tool(transport="python", server=__name__, path=path, timeout_ms=200, **facts)


def greet(name: str, effect: str) -> dict[str, str]:
    return {"text": f"hello {name}", "effect": effect}


async def refuse() -> None:
    raise Refused("no-more", "there are none left")


def fail() -> None:
    raise ValueError("secret")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tool", "arguments", "came"),
    [
        (python_tool("greet"), {"name": "Ann"}, Came.DONE),
        (python_tool("greet", output={"type": "array"}), {"name": "Ann"}, Came.UNREADABLE),
        (python_tool("refuse"), {}, Came.REJECTED),
        (python_tool("fail"), {}, Came.UNKNOWN),
    ],
)
async def test_python_functions(tool: Tool, arguments: dict[str, Any], came: Came) -> None:
    outcome = await PythonTools([__name__]).prepare(tool, arguments, "e1").send(lambda: None)
    assert outcome.came is came
    assert "secret" not in outcome.error
    assert outcome.output == ({"text": "hello Ann", "effect": "e1"} if came is Came.DONE else {})


@pytest.mark.asyncio
async def test_a_guard_stops_a_python_function() -> None:
    def late() -> None:
        raise TooLate

    call = PythonTools([__name__]).prepare(python_tool("greet"), {"name": "Ann"}, "e")
    with pytest.raises(TooLate):
        await call.send(late)


@pytest.mark.parametrize(("allowed", "path"), [([], "greet"), ([__name__], "nowhere")])
def test_python_functions_that_may_not_be_called(allowed: list[str], path: str) -> None:
    with pytest.raises(Refused):
        PythonTools(allowed).prepare(python_tool(path), {}, "e")


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 1), ("c.0", 2), ("c.9", None), ("a.b.c", None), ("x", None), ("", {"a": {"b": 1}, "c": [2]})],
)
def test_paths(path: str, value: Any) -> None:
    assert at_path({"a": {"b": 1}, "c": [2]}, path) == value


def test_schemas_are_never_fetched() -> None:
    broken = problem({}, {"$ref": "http://elsewhere.example/schema"})
    assert broken is not None
    assert broken.startswith("its schema cannot be used: ")
    assert problem({"a": 1}, {"properties": {"a": {"type": "string"}}}) == "a does not fit 'type'"
    assert problem({}, {}) is None


def test_foreign_text_is_one_line() -> None:
    assert one_line("a\n\tb\x00\u202ec" + "x" * 500, 10) == "a b cxxxxx"
