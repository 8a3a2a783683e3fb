"""From a text to its typed values and its masked form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from services.router import spans
from services.router.answers import PURE, YES_NO, find_dont_know, find_ordinals, find_yes_no
from services.router.dates import find_dates
from services.router.recognisers import find_general, find_wholes
from services.router.sensitive import PASSWORD, find_sensitive
from services.router.slots import WEAK, Slots, compile_slots
from services.router.spans import Found, cut, mask, masked
from tandem.contracts.ticket import TypedValue
from tandem.packs.model import Pack
from tandem.text import is_cjk

_MASKED_KINDS = frozenset(("email", "phone"))
"""General values that are personal: masked unless a slot of the pack says they may stand in clear."""

_NOT_WORDS = frozenset(("email", "ip", "url", "phone", "integer", "number", "amount"))
"""Values that say nothing about what the customer wants."""

_WORDED = frozenset(("string", "date", "boolean"))
"""Types whose values are words of the message, not ids in it."""

MAX_VALUES = 40

MAX_COMPARED = 2_000
"""Characters of a message that say what it is about; values are looked for in all of it."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a text holds."""

    masked: str  # with sensitive values replaced by their slot's name
    rest: str  # without ids, numbers, addresses and a bare yes or no: the customer's own words
    gist: str  # with ids called by their slot's name: what messages are compared by
    values: tuple[TypedValue, ...]
    sensitive: tuple[Found, ...] = ()  # where the masked ones stand


class Extractor:
    """Finds a pack's values in messages."""

    def __init__(self, pack: Pack) -> None:
        self._slots: Slots = compile_slots(pack)
        self._worded = frozenset(
            name for name, slot in pack.slots.items() if slot.choices or (slot.type in _WORDED and not slot.pattern)
        )
        self._named = {name: slot.label or {"en": name.replace("_", " ")} for name, slot in pack.slots.items()}

    def extract(self, text: str, sent_at: int) -> Extraction:
        """Values of one text, and the text with the sensitive ones masked."""
        found = self._find(text, sent_at)
        ids = [value for value in found if self._is_no_word(value)]
        rest = cut(text, ids)[:MAX_COMPARED]
        return Extraction(
            masked=mask(text, found)[:MAX_COMPARED],
            rest=rest,
            gist=self._gist(text, ids, is_cjk(rest)) if ids else rest,
            values=tuple(_typed(text, value) for value in found[:MAX_VALUES]),
            sensitive=tuple(value for value in found if value.sensitive),
        )

    def gist(self, text: str) -> str:
        """What a text is compared by."""
        return self.extract(text, 0).gist

    def _gist(self, text: str, ids: list[Found], cjk: bool) -> str:
        def name(value: Found) -> str:
            label = self._named.get(value.slot, {})
            return f" {label.get('zh' if cjk else 'en', '')} "

        return spans.replace(text, ids, name).strip()[:MAX_COMPARED]

    def _find(self, text: str, sent_at: int) -> list[Found]:
        wholes = find_wholes(text)
        own = [value for value in self._slots.find(text) if not any(value.inside(whole) for whole in wholes)]
        weak = [value for value in own if value.confidence <= WEAK]
        own = [value for value in own if value.confidence > WEAK]
        clear = [value for value in own if value.clear]
        secret = _apart(find_sensitive(text), [])
        secret = [value for value in secret if value.slot == PASSWORD or value.free_of(clear)]
        own = [value for value in own if value.sensitive or value.free_of(secret)]
        taken = own + secret
        dates = _apart(find_dates(text, sent_at), taken)
        general = find_general(text, taken + dates)
        filled = [value for found in (*general, *dates) for value in self._slots.fill(found, text)]
        plain = [found for found in (*general, *dates) if found.free_of(filled)]
        plain = [replace(found, sensitive=True) if found.slot in _MASKED_KINDS else found for found in plain]
        answers = [*find_yes_no(text), *find_dont_know(text), *_apart(find_ordinals(text), taken)]
        return [*own, *secret, *filled, *plain, *answers, *weak]

    def _is_no_word(self, value: Found) -> bool:
        if value.slot == YES_NO:
            return value.confidence >= PURE
        if value.sensitive or value.slot in _NOT_WORDS:
            return True
        return value.clear and value.slot not in self._worded


def _apart(found: Iterable[Found], taken: list[Found]) -> list[Found]:
    """Those that stand where nothing is, and of several at one place the longest."""
    kept: list[Found] = []
    by_length: Callable[[Found], tuple[int, int]] = lambda value: (value.start - value.end, value.start)  # noqa: E731
    for value in sorted(found, key=by_length):
        if value.free_of(taken) and value.free_of(kept):
            kept.append(value)
    return sorted(kept, key=lambda value: value.start)


def _typed(text: str, value: Found) -> TypedValue:
    return TypedValue.made(
        slot=value.slot,
        value=value.value,
        text=masked(value) if value.sensitive else text[value.start : value.end],
        sensitive=value.sensitive,
        confidence=round(value.confidence, 3),
    )
