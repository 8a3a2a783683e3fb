"""A pack's trained intent model in the place of its nearest examples, where `tandem pack train` has made one."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from services.router.views import VAGUE, Matrix, Verdict
from tandem.brains import intents
from tandem.brains.artefact import FOLDER
from tandem.brains.intents import Guess, IntentModel
from tandem.errors import InvalidPack
from tandem.packs.model import Pack

logger = logging.getLogger(__name__)

LOADED = 64
"""Versions of packs whose models are kept."""


def intents_of(pack: Pack) -> IntentModel | None:
    """The model of this version of the pack, None if it has none that can be read."""
    return _loaded(pack.root, pack.hash)


@lru_cache(maxsize=LOADED)
def _loaded(root: str, version: str) -> IntentModel | None:
    folder = Path(root) / FOLDER
    if not (folder / intents.WORDS).is_file():
        return None
    try:
        return intents.load(folder)
    except InvalidPack:
        logger.exception("intents cannot be read, examples serve", extra={"pack.hash": version})
        return None


def verdict(model: IntentModel, text: str, vector: Matrix) -> Verdict:
    """What the model says of a message."""
    return as_verdict(model.guess(text, vector))


def as_verdict(guess: Guess) -> Verdict:
    """The first intent with the chance that it is right; the others share what that and being out of scope leave. A vague message
    means none."""
    outside = guess.outside if guess.rejected else guess.outside * (1 - guess.confidence)
    first = min(guess.confidence, 1 - outside)
    (best, share), *others = guess.intents
    rest = (1 - first - outside) / max(1 - share, 1e-9)
    candidates = ((best, first), *((name, min(first, rest * part)) for name, part in others))
    return Verdict(tuple(one for one in candidates if one[0] != VAGUE), outside, nearest=1.0)
