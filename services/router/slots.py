"""A pack's slots, compiled: by pattern, by the words of a choice, by the label before a value."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.router.spans import Found
from tandem.contracts.values import Json
from tandem.packs.model import Pack, Slot
from tandem.text import is_cjk, refused, words

_INLINE_FLAGS = re.compile(r"^\(\?[aiLmsux]+\)")
_LABEL_LINK = r"\s{0,3}(?:(?:number|no\.?|id)\s{0,3})?(?:is|was|=|:|：|是|为|叫)\s{0,3}"
_LABEL_VALUE = (
    r"(?:\"([^\"\n]{1,200})\"|'([^'\n]{1,200})'|“([^”\n]{1,200})”|([^\s,;!?，。；！？][^,;!?\n，。；！？]{0,80}?))"
)
_LABEL_END = r"(?=\s+(?:and|but|,)\s|[,;!?，。；！？\n]|\.\s|\.?$)"
_CUE_REACH = 40
"""Characters before a value in which its slot's label counts."""

WEAK = 0.3
"""Confidence of a mention that may be another slot's: it counts only as the answer to the slot's own question."""

_ARTICLE = r"(?:\s+(?:the|an?|my|our))?"

_COUNTING = frozenset(("integer", "number", "amount"))

_MANY = 5
"""Values of one slot taken from one message; of sensitive ones all, as they must be masked."""

GENERAL_TYPES = {
    "email": ("email",),
    "ip": ("ip",),
    "phone": ("phone",),
    "url": ("url",),
    "date": ("date",),
    "integer": ("integer",),
    "number": ("number", "integer", "amount"),
}
"""Slot type → general values that may fill it."""


@dataclass(frozen=True, slots=True)
class Cues:
    """Words beside a value that say which slot it is for."""

    before: re.Pattern[str] | None
    after: re.Pattern[str] | None

    def beside(self, text: str, start: int, end: int) -> bool:
        """Whether one stands right before or after text[start:end]."""
        near = text[max(0, start - _CUE_REACH) : start]
        if self.before is not None and self.before.search(near):
            return True
        return self.after is not None and self.after.match(text, end) is not None


@dataclass(frozen=True, slots=True)
class PatternSlot:
    """A slot with a pattern of its own."""

    slot: Slot
    pattern: re.Pattern[str]

    def find(self, text: str) -> Iterator[Found]:
        for number, match in enumerate(self.pattern.finditer(text)):
            if number >= _MANY and not self.slot.sensitive:
                return
            group = "value" if "value" in match.re.groupindex else 0
            value = cast_value(match.group(group), self.slot.type)
            if value is not None:
                yield _found(self.slot, value, match.start(group), match.end(group), 1.0)


@dataclass(frozen=True, slots=True)
class ChoiceSlot:
    """A slot whose values customers name by certain words."""

    slot: Slot
    pattern: re.Pattern[str]
    values: dict[str, str]  # word → value
    cues: Cues

    def find(self, text: str) -> Iterator[Found]:
        for match in self.pattern.finditer(text):
            if refused(text, match.start()):
                continue
            value = self.values[match.group().lower()]
            free = not self.slot.only_cued and not match.group().isdigit()  # a bare number may count anything
            sure = free or self.cues.beside(text, match.start(), match.end())
            yield _found(self.slot, value, match.start(), match.end(), 0.95 if sure else WEAK)


@dataclass(frozen=True, slots=True)
class LabelSlot:
    """A slot without a form: what stands after its label and "is"."""

    slot: Slot
    pattern: re.Pattern[str]

    def find(self, text: str) -> Iterator[Found]:
        for match in self.pattern.finditer(text):
            group = match.lastindex or 0
            yield _found(self.slot, match.group(group).strip(), match.start(group), match.end(group), 0.7)


CompiledSlot = PatternSlot | ChoiceSlot | LabelSlot


