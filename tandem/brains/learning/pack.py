"""`tandem pack train`: a pack's models, into the pack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tandem.brains import artefact, intents
from tandem.brains.background import OFF_TOPIC, VAGUE, VAGUE_INTENT
from tandem.brains.catalogue import procedures_of, read_dialogues
from tandem.brains.learning.intents import Messages
from tandem.brains.learning.intents import train as train_intents
from tandem.brains.learning.moments import Moment
from tandem.brains.learning.train import Say, train
from tandem.brains.rejection import OUT_OF_SCOPE
from tandem.brains.state import State
from tandem.brains.values import Embed, Procedure, Situation, Turn
from tandem.errors import InvalidPack
from tandem.packs.load import load_pack
from tandem.packs.model import Pack
from tandem.text import is_cjk

FEW = 50
"""Recorded moments below which no next step is to be learnt."""

FEW_MESSAGES, FEW_OF_INTENT = 200, 8
"""Messages below which intents are found by their nearest examples."""


def train_pack(folder: Path, embed: Embed, today: date, say: Say) -> dict[str, Any]:
    """Train from the pack's examples and recorded dialogues; returns what is written of the models. Raises InvalidPack."""
    pack = load_pack(folder)
    recorded = list(read_dialogues(folder))
    made: dict[str, Any] = {}
    messages = _messages(pack, recorded, embed)
    if messages is not None:
        say(f"intents, from {len(messages.texts)} messages")
        model = train_intents(messages, today, say)
        intents.save(folder / artefact.FOLDER, model)
        made["intents"] = dict(model.facts)
    procedures = procedures_of(pack)
    if len(recorded) >= FEW and procedures:
        trained = train([*recorded, *_openings(pack, procedures, recorded)], procedures, embed, today, say)
        artefact.save(folder / artefact.FOLDER, trained.brains, trained.steps)
        made |= trained.brains.facts
    if not made:
        raise InvalidPack(
            pack.name,
            [
                f"dialogues/*.jsonl has {len(recorded)} recorded steps of {len(procedures)} procedures; {FEW} are needed "
                f"(or {FEW_MESSAGES} messages, {FEW_OF_INTENT} for each intent, to learn intents)"
            ],
        )
    return made


def _messages(pack: Pack, recorded: Sequence[Moment], embed: Embed) -> Messages | None:
    """What customers say for each intent: its examples, and what recorded dialogues open with. None if there are too few."""
    said = [
        (text, intent.name)
        for intent in pack.intents.values()
        for texts in intent.examples.values()
        for text in texts
        if not is_cjk(text)
    ]
    first = {moment.dialogue: moment for moment in reversed(recorded)}
    said += [
        (" ".join(State(moment.situation).said), moment.task)
        for _, moment in sorted(first.items())
        if moment.task in pack.intents and State(moment.situation).said
    ]
    counts = Counter(name for _, name in said)
    if len(said) < FEW_MESSAGES or len(counts) < 2 or any(counts[name] < FEW_OF_INTENT for name in pack.intents):
        return None
    said += [(text, VAGUE_INTENT) for text in VAGUE["en"]]
    rejected = [State(moment.situation).latest for moment in recorded if moment.step == OUT_OF_SCOPE]
    outside = [*OFF_TOPIC["en"], *(text for text in dict.fromkeys(rejected) if text)]
    texts, labels = [text for text, _ in said], [name for _, name in said]
    return Messages(texts, labels, embed(texts), outside, embed(outside))


def _openings(pack: Pack, procedures: Sequence[Procedure], recorded: Sequence[Moment]) -> list[Moment]:
    """The intents' examples: a customer who says this is answered with the procedure's first step."""
    number = max(moment.dialogue for moment in recorded)
    found: list[Moment] = []
    for procedure in procedures:
        first = procedure.steps[0]
        for texts in pack.intents[procedure.name].examples.values():
            for text in texts:
                number += 1
                turns = (Turn("customer", text),)
                found.append(Moment(Situation(turns), number, procedure.name, first.kind, first.name, {}, first.text))
    return found
