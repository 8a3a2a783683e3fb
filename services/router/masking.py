"""A customer's message with the sensitive values in its texts replaced by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.router.spans import Found, mask
from tandem.contracts.customer import CustomerMessage, MessagePart


def joined(message: CustomerMessage) -> str:
    """The texts of all parts, one below the other: what values are looked for in, as a cue may stand in another part."""
    return "\n".join(part.text for part in message.parts)


def mask_message(message: CustomerMessage, sensitive: Sequence[Found]) -> CustomerMessage:
    """The message masked. `sensitive` stand in `joined(message)`."""
    if not sensitive:
        return message
    parts: list[MessagePart] = []
    at = 0
    for part in message.parts:
        parts.append(part.model_copy(update={"text": mask(part.text, _within(sensitive, at, at + len(part.text)))}))
        at += len(part.text) + 1
    return message.model_copy(update={"parts": tuple(parts)})


def _within(found: Sequence[Found], start: int, end: int) -> list[Found]:
    """What of the values stands in [start, end), counted from there."""
    return [
        replace(value, start=max(value.start, start) - start, end=min(value.end, end) - start)
        for value in found
        if value.start < end and start < value.end
    ]
