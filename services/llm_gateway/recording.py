"""Record and replay: every chat call and its answer in a file, by the hash of what was asked; and from it, without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from services.llm_gateway.calls import Completion
from tandem import telemetry
from tandem.contracts.ticket import Cost
from tandem.errors import InvalidSettings, Refused
from tandem.rpc.ports import ToolCall, Usage
from tandem.telemetry import names

MAX_RECORDED = 1_000_000


class Recorder:
    """Appends a line per answered call. The file holds what customers wrote: keep it as you keep their tickets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def add(self, question: str, completion: Completion) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps({"key": question, **as_line(completion)}, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Replay:
    """Recorded answers, each in the order in which it was given; the last one is repeated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, list[Completion]] = {}
        for key, completion in _read(path):
            self._answers.setdefault(key, []).append(completion)

    def answer(self, question: str) -> Completion:
        """Raises Refused for a call that was not recorded."""
        found = self._answers.get(question)
        if found is None:
            raise Refused(
                "not_recorded",
                f"no recorded call {question} in {self._path}: prompt, schema, tools or sampling differ from the recorded "
                "run; record it again with TANDEM_LLM_RECORD",
            )
        telemetry.count(names.MODEL_REPEATED, "record")
        return found.pop(0) if len(found) > 1 else found[0]


def as_line(completion: Completion) -> dict[str, Any]:
    """An answer as JSON can hold it."""
    usage, cost = completion.usage, completion.cost
    return {
        "model": completion.model,
        "text": completion.text,
        "tool_calls": [[call.id, call.name, call.arguments] for call in completion.tool_calls],
        "finish": completion.finish,
        "usage": [usage.tokens_in, usage.tokens_out, usage.cached],
        "cost": [cost.calls, cost.tokens, cost.micros],
    }


def _read(path: Path) -> Iterator[tuple[str, Completion]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if number > MAX_RECORDED:
                    raise InvalidSettings(f"TANDEM_LLM_REPLAY: {path} has more than {MAX_RECORDED} lines")
                found = json.loads(line)
                yield found["key"], of_line(found)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidSettings(f"TANDEM_LLM_REPLAY: {path} cannot be read: {error}") from error


def of_line(line: dict[str, Any]) -> Completion:
    tokens_in, tokens_out, cached = line["usage"]
    calls, tokens, micros = line["cost"]
    return Completion(
        model=line["model"],
        text=line["text"],
        tool_calls=tuple(ToolCall(*call) for call in line["tool_calls"]),
        finish=line["finish"],
        usage=Usage(tokens_in=tokens_in, tokens_out=tokens_out, cached=cached),
        cost=Cost(calls=calls, tokens=tokens, micros=micros),
    )
