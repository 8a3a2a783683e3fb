"""Server-sent events of a streamed chat completion: whole events out of chunks, and what they come to."""

from __future__ import annotations

import json
from typing import Any

from services.llm_gateway.calls import Completion, Failed, read_usage
from tandem.rpc.ports import ToolCall, Usage

MAX_EVENT_BYTES = 4 * 1024 * 1024
DONE = b"data: [DONE]\n\n"


class Events:
    """Cuts chunks at the ends of events."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, chunk: bytes) -> bytes:
        """The events that are complete now, as they came; often several, often none."""
        data = self._rest + chunk if self._rest else chunk
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            if len(data) > MAX_EVENT_BYTES:
                raise Failed("unreadable", "an event without an end")
            self._rest = data
            return b""
        self._rest = data[end:]
        return data[:end]


def payloads(events: bytes) -> list[Any]:
    """What the events carry; the closing `[DONE]` is left out. Raises Failed for what is not JSON."""
    data = [each for event in events.split(b"\n\n") if (each := _data(event)) and each != b"[DONE]"]
    try:
        found: list[Any] = json.loads(b"[%b]" % b",".join(data))
    except ValueError as error:
        raise Failed("unreadable", "a piece of the answer is not JSON") from error
    if len(found) != len(data):
        raise Failed("unreadable", "a piece of the answer is more than one JSON value")
    return found


def _data(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    return b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


def without_usage(events: bytes) -> bytes:
    """Less the event that has nothing but the usage: the gateway asks for it, its caller may not have."""
    if b'"usage"' not in events or b'"choices"' not in events:
        return events
    kept = [event for event in events.split(b"\n\n") if not _only_usage(event)]
    return b"\n\n".join(kept)


def _only_usage(event: bytes) -> bool:
    return b'"usage"' in event and any(payload.get("choices") == [] for payload in payloads(event))


class Assembly:
    """Puts a streamed answer together."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, list[str]] = {}  # index → id, name, arguments
        self._model = ""
        self._finish = ""
        self._usage = Usage()

    def add(self, piece: Any) -> str:
        """The text of this piece. Raises Failed if it is no piece of a completion."""
        try:
            self._model = piece.get("model") or self._model
            if piece.get("usage"):
                self._usage = read_usage(piece["usage"])
            if "error" in piece:
                raise Failed("error", str(piece["error"])[:200])
            text = ""
            for choice in piece.get("choices") or ():
                delta = choice.get("delta") or {}
                text += delta.get("content") or ""
                self._finish = choice.get("finish_reason") or self._finish
                for call in delta.get("tool_calls") or ():
                    self._add_call(call)
        except (AttributeError, TypeError, LookupError) as error:
            raise Failed("unreadable", "a piece of the answer is none") from error
        if text:
            self._texts.append(text)
        return text

    def completion(self) -> Completion:
        calls = tuple(ToolCall(*parts) for _, parts in sorted(self._calls.items()))
        return Completion(
            model=self._model, text="".join(self._texts), tool_calls=calls, finish=self._finish, usage=self._usage
        )

    @property
    def pieces(self) -> int:
        """As many tokens, about, where the replica has not said."""
        return len(self._texts)

    def _add_call(self, call: dict[str, Any]) -> None:
        parts = self._calls.setdefault(call["index"], ["", "", ""])
        function = call.get("function") or {}
        parts[0] = call.get("id") or parts[0]
        parts[1] = function.get("name") or parts[1]
        parts[2] += function.get("arguments") or ""
