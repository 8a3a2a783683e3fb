"""A chat call on its way through the gateway, and what a replica answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tandem.contracts.ticket import FREE, Cost
from tandem.errors import Misshapen, Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse, ToolCall, ToolTurn, Usage

NOT_THE_QUESTION = frozenset({"model", "stream", "stream_options", "user", "cache_salt"})
"""Fields of a body that do not change what is asked."""

NO_USAGE = Usage()
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
BYTES_A_TOKEN = 3
"""Of a prompt, for what is set aside before a call; what it really took is settled after it."""

TURN_TOKENS, TOOLS_TOKENS = 8, 200
"""What a chat template writes around each turn and the answer, and before the tools."""


class Failed(Unavailable):
    """A replica could not serve a call. `outcome` is one of a few words, for metrics. `fault`: it counts against it.
    `spent`: what was paid all the same."""

    def __init__(self, outcome: str, detail: str, *, fault: bool = True, wait_s: float | None = None) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.fault = fault
        self.wait_s = wait_s
        self.spent = FREE


class WrongShape(Failed, Misshapen):
    """A model answered, and not what was asked for; no fault of its replica. `answer`: what it said."""

    def __init__(self, detail: str) -> None:
        super().__init__("shape", detail, fault=False)
        self.answer: Completion | None = None

    @property
    def paid(self) -> tuple[int, int, int]:
        return self.spent.calls, self.spent.tokens, self.spent.micros


@dataclass(slots=True, kw_only=True)
class Call:
    """One chat call. `body` is OpenAI's request; `deadline` is on the gateway's monotonic clock."""

    body: dict[str, Any]
    deadline: float
    tenant: str = "default"
    ticket: str = ""
    pool: str = ""
    adapter: str = ""
    interactive: bool = True
    grant: str = ""
    limit: Cost = FREE
    stream: bool = False
    told: bool = False  # perhaps the schema is told in the prompt

    @property
    def grant_key(self) -> str:
        """No tenant's grant is another's."""
        return f"{self.tenant}:{self.grant}"

    @property
    def system(self) -> str:
        """The beginning that it shares with other calls."""
        first = self.body["messages"][0] if self.body.get("messages") else {}
        content = first.get("content")
        return content if first.get("role") == "system" and isinstance(content, str) else ""

    @property
    def schema(self) -> dict[str, Any] | None:
        wanted = self.body.get("response_format")
        if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
            return None
        schema = (wanted.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, dict) else None

    @property
    def deterministic(self) -> bool:
        """The same question has the same answer."""
        return self.body.get("temperature") == 0 and self.body.get("n", 1) == 1

    def question(self) -> str:
        """A key of what is asked: prompt, schema, tools, sampling; and of which model."""
        asked = {name: value for name, value in self.body.items() if name not in NOT_THE_QUESTION}
        text = _canonical([self.pool, self.adapter, asked])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def size(self) -> int:
        """Tokens that it may take in and out, about: what it weighs in the queue, and what is set aside for it."""
        return self._prompt + self._most * self._answers

    def hold_to(self, tokens: int) -> None:
        """Where a call does not say how long its answer may be, it may be what `tokens` leave."""
        if not self._most:
            self.body["max_tokens"] = max(1, (tokens - self._prompt) // self._answers)

    @property
    def _answers(self) -> int:
        asked = self.body.get("n")
        return max(1, asked) if isinstance(asked, int) else 1

    @property
    def _most(self) -> int:
        most = self.body.get("max_completion_tokens") or self.body.get("max_tokens")
        return most if isinstance(most, int) else 0

    @property
    def _prompt(self) -> int:
        messages, tools = self.body["messages"], self.body.get("tools")
        length = sum(_length(message.get("content")) for message in messages)
        length += sum(_length(message["tool_calls"]) for message in messages if "tool_calls" in message)
        around = TURN_TOKENS * (len(messages) + 1)
        if tools:
            length, around = length + _length(tools), around + TOOLS_TOKENS
        if self.told:
            length += _length(self.schema)
        return length // BYTES_A_TOKEN + around


@dataclass(slots=True, kw_only=True)
class Completion:
    """A whole answer; `raw` is the body as it came, empty when it was streamed."""

    model: str
    text: str
    raw: bytes = b""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str = ""
    usage: Usage = NO_USAGE
    cost: Cost = FREE

    def response(self) -> ChatResponse:
        return ChatResponse(
            text=self.text,
            model=self.model,
            cost=self.cost,
            tool_calls=self.tool_calls,
            finish=self.finish,
            usage=self.usage,
        )

    def body(self) -> bytes:
        """As OpenAI's API gives it."""
        if self.raw:
            return self.raw
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = [tool_call_body(call) for call in self.tool_calls]
        usage = self.usage
        return json.dumps(
            {
                "object": "chat.completion",
                "model": self.model,
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish or "stop"}],
                "usage": {
                    "prompt_tokens": usage.tokens_in,
                    "completion_tokens": usage.tokens_out,
                    "total_tokens": usage.tokens_in + usage.tokens_out,
                    "prompt_tokens_details": {"cached_tokens": usage.cached},
                },
            },
            ensure_ascii=False,
        ).encode()


def call_of(request: ChatRequest, deadline: float, *, stream: bool = False) -> Call:
    """A request of the Llm port as a call."""
    body: dict[str, Any] = {
        "messages": list(_messages(request)),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
    }
    if request.schema is not None:
        # Not "strict": OpenAI then refuses schemas with optional fields or free keys. vLLM holds an answer to any schema.
        shape = {"name": "answer", "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if request.tools:
        body["tools"] = list(request.tools)
    if request.tool_choice:
        named = {"type": "function", "function": {"name": request.tool_choice}}
        body["tool_choice"] = request.tool_choice if request.tool_choice in ("auto", "none", "required") else named
    if request.seed is not None:
        body["seed"] = request.seed
    return Call(
        body=body,
        deadline=deadline,
        tenant=request.tenant,
        ticket=request.ticket,
        pool=request.model,
        adapter=request.adapter,
        interactive=request.interactive,
        grant=request.grant,
        limit=request.limit,
        stream=stream,
    )


def read_completion(raw: bytes) -> Completion:
    """Raises Failed if it is no chat completion."""
    try:
        found = json.loads(raw)
        choice = found["choices"][0]
        message = choice["message"]
        calls = tuple(
            ToolCall(str(call.get("id") or ""), call["function"]["name"], call["function"].get("arguments") or "")
            for call in message.get("tool_calls") or ()
        )
        return Completion(
            model=found.get("model") or "",
            text=message.get("content") or "",
            raw=raw,
            tool_calls=calls,
            finish=choice.get("finish_reason") or "",
            usage=read_usage(found.get("usage")),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Failed("unreadable", "the answer is no chat completion") from error


def read_usage(usage: Any) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        tokens_in=usage.get("prompt_tokens") or 0,
        tokens_out=usage.get("completion_tokens") or 0,
        cached=details.get("cached_tokens") or 0,
    )


def tool_call_body(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _length(content: Any) -> int:
    return len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else len(json.dumps(content))


def _messages(request: ChatRequest) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": request.system}
    for turn in request.messages:
        if isinstance(turn, ToolTurn):
            yield _tool_turn(turn)
        else:
            yield {"role": turn[0], "content": turn[1]}


def _tool_turn(turn: ToolTurn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if turn.tool_call_id:
        message["tool_call_id"] = turn.tool_call_id
    if turn.tool_calls:
        message["tool_calls"] = [tool_call_body(call) for call in turn.tool_calls]
    return message
