"""The small rung: a pack's trained extractor reads missing values out of the conversation. Without models it adds nothing."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from services.function_agent.assembly import Arguments, missing, proposal, slot_of, words_of
from services.function_agent.coercion import coerce
from tandem.brains.artefact import FOLDER, WORDS, load_extractor
from tandem.brains.candidates import Reader
from tandem.brains.catalogue import api_of
from tandem.brains.extraction import Extractor
from tandem.brains.policy import chance
from tandem.brains.values import Situation, Turn
from tandem.contracts.tasks import AssembleCall, CallProposal
from tandem.errors import InvalidPack
from tandem.packs.model import Pack

log = logging.getLogger(__name__)

FROM_WORDS = frozenset(("mention", "number", "answer", "clause", "span", "known", "day", "text"))
"""Sources of a value that the customer wrote; what is only likely is not taken."""

LOADED = 16
"""Versions of packs whose models are kept."""


def complete(task: AssembleCall, pack: Pack, call: CallProposal) -> CallProposal:
    """The call with what the extractor is sure of and the customer wrote. Blocking, some milliseconds."""
    extractor = extractor_of(pack)
    if extractor is None or call.tool is None:
        return call
    tool = pack.tools[call.tool]
    api = api_of(pack, tool)
    reader = Reader(situation(task), api, extractor.learnt.known)
    wanted = {name for group in call.missing for name in group}
    best = extractor.best(reader, [parameter for parameter in api.parameters if parameter.name in wanted], FROM_WORDS)
    found = Arguments(dict(call.arguments), dict(call.origins))
    for name, (value, score) in sorted(best.items()):
        shaped = coerce(value, dict(tool.properties.get(name, {})), words_of(slot_of(name, pack, tool)))
        if shaped is not None and chance(score) >= pack.thresholds.interpret:
            found.put(name, shaped, "customer", round(chance(score), 3))
    return proposal(tool, found) if missing(tool, found.values) != call.missing else call


def situation(task: AssembleCall) -> Situation:
    """The conversation so far, as the models want it."""
    turns = [Turn("customer" if line.who == "customer" else "agent", line.text) for line in task.recent]
    return Situation(tuple(turns) or (Turn("customer", task.goal),))


def extractor_of(pack: Pack) -> Extractor | None:
    """The extractor of this version of the pack, None if it has none that can be read."""
    return _loaded(pack.root, pack.hash)


@lru_cache(maxsize=LOADED)
def _loaded(root: str, version: str) -> Extractor | None:
    folder = Path(root) / FOLDER
    if not (folder / WORDS).is_file():
        return None
    try:
        return load_extractor(folder)
    except InvalidPack:
        log.exception("models cannot be read, rules serve", extra={"pack.hash": version})
        return None