@dataclass(frozen=True, slots=True)
class Slots:
    """All of a pack's slots."""

    own: tuple[CompiledSlot, ...]
    typed: dict[str, tuple[Slot, ...]]  # general value → slots it may fill, those without a pattern
    cues: dict[str, Cues]  # of the typed slots that have some

    def find(self, text: str) -> list[Found]:
        """Values by pattern, choice or label. The same place may fill several slots."""
        return [found for slot in self.own for found in slot.find(text)]

    def fill(self, general: Found, text: str) -> list[Found]:
        """The slot that a general value fills, if it is plain which: a cue of it stands beside the value, or its label nearest
        before, or no other slot is of that type (for a number, which may count anything, only if the message is no more than it).
        """
        slots = self.typed.get(general.slot, ())
        meant = [slot for slot in slots if self._cued(slot, general, text)]
        if meant:
            return [_found(slot, general.value, general.start, general.end, general.confidence) for slot in meant]
        before = text[max(0, general.start - _CUE_REACH) : general.start].lower()
        cued = {slot.name: (_end_of_label(slot, before), slot) for slot in slots}
        ends = sorted((end for end, _ in cued.values() if end), reverse=True)
        if ends and ends.count(ends[0]) == 1:
            nearest = next(slot for end, slot in cued.values() if end == ends[0])
            return [_found(nearest, general.value, general.start, general.end, general.confidence)]
        alone = general.slot not in _COUNTING or not words(text[: general.start] + text[general.end :])
        if len(slots) == 1 and alone:
            return [_found(slots[0], general.value, general.start, general.end, general.confidence * 0.95)]
        return []

    def _cued(self, slot: Slot, general: Found, text: str) -> bool:
        cues = self.cues.get(slot.name)
        return cues is not None and cues.beside(text, general.start, general.end)


def compile_slots(pack: Pack) -> Slots:
    """A pack's slots, ready to be found."""
    own: list[CompiledSlot] = []
    typed: dict[str, list[Slot]] = {}
    for slot in pack.slots.values():
        if slot.pattern:
            own.append(PatternSlot(slot, _bounded(slot.pattern)))
        elif slot.choices:
            own.append(_choice(slot))
            if slot.free_text:
                own.append(_label(slot))
        elif slot.type in GENERAL_TYPES:
            for kind in GENERAL_TYPES[slot.type]:
                typed.setdefault(kind, []).append(slot)
        elif slot.type == "string":
            own.append(_label(slot))
    cues = {slot.name: compile_cues(slot) for slots in typed.values() for slot in slots if slot.cues}
    return Slots(tuple(own), {kind: tuple(slots) for kind, slots in typed.items()}, cues)


def compile_cues(slot: Slot) -> Cues:
    """A slot's cues, longest first."""
    sides = [tuple(part.strip() for part in cue.split("…")) for cue in sorted(slot.cues, key=len, reverse=True)]
    before = "|".join(re.escape(left) for left, _ in sides if left)
    after = "|".join(re.escape(right) for _, right in sides if right)
    return Cues(
        re.compile(rf"(?<!\w)(?:{before}){_ARTICLE}\s*$", re.IGNORECASE) if before else None,
        re.compile(rf"\s*(?:{after})(?!\w)", re.IGNORECASE) if after else None,
    )


def cast_value(text: str, kind: str) -> Json:
    """The text as the slot's type; None if it is not of it."""
    try:
        if kind == "integer":
            return int(text.replace(",", ""))
        if kind == "number":
            return float(text.replace(",", ""))
    except ValueError:
        return None
    if kind == "ip":
        return _address(text)
    return text.lower() if kind == "email" else text


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def labels_of(slot: Slot) -> list[str]:
    """What the slot is called, longest first, in lower case."""
    labels = {slot.name.replace("_", " "), *slot.label.values()} - {""}
    return sorted((label.lower() for label in labels), key=len, reverse=True)


def _end_of_label(slot: Slot, before: str) -> int:
    """Where the slot's last label ends; 0 if there is none."""
    return max((at + len(label) for label in labels_of(slot) if (at := before.rfind(label)) >= 0), default=0)


def _found(slot: Slot, value: Json, start: int, end: int, confidence: float) -> Found:
    return Found(slot.name, value, start, end, slot.sensitive, confidence, clear=not slot.sensitive)


def _bounded(pattern: str) -> re.Pattern[str]:
    """The pattern as whole words of letters and digits: `\\d{6}` is not in a longer number."""
    bare = _INLINE_FLAGS.sub("", pattern)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{bare})(?![A-Za-z0-9])", re.IGNORECASE)


def _choice(slot: Slot) -> ChoiceSlot:
    values: dict[str, str] = {}
    for value, said in slot.choices.items():
        for word in (*said, value, value.replace("_", " ")):
            values.setdefault(word.lower(), value)
    longest = sorted(values, key=len, reverse=True)
    parts = [re.escape(word) if is_cjk(word) else rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest if word]
    return ChoiceSlot(slot, re.compile("|".join(parts), re.IGNORECASE | re.ASCII), values, compile_cues(slot))


def _label(slot: Slot) -> LabelSlot:
    cue = "|".join(re.escape(label) for label in labels_of(slot))
    return LabelSlot(slot, re.compile(rf"(?<!\w)(?:{cue}){_LABEL_LINK}{_LABEL_VALUE}{_LABEL_END}", re.IGNORECASE))
