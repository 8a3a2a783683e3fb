"""The small rung of planning: a pack's trained policy proposes the one next step, where no model answers and it is sure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from tandem.brains.artefact import FOLDER, WORDS, load
from tandem.brains.brains import Brains
from tandem.brains.catalogue import procedures_of
from tandem.brains.rejection import OUT_OF_SCOPE
from tandem.brains.values import Decision, Embed, Situation, Turn, Vectors
from tandem.contracts.tasks import MakePlan, PlanProposal, ProposedStep, Reason
from tandem.errors import InvalidPack, Unavailable
from tandem.packs.model import Pack
from tandem.rpc.ports import Llm

log = logging.getLogger(__name__)

EMBED_SECONDS = 5.0
LOADED = 16
"""Versions of packs whose models are kept."""

_known: WeakKeyDictionary[Llm, dict[str, Brains | None]] = WeakKeyDictionary()
"""By the encoder that they embed with, and the pack's hash."""


async def propose(task: MakePlan | Reason, pack: Pack, llm: Llm) -> PlanProposal | None:
    """The next step by the pack's trained policy. None: it has none, no encoder serves, or it is not sure."""
    if not (Path(pack.root) / FOLDER / WORDS).is_file():
        return None
    loop = asyncio.get_running_loop()

    def embed(texts: Sequence[str]) -> Vectors:
        return asyncio.run_coroutine_threadsafe(llm.embed(texts, EMBED_SECONDS), loop).result()

    def decide() -> Decision | None:
        brains = _brains(pack, llm, embed)
        return brains.decide(situation(task)) if brains else None

    try:
        decision = await asyncio.to_thread(decide)
    except Unavailable:
        log.info("no embeddings, no step is proposed", extra={"ticket": task.ticket})
        return None
    return as_proposal(decision, pack) if decision else None


def situation(task: MakePlan | Reason) -> Situation:
    """The conversation, then what the plan's steps brought."""
    turns = [Turn("customer" if line.who == "customer" else "agent", line.text) for line in task.recent]
    turns = turns or [Turn("customer", task.goal)]
    for seen in task.observations if isinstance(task, Reason) else ():
        turns += [Turn("call", api=seen.name), Turn("return", item=dict(seen.output))]
    return Situation(tuple(turns))


def as_proposal(decision: Decision, pack: Pack) -> PlanProposal | None:
    """A look-up or a question that the policy is sure of. What changes something, or ends a matter, is not for it to propose."""
    if decision.confidence < pack.thresholds.intent or decision.step == OUT_OF_SCOPE:
        return None
    tool = pack.tools.get(decision.api)
    if decision.action == "call" and tool is not None and not tool.writes:
        step = ProposedStep(kind="tool", name=tool.name)
    elif decision.action == "ask" and decision.text:
        step = ProposedStep(kind="ask", text=decision.text)
    else:
        return None
    reason = f"{decision.step}, as in {decision.task}"
    return PlanProposal(steps=(step,), reason=reason, confidence=round(decision.confidence, 3))


def _brains(pack: Pack, llm: Llm, embed: Embed) -> Brains | None:
    loaded = _known.setdefault(llm, {})
    if pack.hash not in loaded:
        while len(loaded) >= LOADED:
            loaded.pop(next(iter(loaded)))
        try:
            loaded[pack.hash] = load(Path(pack.root) / FOLDER, procedures_of(pack), embed)
        except InvalidPack:
            log.exception("models cannot be read, no step is proposed", extra={"pack.hash": pack.hash})
            loaded[pack.hash] = None
    return loaded[pack.hash]
