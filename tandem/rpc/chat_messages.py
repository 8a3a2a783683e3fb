"""Chat requests and answers as they travel over gRPC; used by the client and by the server."""

from __future__ import annotations

import json
from typing import Any

from tandem.contracts.ticket import FREE, Cost
from tandem.errors import InvalidError
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse, ToolCall, ToolTurn, Usage
from tandem.rpc.v1 import llm_pb2


def request_to_wire(request: ChatRequest) -> llm_pb2.ChatRequest:
    limit = request.limit
    message = llm_pb2.ChatRequest(
        tenant=request.tenant,
        system=request.system,
        messages=[_turn_to_wire(turn) for turn in request.messages],
        schema_json=json.dumps(request.schema) if request.schema is not None else "",
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        interactive=request.interactive,
        grant=request.grant,
        ticket=request.ticket,
        model=request.model,
        adapter=request.adapter,
        tools_json=json.dumps(request.tools) if request.tools else "",
        tool_choice=request.tool_choice,
        seed=request.seed,
    )
    if limit != FREE:
        message.limit.CopyFrom(llm_pb2.GrantLimit(calls=limit.calls, tokens=limit.tokens, micros=limit.micros))
    return message


def request_from_wire(message: Any) -> ChatRequest:
    """Raises InvalidError where JSON is not what it should be."""
    limit = message.limit  # all zero where there is none
    return ChatRequest(
        tenant=message.tenant,
        system=message.system,
        messages=tuple([_turn_from_wire(turn) for turn in message.messages]),
        schema=_json("schema_json", message.schema_json, dict),
        max_tokens=message.max_tokens,
        temperature=message.temperature,
        interactive=message.interactive,
        grant=message.grant,
        limit=FREE.changed(calls=limit.calls, tokens=limit.tokens, micros=limit.micros),
        ticket=message.ticket,
        model=message.model,
        adapter=message.adapter,
        tools=tuple(_json("tools_json", message.tools_json, list) or ()),
        tool_choice=message.tool_choice,
        seed=message.seed if message.HasField("seed") else None,
    )


def response_to_wire(response: ChatResponse) -> llm_pb2.ChatReply:
    cost, usage = response.cost, response.usage
    return llm_pb2.ChatReply(
        text=response.text,
        model=response.model,
        calls=cost.calls,
        tokens=cost.tokens,
        micros=cost.micros,
        tool_calls=[_call_to_wire(call) for call in response.tool_calls],
        finish=response.finish,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        tokens_cached=usage.cached,
        first_token_ms=usage.first_token_ms,
    )


def response_from_wire(reply: Any) -> ChatResponse:
    return ChatResponse(
        text=reply.text,
        model=reply.model,
        cost=Cost(calls=reply.calls, tokens=reply.tokens, micros=reply.micros),
        tool_calls=tuple(_call_from_wire(call) for call in reply.tool_calls),
        finish=reply.finish,
        usage=Usage(
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            cached=reply.tokens_cached,
            first_token_ms=reply.first_token_ms,
        ),
    )


def delta_to_wire(delta: ChatDelta) -> llm_pb2.ChatDelta:
    if delta.last is None:
        return llm_pb2.ChatDelta(text=delta.text)
    return llm_pb2.ChatDelta(text=delta.text, last=response_to_wire(delta.last))


def delta_from_wire(message: Any) -> ChatDelta:
    if message.HasField("last"):
        return ChatDelta(text=message.text, last=response_from_wire(message.last))
    return ChatDelta(text=message.text)


def _turn_to_wire(turn: tuple[str, str] | ToolTurn) -> llm_pb2.ChatTurn:
    if isinstance(turn, tuple):
        return llm_pb2.ChatTurn(role=turn[0], text=turn[1])
    calls = [_call_to_wire(call) for call in turn.tool_calls]
    return llm_pb2.ChatTurn(role=turn.role, text=turn.text, tool_call_id=turn.tool_call_id, tool_calls=calls)


def _turn_from_wire(turn: Any) -> tuple[str, str] | ToolTurn:
    if not turn.tool_call_id and not turn.tool_calls:
        return (turn.role, turn.text)
    calls = tuple(_call_from_wire(call) for call in turn.tool_calls)
    return ToolTurn(role=turn.role, text=turn.text, tool_call_id=turn.tool_call_id, tool_calls=calls)


def _call_to_wire(call: ToolCall) -> llm_pb2.ToolCall:
    return llm_pb2.ToolCall(id=call.id, name=call.name, arguments=call.arguments)


def _call_from_wire(call: Any) -> ToolCall:
    return ToolCall(call.id, call.name, call.arguments)


def _json(name: str, text: str, kind: type) -> Any:
    if not text:
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidError(f"{name} is not JSON") from error
    if not isinstance(found, kind):
        raise InvalidError(f"{name} is not a JSON {'object' if kind is dict else 'array'}")
    return found
