from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.llm_gateway.calls import Failed
from services.llm_gateway.sse import DONE, Assembly, Events, payloads, without_usage
from tandem.rpc.ports import ToolCall, Usage

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}


def event(payload, end="\n\n"):
    return f"data: {json.dumps(payload, ensure_ascii=False)}{end}".encode()


def piece(**delta):
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def cut(data, places):
    """The data in chunks, cut at these places."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


@given(
    st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8),
    st.lists(st.integers(0, 2_000), max_size=20),
    st.sampled_from(["\n\n", "\r\n\r\n"]),
)
def test_wherever_a_stream_is_cut_the_events_are_whole_and_the_text_is_the_same(texts, places, end):
    stream = b"".join(event(piece(content=text), end) for text in texts) + f"data: [DONE]{end}".encode()
    events, assembly, passed = Events(), Assembly(), b""
    for chunk in cut(stream, places):
        whole = events.whole(chunk)
        assert not whole or whole.endswith(b"\n\n")
        passed += whole
        for payload in payloads(whole):
            assembly.add(payload)
    assert passed == stream.replace(b"\r\n", b"\n")
    assert passed.endswith(DONE)
    assert assembly.completion().text == "".join(texts)


def test_tool_calls_come_together_and_usage_is_read():
    assembly = Assembly()
    parts = [
        {"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}},
        {"index": 1, "id": "b", "function": {"name": "tell", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": '{"id"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    for part in parts:
        assert assembly.add(piece(tool_calls=[part])) == ""
    assembly.add({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    assembly.add({"choices": [], "usage": USAGE})
    completion = assembly.completion()
    assert completion.tool_calls == (ToolCall("a", "look", '{"id": 1}'), ToolCall("b", "tell", "{}"))
    assert (completion.finish, completion.model) == ("tool_calls", "m")
    assert completion.usage == Usage(tokens_in=9, tokens_out=4, cached=8)


def test_only_the_event_that_has_nothing_but_usage_is_left_out():
    said, usage = event(piece(content="x") | {"usage": USAGE}), event({"choices": [], "usage": USAGE})
    quoting = event(piece(content='"usage" of "choices":[]'))
    assert without_usage(said + quoting + usage + DONE) == said + quoting + DONE


@pytest.mark.parametrize(
    "payload", [[], "text", {"choices": 3}, {"choices": [{"delta": {"tool_calls": [{}]}}]}, {"error": "full"}]
)
def test_what_is_no_piece_is_told(payload):
    with pytest.raises(Failed):
        Assembly().add(payload)


@pytest.mark.parametrize("events", [b"data: {\n\n", b"data: {},{}\n\n", b"data: {}, \n\n"])
def test_what_is_not_json_is_told(events):
    with pytest.raises(Failed, match="JSON"):
        payloads(events)
