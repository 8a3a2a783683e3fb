"""What a pack makes of a text: its route, its values and what of it must be masked."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from services.router.classifier import Classifier
from services.router.extraction import Extractor
from services.router.language import UNKNOWN, detect_language
from services.router.signals import Signals, complexity_of, sentiment_of, urgency_of
from services.router.spans import Found
from tandem.clock import Clock
from tandem.contracts.ticket import Route, TypedValue
from tandem.contracts.values import Millis
from tandem.packs.model import Pack
from tandem.rpc.ports import Llm

logger = logging.getLogger(__name__)

MAX_READERS = 64
"""Versions of packs kept compiled."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as its pack understands it. `sensitive` says where the values stand that must not travel in clear."""

    route: Route
    values: tuple[TypedValue, ...]
    sensitive: tuple[Found, ...]


class Reader:
    """Reads texts by one version of a pack."""

    def __init__(self, pack: Pack, llm: Callable[[], Llm], clock: Clock) -> None:
        self._default = pack.languages[0] if pack.languages else UNKNOWN
        self._extractor = Extractor(pack)
        self._signals = Signals(pack)
        self._classifier = Classifier(pack, llm, clock, self._extractor.gist)

    async def read(self, text: str, sent_at: Millis) -> Reading:
        """Never raises for what a customer writes; without an encoder words alone decide."""
        found = self._extractor.extract(text, sent_at)
        route = await self._classifier.classify(found)
        route = route.changed(
            wants_human=self._signals.wants_human(found.masked),
            complexity=complexity_of(found.masked),
            urgency=urgency_of(found.masked),
            sentiment=sentiment_of(found.masked),
            language=detect_language(found.rest, self._default),
        )
        return Reading(route, found.values, found.sensitive)

    def press(self, text: str, sent_at: Millis) -> Reading:
        """A button says by itself what it is about; beside it only values are looked for."""
        found = self._extractor.extract(text, sent_at)
        return Reading(Route(rung="rule", language=UNKNOWN), found.values, found.sensitive)

    async def warm(self) -> None:
        """Embed the examples, if the pack's classifier needs it. Raises Unavailable."""
        await self._classifier.warm()


class Readers:
    """Readers by the hash of their pack's version, the least used dropped."""

    def __init__(self, llm: Callable[[], Llm], clock: Clock) -> None:
        self._llm = llm
        self._clock = clock
        self._by_hash: OrderedDict[str, Reader] = OrderedDict()

    def of(self, pack: Pack) -> Reader:
        """The reader of this version, compiled on first use."""
        reader = self._by_hash.get(pack.hash)
        if reader is None:
            reader = self._by_hash[pack.hash] = Reader(pack, self._llm, self._clock)
            if len(self._by_hash) > MAX_READERS:
                self._by_hash.popitem(last=False)
            logger.info("pack compiled", extra={"pack": pack.name, "pack.hash": pack.hash})
        else:
            self._by_hash.move_to_end(pack.hash)
        return reader
