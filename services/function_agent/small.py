"""The small rung: a pack's trained extractor reads missing values out of the conversation. Without models it adds nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from services.function_agent.assembly import Arguments, missing, proposal, slot_of, words_of
from services.function_agent.coercion import coerce
from tandem.brains.artefact import FOLDER, WORDS, load_extractor
from tandem.brains.candidates import Candidate, Reader
from tandem.brains.catalogue import known_api
from tandem.brains.extraction import Extractor
from tandem.brains.normal import normal
from tandem.brains.policy import chance
from tandem.brains.values import Parameter, Situation, Turn
from tandem.contracts.tasks import AssembleCall, CallProposal, MadeCall
from tandem.contracts.values import Millis
from tandem.errors import InvalidPack
from tandem.packs.model import Pack, Slot, Tool
from tandem.text import refused

log = logging.getLogger(__name__)

FROM_WORDS = frozenset(("mention", "number", "answer", "clause", "span", "known", "day", "text", "later"))
"""Sources of a value that the customer wrote; what is only likely is not taken."""

LOADED = 16
"""Versions of packs whose models are kept."""


def judge(task: AssembleCall, pack: Pack, call: CallProposal) -> CallProposal:
    """The call with every value that the extractor is sure of, in place of what was known. Sensitive values it does not see.
    Blocking, some milliseconds."""
    extractor = extractor_of(pack)
    if extractor is None or call.tool is None:
        return call
    tool = pack.tools[call.tool]
    api = known_api(pack, tool)
    reader = Reader(situation(task, pack), api, extractor.learnt.known)
    seen = [one for one in api.parameters if not _is_secret(slot_of(one.name, pack, tool))]
    found = Arguments(dict(call.arguments), dict(call.origins))
    for parameter, value, score in _apart(extractor, reader, seen, Grounds(pack, tool)):
        wanted = parameter.required or extractor.wants(reader, parameter, (value, score))
        shaped = coerce(
            value, dict(tool.properties.get(parameter.name, {})), words_of(slot_of(parameter.name, pack, tool))
        )
        enough = pack.thresholds.interpret if task.sure is None else task.sure
        if parameter.name in call.arguments and parameter.type in ("boolean", "text"):
            enough = (1 + enough) / 2  # a known yes, no or name is given up only for a surer one
        if wanted and shaped is not None and chance(score) >= enough:
            found.put(parameter.name, shaped, "customer", round(chance(score), 3))
    return proposal(tool, found)


def _apart(
    extractor: Extractor, reader: Reader, parameters: Sequence[Parameter], grounds: Grounds
) -> Iterator[tuple[Parameter, str, float]]:
    """Each parameter's best value, the surest first: what stands at one place in the conversation is the value of one of them."""
    scored = extractor.scored(reader, parameters, grounds.has)
    named = {parameter.name: parameter for parameter in parameters}
    taken: set[tuple[str, str, int]] = set()
    for name, candidates in sorted(scored.items(), key=lambda one: -one[1][0][1]):
        kind = named[name].type
        for candidate, score in candidates:
            place = (kind, normal(candidate.value), candidate.back)
            if candidate.source not in FROM_WORDS or place not in taken:
                taken.add(place)
                yield named[name], candidate.value, score
                break


class Grounds:
    """Which candidates have something to stand on."""

    def __init__(self, pack: Pack, tool: Tool) -> None:
        self._slots = {name: tool.slots.get(name, name) for name in tool.properties}
        flows = [flow for flow in pack.flows.values() if any(node.tool == tool.name for node in flow.nodes.values())]
        own = frozenset(self._slots.values())
        self._asked = {
            node.id: own & set(node.slots) for flow in flows for node in flow.nodes.values() if own & set(node.slots)
        }

    def has(self, parameter: Parameter, candidate: Candidate) -> bool:
        """A yes or a no must have been said to its own question or an open one, or with a word of what it is about; the whole of
        an answer to another question is no name; what was refused is no value."""
        asked = self._asked.get(candidate.step)
        others = asked is not None and self._slots.get(parameter.name) not in asked
        match candidate.source:
            case "mention" | "known":
                return not refused(candidate.sentence, candidate.sentence.lower().find(normal(candidate.value)))
            case "yes_no":
                return candidate.order > 0 or (candidate.exact and not others)
            case "answer" | "clause":
                return not others
        return True


def _is_secret(slot: Slot | None) -> bool:
    return slot is not None and slot.sensitive


def complete(task: AssembleCall, pack: Pack, call: CallProposal) -> CallProposal:
    """The call with what the extractor is sure of and the customer wrote. Blocking, some milliseconds."""
    extractor = extractor_of(pack)
    if extractor is None or call.tool is None:
        return call
    tool = pack.tools[call.tool]
    api = known_api(pack, tool)
    reader = Reader(situation(task, pack), api, extractor.learnt.known)
    wanted = {name for group in call.missing for name in group}
    best = extractor.best(reader, [parameter for parameter in api.parameters if parameter.name in wanted], FROM_WORDS)
    found = Arguments(dict(call.arguments), dict(call.origins))
    for name, (value, score) in sorted(best.items()):
        shaped = coerce(value, dict(tool.properties.get(name, {})), words_of(slot_of(name, pack, tool)))
        if shaped is not None and chance(score) >= pack.thresholds.interpret:
            found.put(name, shaped, "customer", round(chance(score), 3))
    return proposal(tool, found) if missing(tool, found.values) != call.missing else call


def situation(task: AssembleCall, pack: Pack) -> Situation:
    """The conversation so far with the calls made in it, as the models want it."""
    turns: list[Turn] = []
    made = list(task.calls)
    for line in task.recent:
        while made and (made[0].at < line.at or (made[0].at == line.at and line.who != "customer")):
            turns += _called(made.pop(0), pack)
        turns.append(Turn("customer", line.text) if line.who == "customer" else Turn("agent", line.text, line.step))
    turns += [turn for call in made for turn in _called(call, pack)]
    return Situation(tuple(turns) or (Turn("customer", task.goal),), today(task.sent_at) if task.sent_at else "")


def _called(made: MadeCall, pack: Pack) -> tuple[Turn, Turn]:
    tool = pack.tools.get(made.tool)
    name = (tool.recorded_as if tool else None) or made.tool
    params = {key: str(value) for key, value in made.arguments.items()}
    return Turn("call", api=name, params=params), Turn("return", item=made.output)


def today(at: Millis) -> str:
    """ "Saturday the 6th", in UTC."""
    moment = datetime.fromtimestamp(at / 1_000, UTC)
    ending = "th" if 11 <= moment.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(moment.day % 10, "th")
    return f"{moment:%A} the {moment.day}{ending}"


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
