"""What a model may add to a route, and that a message never suffers from asking one."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.classifier import RETRY_S
from services.router.second_opinion import CLASSIFY, Classified, SecondOpinion, settled, unsure
from tandem.contracts.inbox import RoutedMessage
from tandem.contracts.ticket import Candidate, Cost, Route
from tandem.errors import Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse
from tests.unit.router.desk import NoLlm, SetClock, pack, said

PACK = pack()
DOUBT = Route(
    intent="delivery",
    confidence=0.4,
    candidates=(Candidate(intent="delivery", confidence=0.4), Candidate(intent="refund", confidence=0.38)),
    out_of_scope=0.1,
    rung="small",
)
LEANING = Route(
    candidates=(Candidate(intent="refund", confidence=0.2),), confidence=0.2, out_of_scope=0.5, rung="small"
)
TEXT = "the money for it should come to me again"


class Model(NoLlm):
    """Says what it is told; None: it is away."""

    def __init__(self, *texts: str | None) -> None:
        super().__init__()
        self.texts = list(texts)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        text = self.texts.pop(0)
        if text is None:
            raise Unavailable("no model")
        return ChatResponse(text=text, model="m", cost=Cost(calls=1, tokens=9))


def says(intent: str, confidence: float = 0.8) -> str:
    return json.dumps({"intent": intent, "confidence": confidence})


def routed(route: Route, text: str = TEXT) -> RoutedMessage:
    message = said(text)
    return RoutedMessage(
        id="r1",
        tenant=message.tenant,
        conversation=message.conversation,
        message=message,
        route=route,
        pack=PACK.name,
        pack_hash=PACK.hash,
    )


async def opinion(model: Model, route: Route = DOUBT, text: str = TEXT) -> Route:
    return (await SecondOpinion(lambda: model, SetClock(), seconds=1.0).on(routed(route, text), PACK)).route


@pytest.mark.asyncio
async def test_an_unsure_route_is_settled_by_the_packs_taxonomy() -> None:
    model = Model(says("refund"))
    found = await opinion(model)
    assert (found.intent, found.rung, found.prompt) == ("refund", "large", CLASSIFY.ref)
    assert found.scenario == PACK.intents["refund"].scenario
    assert PACK.thresholds.intent <= found.confidence < PACK.thresholds.switch
    assert found.confidence - found.candidates[1].confidence >= PACK.thresholds.margin
    (asked,) = model.asked
    assert asked.schema is not None
    assert asked.schema["properties"]["intent"]["enum"] == [*PACK.intents, "none"]
    assert "- refund: money back" in asked.system
    assert asked.messages == (("user", f"<message>\n{TEXT}\n</message>"),)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("texts", "calls"),
    [
        ((None,), 1),
        (("certainly, it is a refund", says("drop_tables")), 2),
        ((says("refund", 2.0), None), 2),
        ((says("refund", 0.3),), 1),  # not sure either
        ((says("none", 0.9),), 1),  # the small model saw something in it
    ],
)
async def test_otherwise_the_route_stays_as_it_was(texts: tuple[str | None, ...], calls: int) -> None:
    model = Model(*texts)
    answered = CLASSIFY.ref if texts[0] else ""  # what was asked is known, whatever came of it
    assert await opinion(model) == DOUBT.changed(prompt=answered)
    assert len(model.asked) == calls


@pytest.mark.asyncio
async def test_a_repaired_answer_counts() -> None:
    assert (await opinion(Model(says("money"), says("refund")))).intent == "refund"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("texts", "calls"), [((says("refund"),), 1), ((says("money"), says("refund")), 2), (("no", "no"), 2), ((None,), 0)]
)
async def test_what_asking_cost_goes_with_the_message(texts: tuple[str | None, ...], calls: int) -> None:
    model = Model(*texts)
    found = await SecondOpinion(lambda: model, SetClock(), seconds=1.0).on(routed(DOUBT), PACK)
    assert found.cost == Cost(calls=calls, tokens=9 * calls)
    assert {asked.limit for asked in model.asked} == {PACK.reserve_model}


@pytest.mark.asyncio
async def test_what_looked_out_of_scope_may_be_confirmed() -> None:
    found = await opinion(Model(says("none", 1.0)), LEANING)
    assert (found.intent, found.out_of_scope, found.rung) == (None, 0.9, "large")


SURE = Route(intent="refund", confidence=0.9, candidates=(Candidate(intent="refund", confidence=0.9),), rung="small")
ASKED_FOR: list[tuple[str, Route, str, bool]] = [
    ("in doubt", DOUBT, TEXT, True),
    ("nothing near", Route(rung="small"), TEXT, True),
    ("sure", SURE, TEXT, False),
    ("two patterns", DOUBT.changed(rung="rule", confidence=0.6), TEXT, True),
    ("values alone", Route(rung="rule"), "O-1234", False),
    ("out of scope", LEANING.changed(out_of_scope=0.9), TEXT, False),
    ("wants a person", DOUBT.changed(wants_human=0.9), TEXT, False),
    ("says nothing", DOUBT, "hello, I need some help please", False),
]


@pytest.mark.parametrize(("route", "text", "asks"), [row[1:] for row in ASKED_FOR], ids=[row[0] for row in ASKED_FOR])
def test_a_model_is_asked_only_in_doubt(route: Route, text: str, asks: bool) -> None:
    if route.confidence == 0.6:
        route = route.changed(candidates=(route.candidates[0], route.candidates[1].changed(confidence=0.58)))
    assert unsure(route, text, PACK) is asks


@pytest.mark.asyncio
async def test_a_model_that_is_away_is_left_alone_for_a_while() -> None:
    clock, model = SetClock(), Model(None, says("refund"))
    asking = SecondOpinion(lambda: model, clock, seconds=1.0)
    assert await asking.on(routed(DOUBT), PACK) == routed(DOUBT)
    assert await asking.on(routed(DOUBT), PACK) == routed(DOUBT)
    assert len(model.asked) == 1
    clock.boot_s += RETRY_S + 1
    assert (await asking.on(routed(DOUBT), PACK)).route.intent == "refund"


@pytest.mark.asyncio
async def test_never_asks_when_told_so() -> None:
    model = Model()
    assert await SecondOpinion(lambda: model, SetClock(), seconds=0.0).on(routed(DOUBT), PACK) == routed(DOUBT)


@given(
    st.sampled_from([*PACK.intents, "none"]), st.floats(0, 1), st.sampled_from([DOUBT, LEANING, Route(rung="small")])
)
def test_whatever_a_model_says_no_matter_under_way_is_dropped(intent: str, confidence: float, route: Route) -> None:
    found = settled(route, Classified(intent=intent, confidence=confidence), "p", PACK)
    assert found.intent is None or found.confidence < PACK.thresholds.switch
    assert sum(candidate.confidence for candidate in found.candidates) <= 1.0001
    assert found.wants_human == route.wants_human


@pytest.mark.asyncio
async def test_a_model_that_keeps_no_deadline_does_not_hold_a_message() -> None:
    class Hanging(Model):
        async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
            await asyncio.Event().wait()
            raise AssertionError

    assert await SecondOpinion(Hanging, SetClock(), seconds=0.01).on(routed(DOUBT), PACK) == routed(DOUBT)
