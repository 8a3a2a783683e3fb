"""Answers of deterministic calls, by the exact question and the tenant; the least used is forgotten."""

from __future__ import annotations

from collections import OrderedDict

from services.llm_gateway.calls import Call, Completion
from tandem import telemetry
from tandem.telemetry import names

MAX_ANSWER = 64 * 1024
"""Characters; longer answers are not remembered."""


class Cache:
    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[tuple[str, str], Completion] = OrderedDict()

    def takes(self, call: Call) -> bool:
        return self._size > 0 and call.deterministic

    def get(self, call: Call, question: str) -> Completion | None:
        found = self._answers.get((call.tenant, question))
        if found is not None:
            self._answers.move_to_end((call.tenant, question))
            telemetry.count(names.MODEL_REPEATED, "cache")
        return found

    def put(self, call: Call, question: str, completion: Completion) -> None:
        if len(completion.text) > MAX_ANSWER:
            return
        self._answers[call.tenant, question] = completion
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)
