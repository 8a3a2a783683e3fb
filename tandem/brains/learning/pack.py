"""`tandem pack train`: a pack's models, into the pack."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tandem.brains import artefact
from tandem.brains.catalogue import procedures_of, read_dialogues
from tandem.brains.learning.moments import Moment
from tandem.brains.learning.train import Say, train
from tandem.brains.values import Embed, Procedure, Situation, Turn
from tandem.errors import InvalidPack
from tandem.packs.load import load_pack
from tandem.packs.model import Pack

FEW = 50
"""Recorded moments below which nothing is to be learnt."""


def train_pack(folder: Path, embed: Embed, today: date, say: Say) -> dict[str, Any]:
    """Train from the pack's examples and recorded dialogues; returns what is written of the models. Raises InvalidPack."""
    pack = load_pack(folder)
    procedures = procedures_of(pack)
    recorded = list(read_dialogues(folder))
    if len(recorded) < FEW or not procedures:
        raise InvalidPack(
            pack.name,
            [f"dialogues/*.jsonl has {len(recorded)} recorded steps of {len(procedures)} procedures; {FEW} are needed"],
        )
    trained = train([*recorded, *_openings(pack, procedures, recorded)], procedures, embed, today, say)
    artefact.save(folder / artefact.FOLDER, trained.brains, trained.steps)
    return dict(trained.brains.facts)


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
