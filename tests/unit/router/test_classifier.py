from __future__ import annotations

import asyncio

import pytest

from services.router.classifier import BY_EXAMPLE, RETRY_S, Classifier
from services.router.extraction import Extractor
from services.router.reading import Reader, Readers
from services.router.signals import complexity_of, sentiment_of, urgency_of
from tandem.packs.load import load_pack
from tandem.packs.scaffold import new_pack
from tests.unit.router.desk import SENT_AT, NoLlm, SetClock, WordLlm, pack

READER = Reader(pack(), WordLlm, SetClock())


def reader(llm, clock=None, **changes):
    return Reader(pack(**changes), lambda: llm, clock or SetClock())


async def route(text, found=READER):
    return (await found.read(text, SENT_AT)).route


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "intent", "rung"),
    [
        ("I want my money back", "refund", "rule"),
        ("please refund the order", "refund", "small"),
        ("hello, please refund the order", "refund", "small"),
        ("has my parcel arrived", "delivery", "small"),
        ("请给我退款", "refund", "small"),
        ("包裹到哪里了", "delivery", "small"),
    ],
)
async def test_intents(text, intent, rung):
    found = await route(text)
    assert (found.intent, found.rung) == (intent, rung)
    assert found.confidence >= pack().thresholds.intent
    assert found.candidates[0].intent == intent
    assert found.scenario == pack().intents[intent].scenario


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Refund my order, please!", "refund"),
        ("hello, where is my parcel?", "delivery"),
        ("我要退款。", "refund"),
        ("a refund for O-9999", "refund"),
        ("money back", "opening_hours"),
        ("O-9999", None),
    ],
    ids=["in other letters", "after a greeting", "Chinese", "another id", "not by a pattern", "an id alone is none"],
)
async def test_an_example_word_for_word_is_its_intent_for_certain(text, intent):
    also = {"refund": "a refund for O-1234", "opening_hours": "money back", "delivery": "order number"}
    intents = {
        name: one.model_copy(update={"examples": {**one.examples, "more": [also[name]] if name in also else []}})
        for name, one in pack().intents.items()
    }
    llm = WordLlm()
    found = await route(text, reader(llm, intents=intents))
    assert (found.intent, found.confidence, found.rung) == (intent, BY_EXAMPLE if intent else 0.0, "rule")
    assert llm.batches == []


@pytest.mark.asyncio
async def test_what_is_an_example_of_two_intents_decides_nothing():
    both = {
        name: one.model_copy(update={"examples": {"en": [*one.examples["en"], "about my order"]}})
        for name, one in pack().intents.items()
    }
    assert (await route("about my order", reader(WordLlm(), intents=both))).rung == "small"


@pytest.mark.asyncio
async def test_a_new_pack_knows_its_own_examples(tmp_path):
    found = load_pack(new_pack(tmp_path, "corner_shop"))
    own = {text: (one.name, BY_EXAMPLE) for one in found.intents.values() for text in one.examples["en"]}
    routes = {text: await route(text, Reader(found, WordLlm, SetClock())) for text in own}
    assert {text: (one.intent, one.confidence) for text, one in routes.items()} == own


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["hello", "I need some help please", "it does not work", "你好", "帮帮我", "有问题"])
async def test_a_vague_message_is_never_sure(text):
    found = await route(text)
    assert found.confidence <= 0.3
    assert found.out_of_scope <= 0.3


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["write a poem about autumn trees", "tell me a joke", "给我讲个笑话吧"])
async def test_another_matter_is_out_of_scope(text):
    found = await route(text)
    assert found.intent is None
    assert found.out_of_scope >= pack().thresholds.out_of_scope


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["yes please", "O-1234", "ann@example.com 246810", "不用了", "443"])
async def test_values_alone_have_no_intent(text):
    llm = WordLlm()
    found = await route(text, reader(llm))
    assert (found.intent, found.rung, found.candidates) == (None, "rule", ())
    assert llm.batches == []


