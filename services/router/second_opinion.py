"""The large rung: of what rules and the small model are unsure, a model is asked, for a short while, with the pack's taxonomy.

Its word may begin a matter, never end one that is under way: its confidence stays below the pack's threshold for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import Field

from services.router.classifier import RETRY_S, is_head, says_nothing
from tandem.asking import Account, Output, Question, Unfit, ask, typed
from tandem.clock import Clock
from tandem.contracts.inbox import RoutedMessage
from tandem.contracts.ticket import Candidate, Route
from tandem.contracts.values import derive_id
from tandem.packs.model import Pack
from tandem.prompts import Data, Inputs, load
from tandem.rpc.ports import Llm

NONE = "none"
MAX_TEXT = 2_000
"""Characters of a message that a model is shown."""

BELOW_SWITCH = 0.01
SURE_OF_NONE = 0.9


class ClassifyInputs(Inputs):
    """`taxonomy` is the pack's: each intent with what it means."""

    taxonomy: str
    message: Data


class Classified(Output):
    intent: str
    confidence: float = Field(ge=0, le=1)


CLASSIFY = load(Path(__file__).parent, "classify", ClassifyInputs)


class SecondOpinion:
    """Asks a model; while none serves, what was routed stays as it is, and nobody waits for it."""

    def __init__(self, llm: Callable[[], Llm], clock: Clock, seconds: float) -> None:
        """`seconds` at most for one message; 0: never."""
        self._llm = llm
        self._clock = clock
        self._seconds = seconds
        self._after = 0.0

    async def on(self, routed: RoutedMessage, pack: Pack) -> RoutedMessage:
        """The message with its route better known where that was unsure, and what asking has cost."""
        route, text = routed.route, routed.message.text()[:MAX_TEXT]
        if self._seconds <= 0 or self._clock.boot() < self._after or not unsure(route, text, pack):
            return routed
        grant = derive_id("grant", "route", routed.id)
        account = Account(tenant=routed.tenant, seconds=self._seconds, grant=grant, limit=pack.reserve_model)
        said = await ask(self._llm(), question(text, pack), account)
        if said.value is None:
            self._after = self._clock.boot() + RETRY_S if not said.prompt else self._after
            return routed.changed(route=routed.route.changed(prompt=said.prompt), cost=said.cost)
        return routed.changed(route=settled(route, said.value, said.prompt, pack), cost=said.cost)


def unsure(route: Route, text: str, pack: Pack) -> bool:
    """Whether there is something to ask: words of the customer's own, and no decision about them yet."""
    limits = pack.thresholds
    others = [candidate.confidence for candidate in route.candidates if candidate.intent != route.intent]
    decided = (
        (route.intent is not None and route.confidence >= max(limits.intent, max(others, default=0.0) + limits.margin))
        or route.out_of_scope >= limits.out_of_scope
        or route.wants_human >= limits.human
    )
    values_alone = route.rung == "rule" and not route.candidates
    return bool(pack.intents) and not decided and not values_alone and not says_nothing(text)


def question(text: str, pack: Pack) -> Question[ClassifyInputs, Classified]:
    """Ask which of the pack's intents a message has."""
    names = [*pack.intents, NONE]
    shape = Classified.shape()
    shape["properties"]["intent"] = {"enum": names}
    taxonomy = "\n".join(f"- {intent.name}: {intent.description}" for intent in pack.intents.values())
    inputs = ClassifyInputs(taxonomy=taxonomy, message=text)
    return Question(CLASSIFY, inputs, shape, partial(read, names=names))


def read(text: str, names: Sequence[str]) -> Classified:
    """Raises Unfit for an intent that the pack does not have."""
    said = typed(Classified)(text)
    if said.intent not in names:
        raise Unfit(f"intent: one of {', '.join(names)}")
    return said


def settled(route: Route, said: Classified, prompt: str, pack: Pack) -> Route:
    """The route with the model's word; one that is not sure changes nothing, "none" only what already looked out of scope. The
    prompt is named either way."""
    route = route.changed(prompt=prompt)
    if said.intent == NONE:
        if route.out_of_scope <= route.confidence:
            return route
        outside = max(route.out_of_scope, min(SURE_OF_NONE, said.confidence))
        return route.changed(intent=None, out_of_scope=outside, rung="large")
    confidence = round(min(said.confidence, pack.thresholds.switch - BELOW_SWITCH), 4)
    if confidence < pack.thresholds.intent:
        return route
    intent = pack.intents[said.intent]
    others = [one for one in route.candidates if one.intent != intent.name]
    share = (1 - confidence) * pack.thresholds.intent
    left = tuple(one.changed(confidence=round(one.confidence * share, 4)) for one in others)
    return route.changed(
        intent=intent.name,
        confidence=confidence,
        candidates=(Candidate(intent=intent.name, confidence=confidence), *left)[: len(route.candidates) or 1],
        scenario=intent.scenario,
        out_of_scope=0.0,
        frequency="head" if is_head(intent) else "tail",
        rung="large",
    )
