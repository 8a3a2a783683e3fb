"""The large rung: a model's notes of a ticket that came to an end. What they say must stand in the lines it was shown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from services.memory.projection import Said
from services.memory.redaction import redacted
from tandem.asking import Output, Question, Unfit, typed
from tandem.contracts.inbox import Noted
from tandem.packs.links import MASK
from tandem.prompts import Data, Inputs, as_written, load
from tandem.text import sentences, stands_in, terms

MAX_SHOWN = 30
MAX_LINE = 400
MAX_SUMMARY, MAX_VALUE, MAX_NOTED = 600, 120, 8
OVERLAP = 2
"""Terms that each sentence of a summary must share with the lines, of a short one half: "asked" and "was told" stand nowhere."""

DAY_MS = 24 * 3600 * 1000
KEEP = {"week": 7 * DAY_MS, "month": 30 * DAY_MS, "year": 365 * DAY_MS}

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_HIDDEN = re.compile(rf"{MASK}|\[\w+\]")  # what is left of a code, and of what the router masked
_ONLY_DIGITS = re.compile(r"\W*\d(?:[ -]?\d){3,}\W*")


class NoteInputs(Inputs):
    conversation: Data


class Fact(Output):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    value: str = Field(min_length=2, max_length=MAX_VALUE)
    line: int = Field(ge=1)
    keep: Literal["week", "month", "year"]


class Note(Output):
    """What a model writes down."""

    summary: str = Field(min_length=1, max_length=MAX_SUMMARY)
    facts: tuple[Fact, ...] = Field(max_length=MAX_NOTED)


class Notes(Output):
    """What is kept of it, each fact with its source."""

    summary: str
    facts: tuple[Noted, ...]


NOTE = load(Path(__file__).parent, "note", NoteInputs)


def question(said: Sequence[Said]) -> Question[NoteInputs, Notes]:
    """Ask a model for notes of these lines. Codes and keys are taken out of them first."""
    lines = [
        line.changed(text=text[:MAX_LINE])
        for line, text in zip(said, redacted(line.text for line in said), strict=True)
    ][-MAX_SHOWN:]
    shown = [{"line": number, "who": line.who, "text": line.text} for number, line in enumerate(lines, 1)]
    inputs = NoteInputs(conversation=json.dumps(shown, ensure_ascii=False))
    return Question(NOTE, inputs, Note.shape(), partial(read, lines=lines))


def read(text: str, lines: Sequence[Said]) -> Notes:
    """The notes, if the lines say what they say. Raises Unfit."""
    note = typed(Note)(text)
    summary = as_written(note.summary).strip()
    _check_summary(summary, lines)
    names = [fact.name for fact in note.facts]
    if len(set(names)) < len(names):
        raise Unfit("facts: each name once")
    return Notes(summary=summary, facts=tuple(_noted(fact, lines) for fact in note.facts))


def _check_summary(summary: str, lines: Sequence[Said]) -> None:
    source = "\n".join(line.text for line in lines)
    if _HIDDEN.search(summary):
        raise Unfit("summary: nothing that was hidden belongs there")
    made_up = set(_NUMBER.findall(summary)) - set(_NUMBER.findall(source))
    if made_up:
        raise Unfit(f"summary: {', '.join(sorted(made_up))[:100]} stands in no line")
    known = set(terms(source))
    for sentence in sentences(summary):
        said = set(terms(sentence))
        if len(said & known) < min(OVERLAP, len(said) // 2):
            raise Unfit(f"summary: no line says: {sentence[:120]}")


def _noted(fact: Fact, lines: Sequence[Said]) -> Noted:
    """The fact with its source. Raises Unfit if the customer did not write it there, or it looks like something secret."""
    line = lines[fact.line - 1] if fact.line <= len(lines) else None
    value = " ".join(as_written(fact.value).split())
    if line is None or line.who != "customer" or not line.message:
        raise Unfit(f"facts: {fact.name}: line {fact.line} is no line of the customer")
    if not stands_in(value, line.text):
        raise Unfit(f"facts: {fact.name}: its value does not stand in line {fact.line}")
    if _HIDDEN.search(value) or _ONLY_DIGITS.fullmatch(value):
        raise Unfit(f"facts: {fact.name}: looks like a code or a number of a document; leave it out")
    return Noted(
        name=fact.name,
        value=value,
        ticket=line.ticket,
        message=line.message,
        at=line.at,
        until=line.at + KEEP[fact.keep],
    )
