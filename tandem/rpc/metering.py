"""What the model calls of one piece of work took together, without every function on the way handing it on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tandem.contracts.inbox import ModelUsage
from tandem.rpc.ports import ChatResponse

_RESPONSES: ContextVar[list[ChatResponse] | None] = ContextVar("responses", default=None)


@contextmanager
def metered() -> Iterator[list[ChatResponse]]:
    """The answers of all model calls made inside, also of tasks that are begun inside."""
    responses: list[ChatResponse] = []
    token = _RESPONSES.set(responses)
    try:
        yield responses
    finally:
        _RESPONSES.reset(token)


def note(response: ChatResponse) -> ChatResponse:
    """Count this answer where somebody meters."""
    responses = _RESPONSES.get()
    if responses is not None:
        responses.append(response)
    return response


def usage_of(responses: list[ChatResponse]) -> ModelUsage | None:
    """All of them together; None if there was none."""
    if not responses:
        return None
    return ModelUsage(
        models=tuple(dict.fromkeys(response.model for response in responses)),
        calls=sum(response.cost.calls for response in responses),
        tokens_in=sum(response.usage.tokens_in for response in responses),
        tokens_out=sum(response.usage.tokens_out for response in responses),
        cached=sum(response.usage.cached for response in responses),
        first_token_ms=max(response.usage.first_token_ms for response in responses),
    )