@pytest.mark.asyncio
async def test_two_patterns_that_match_are_unsure():
    intents = {
        name: pack().intents["refund"].model_copy(update={"name": name, "patterns": [pattern]})
        for name, pattern in (("refund", "money back"), ("exchange", "swap"))
    }
    found = await route("swap it or money back", reader(WordLlm(), intents=intents))
    assert found.confidence < pack().thresholds.intent
    assert {candidate.intent for candidate in found.candidates} == {"refund", "exchange"}


@pytest.mark.asyncio
async def test_examples_are_embedded_once_and_each_message_by_itself():
    llm = WordLlm()
    found = reader(llm)
    await asyncio.gather(*(found.read(f"refund the order {n} now", SENT_AT) for n in range(5)))
    assert sorted(llm.batches)[:-1] == [1] * 5
    assert max(llm.batches) > 20


@pytest.mark.asyncio
async def test_a_rule_pack_never_asks_the_encoder():
    llm = WordLlm()
    found = reader(llm, classifier="rule")
    await found.warm()
    assert (await route("money back!", found)).rung == "rule"
    assert (await route("please refund the order", found)).intent == "refund"
    assert llm.batches == []


@pytest.mark.asyncio
async def test_without_an_encoder_words_decide_and_it_is_asked_again_later():
    llm, clock = NoLlm(), SetClock()
    found = reader(llm, clock)
    assert (await route("please refund the order", found)).intent == "refund"
    assert (await route("track my parcel", found)).intent == "delivery"
    assert len(llm.batches) == 1
    clock.boot_s += RETRY_S + 1
    await route("track my parcel", found)
    assert len(llm.batches) == 2


@pytest.mark.asyncio
async def test_a_slow_encoder_does_not_hold_a_message(monkeypatch):
    monkeypatch.setattr("services.router.classifier.PATIENCE_S", 0.01)
    llm = WordLlm()
    llm.wait = asyncio.Event()
    found = reader(llm)
    assert (await route("please refund the order", found)).intent == "refund"
    llm.wait.set()
    await found.warm()
    assert (await route("please refund the order", found)).intent == "refund"
    assert len(llm.batches) == 2


@pytest.mark.asyncio
async def test_a_pack_without_examples_classifies_nothing():
    found = await route("please refund the order", reader(NoLlm(), intents={}))
    assert (found.intent, found.candidates) == (None, ())


def test_a_version_of_a_pack_is_compiled_once():
    readers = Readers(WordLlm, SetClock())
    assert readers.of(pack()) is readers.of(pack())
    assert readers.of(pack(hash="h2")) is not readers.of(pack())


@pytest.mark.asyncio
async def test_an_intents_label_is_an_example():
    intents = {"refund": pack().intents["refund"].model_copy(update={"examples": {}})}
    extractor = Extractor(pack())
    classifier = Classifier(pack(intents=intents), WordLlm, SetClock(), extractor.gist)
    found = await classifier.classify(extractor.extract("订单退款", SENT_AT))
    assert found.intent == "refund"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "wants"),
    [
        ("I want to talk to a human", True),
        ("give me a real person", True),
        ("agent please", True),
        ("我要转人工", True),
        ("let me see your boss", True),
        ("I don't need a human", False),
        ("不要转人工", False),
        ("where is my parcel", False),
    ],
)
async def test_a_wish_for_a_person(text, wants):
    assert ((await route(text)).wants_human >= pack().thresholds.human) is wants


@pytest.mark.parametrize(
    ("tell", "text", "expected"),
    [
        (urgency_of, "this is urgent", "high"),
        (urgency_of, "马上处理", "high"),
        (urgency_of, "no rush at all", "low"),
        (urgency_of, "where is it", "normal"),
        (sentiment_of, "this is ridiculous", "negative"),
        (sentiment_of, "WHERE IS MY PARCEL", "negative"),
        (sentiment_of, "thank you", "positive"),
        (sentiment_of, "where is it", "neutral"),
        (complexity_of, "where is it? and what does it cost?", "complex"),
        (complexity_of, "where is it?", "simple"),
        (complexity_of, "I would like to have a refund for my order and also track the other parcel", "complex"),
    ],
)
def test_signals(tell, text, expected):
    assert tell(text) == expected
