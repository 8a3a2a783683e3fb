"""Reads a message with the eyes of a pack: masked text, typed values, route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.router.classifier import Classifier
from services.router.extraction import Extraction, Extractor
from services.router.language import detect_language
from services.router.signals import Signals, complexity_of, sentiment_of, urgency_of
from tandem.clock import Clock
from tandem.contracts.customer import CustomerMessage, MessagePart
from tandem.contracts.ticket import Route, TypedValue
from tandem.contracts.values import Millis
from tandem.packs.model import Pack
from tandem.rpc.ports import Llm

NOTHING = Extraction("", "", "", ())


@dataclass(frozen=True, slots=True)
class Reading:
    """What the router makes of a message."""

    message: CustomerMessage  # masked
    route: Route
    values: tuple[TypedValue, ...]


class Reader:
    """One version of a pack, ready to read messages."""

    def __init__(self, pack: Pack, llm: Callable[[], Llm], clock: Clock) -> None:
        self.pack = pack
        self._extractor = Extractor(pack)
        self._signals = Signals(pack)
        self._classifier = Classifier(pack, llm, clock, self._extractor.gist)

    async def read(self, message: CustomerMessage) -> Reading:
        """Mask, extract and classify."""
        parts, found = self._parts(message.parts, message.sent_at)
        text = found.masked
        route = await self._classifier.classify(found)
        told = {
            "wants_human": self._signals.wants_human(text),
            "complexity": complexity_of(text),
            "urgency": urgency_of(text),
            "sentiment": sentiment_of(text),
            "language": detect_language(found.rest, self.pack.languages[0]),
        }
        return Reading(message.model_copy(update={"parts": parts}), route.model_copy(update=told), found.values)

    def _parts(self, parts: tuple[MessagePart, ...], sent_at: Millis) -> tuple[tuple[MessagePart, ...], Extraction]:
        read = [self._extractor.extract(part.text, sent_at) if part.text else NOTHING for part in parts]
        masked = tuple(
            part if part.text == found.masked else part.model_copy(update={"text": found.masked})
            for part, found in zip(parts, read, strict=True)
        )
        return masked, read[0] if len(read) == 1 else _joined(read)


def _joined(read: list[Extraction]) -> Extraction:
    return Extraction(
        masked="\n".join(found.masked for found in read if found.masked),
        rest="\n".join(found.rest for found in read if found.rest),
        gist="\n".join(found.gist for found in read if found.gist),
        values=tuple(value for found in read for value in found.values),
    )
