"""An answer shown while a model writes it: only whole sentences that pass every check leave, and the final decides."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.rag_agent.composition import Grounded, Telling, read
from services.rag_agent.drafts import Drafts
from services.rag_agent.handlers import AnswerPolicy, answer_question
from services.rag_agent.ranking import Ranked
from tandem.agent import Result
from tandem.asking import Unfit
from tandem.bus.base import Outgoing
from tandem.bus.local import LocalBus
from tandem.clock import SystemClock
from tandem.contracts.customer import Reply
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.tasks import Answer, AnswerQuestion
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import CUSTOMER_REPLIES
from tandem.errors import BusUnavailable, Unavailable
from tandem.packs.model import Pack, Policies
from tandem.rpc.ports import ChatDelta, ChatRequest, ChatResponse
from tandem.vectors.base import Hit, Passage

TEXT = (
    "A refund reaches your card within five working days. Open **Orders** and choose `Refund`. See https://bank.example/x "
    "for a refund on a card."
)
PASSAGE = Passage(id="p1", doc="refunds", title="Refunds", text=TEXT)
RANKED = [Ranked(PASSAGE, support=0.9, window=TEXT)]
SECRET = "sk1234567890abcdefXYZ"
FIRST, SECOND, THIRD = (
    "A refund reaches your card within five working days.",
    "Open **Orders** and choose `Refund`.",
    "The refund goes to the card.",
)


def body(text: str, *, supported: bool = True, citations: Sequence[int] = (1,)) -> str:
    return json.dumps({"supported": supported, "citations": list(citations), "text": text})


def told(written: str, pieces: int = 1) -> list[str]:
    """What leaves while the answer comes in pieces of so many characters."""
    telling = Telling(
        "How long does a refund take?", RANKED, "Answer from the numbered passages alone, in one language."
    )
    return [telling.text for end in range(0, len(written) + 1, pieces) if telling.hear(written[:end])]


def test_sentence_by_sentence() -> None:
    assert [text.strip() for text in told(body(f"{FIRST} {SECOND} {THIRD}"))] == [FIRST, f"{FIRST} {SECOND}"]


def test_a_list_ends_with_an_item_and_not_with_a_number() -> None:
    written = f"1. {FIRST}\n2. {SECOND}\n3. {THIRD}"
    assert [text.strip() for text in told(body(written))] == [f"1. {FIRST}", f"1. {FIRST}\n2. {SECOND}"]
    assert read(body(written), "How long does a refund take?", RANKED).text == written


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Bananas are yellow fruit. {FIRST} {SECOND}", []),  # no passage says it
        (f"{FIRST} It takes 7 days for a refund. {SECOND}", [FIRST]),  # a number of its own
        (f"{FIRST} 99. {SECOND} {THIRD}", [FIRST]),  # and one that only looks like a list's
        (f"{FIRST} Your refund key is {SECRET}. {SECOND}", [FIRST]),
        (f"{FIRST} Answer from the numbered passages alone, in one language. {SECOND}", [FIRST]),
        (f"{FIRST} {SECOND}", [FIRST]),  # the last sentence may go on
    ],
)
def test_a_sentence_that_does_not_pass_stops_the_drafts(text: str, left: list[str]) -> None:
    assert [each.strip() for each in told(body(text))] == left


@pytest.mark.parametrize(
    "written",
    [
        body(f"{FIRST} {SECOND}", supported=False),
        body(f"{FIRST} {SECOND}", citations=()),
        body(f"{FIRST} {SECOND}", citations=(2,)),
        json.dumps(
            {"supported": True, "text": f"{FIRST} {SECOND} {THIRD}", "citations": [1]}
        ),  # cited too late to check
        json.dumps({"supported": True, "citations": "1", "text": f"{FIRST} {SECOND}"}).replace('"1"', '["x"]'),
        f"Certainly! {FIRST} {SECOND}",
        "[1, 2]",
        "",
    ],
)
def test_what_is_not_an_answer_leaves_nothing(written: str) -> None:
    assert told(written) == []


SENTENCES = [FIRST, SECOND, THIRD, "It is 99 euros.", f"Take {SECRET} to the card refund.", "Bananas are yellow fruit."]


@given(st.lists(st.sampled_from(SENTENCES), max_size=6), st.integers(1, 40))
def test_whatever_a_model_writes_drafts_grow_and_never_say_what_a_final_could_not(
    sentences: list[str], pieces: int
) -> None:
    text = " ".join(sentences)
    shown = told(body(text), pieces)
    for before, after in zip(["", *shown], shown, strict=False):
        assert (after.startswith(before), len(after) > len(before)) == (True, True)
        assert text.startswith(after)
        assert not any(bad in after for bad in SENTENCES[3:])
    if shown:
        assert read(body(shown[-1]), "How long does a refund take?", RANKED).text == shown[-1].strip()


@given(st.text(max_size=60), st.text(alphabet='refund card.5 ‹>\n{}[]\\"', max_size=80), st.integers(1, 9))
def test_no_text_is_too_strange(text: str, said: str, pieces: int) -> None:
    for written in (text, body(said), body(said)[: len(said)] + text):
        for shown in told(written, pieces):
            assert shown.strip() == "" or read(body(shown), "How long does a refund take?", RANKED).supported


def test_a_final_that_recites_its_instructions_or_a_key_is_unfit() -> None:
    said = "Answer from the numbered passages alone, in one language, for a refund to the card."
    for text in (said, f"The refund card is {SECRET}."):
        with pytest.raises(Unfit):
            read(body(text), "q", RANKED, said)


# On the bus --------------------------------------------------------------------------------------------------------


class Writes:
    """A model that writes its answer piece by piece; `breaks_off`: after so many pieces, and then says it whole."""

    def __init__(self, text: str, breaks_off: int | None = None) -> None:
        self.text = text
        self.breaks_off = breaks_off
        self.whole = 0

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        raise Unavailable("no encoder")

    async def rerank(self, query: str, texts: Sequence[str], deadline: float = 5.0) -> list[float]:
        raise Unavailable("no reranker")

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.whole += 1
        return ChatResponse(text=self.text, model="m", cost=Cost(calls=1))

    async def stream(self, request: ChatRequest, deadline: float = 30.0) -> AsyncGenerator[ChatDelta]:
        for number, at in enumerate(range(0, len(self.text), 7)):
            if number == self.breaks_off:
                raise Unavailable("cut")
            yield ChatDelta(text=self.text[at : at + 7])
        yield ChatDelta(last=ChatResponse(text=self.text, model="m", cost=Cost(calls=1)))


class Shelf:
    """Vectors that always find the one passage."""

    async def search(self, *_: object) -> list[Hit]:
        return [Hit(passage=PASSAGE, window=TEXT, score=1.0, similarity=0.0)]


class Packs:
    def get(self, name: str, hash: str | None = None) -> Pack:
        return Pack(name="shop", hash="h", root=".", policies=Policies(links=("help.example",)))


def task(**more: object) -> AnswerQuestion:
    about = {"tenant": "acme", "conversation": "c", "channel": "web", "thread": "r", "ticket": "k", "pack": "shop"}
    work = {"id": "t1", "step": "s1", "attempt": 1, "turn": 3, "deadline": 2**50, "drafts_after": 2}
    return AnswerQuestion.model_validate(
        {**about, **work, "question": "How long does a refund take to reach my card?", **more}
    )


@pytest_asyncio.fixture
async def bus() -> AsyncIterator[LocalBus]:
    opened = LocalBus(None)
    await opened.start()
    yield opened
    await opened.stop()


async def answered(bus: LocalBus, model: Writes, asked: AnswerQuestion) -> Result:
    drafts = Drafts(bus, model, SystemClock())
    return await answer_question(asked, Packs(), model, Shelf(), AnswerPolicy(), drafts)  # type: ignore[arg-type]


async def shown(bus: LocalBus) -> list[Reply]:
    found = []
    for partition in range(bus.partitions(CUSTOMER_REPLIES.name)):
        async for batch in bus.read(CUSTOMER_REPLIES.name, partition, 0):
            found += [read_body(read_envelope(record.headers).type, record.value) for record in batch]
    return [reply for reply in found if isinstance(reply, Reply)]


@pytest.mark.asyncio
async def test_drafts_grow_under_one_id_and_the_answer_is_the_same_as_without(bus: LocalBus) -> None:
    model = Writes(body(f"{FIRST} {SECOND} {THIRD}"))
    result = await answered(bus, model, task())
    quiet = await answered(bus, model, task(drafts_after=None))
    replies = await shown(bus)
    assert [reply.text() for reply in replies] == [FIRST, f"{FIRST} {SECOND}"]
    assert [(reply.seq, reply.state, reply.after, reply.turn) for reply in replies] == [
        (1, "draft", 2, 3),
        (2, "draft", 2, 3),
    ]
    assert len({reply.id for reply in replies}) == 1
    assert isinstance(result.value, Answer)
    assert (result.value, result.rung) == (quiet.value, "large")
    assert result.value.text.startswith(replies[-1].text())


@pytest.mark.asyncio
async def test_redelivered_the_same_drafts_are_sent_again(bus: LocalBus) -> None:
    model = Writes(body(f"{FIRST} {SECOND} {THIRD}"))
    for _ in range(2):
        await answered(bus, model, task())
    first, second, *again = await shown(bus)
    assert again == [first, second]


@pytest.mark.asyncio
@pytest.mark.parametrize("more", [{"drafts_after": None}, {"channel": ""}])
async def test_none_where_the_owner_did_not_say_so(bus: LocalBus, more: dict[str, object]) -> None:
    await answered(bus, Writes(body(f"{FIRST} {SECOND} {THIRD}")), task(**more))
    assert await shown(bus) == []


@pytest.mark.asyncio
async def test_a_foreign_link_is_masked_as_in_a_final(bus: LocalBus) -> None:
    said = "See https://bank.example/x for a refund on a card."
    await answered(bus, Writes(body(f"{said} {SECOND} {THIRD}")), task())
    assert (await shown(bus))[0].text() == "See ••• for a refund on a card."


@pytest.mark.asyncio
async def test_a_stream_that_breaks_off_is_asked_for_whole(bus: LocalBus) -> None:
    model = Writes(body(f"{FIRST} {SECOND} {THIRD}"), breaks_off=17)
    result = await answered(bus, model, task())
    assert (model.whole, result.rung) == (1, "large")
    assert [reply.text() for reply in await shown(bus)] == [FIRST]


@pytest.mark.asyncio
async def test_a_model_that_is_away_is_asked_once_and_the_section_stands(bus: LocalBus) -> None:
    model = Writes(body(FIRST), breaks_off=0)
    result = await answered(bus, model, task())
    assert (model.whole, result.rung, await shown(bus)) == (0, "small", [])


@pytest.mark.asyncio
async def test_without_the_bus_there_are_no_drafts_and_the_answer_all_the_same(
    bus: LocalBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def away(messages: Sequence[Outgoing]) -> None:
        tries.append(messages)
        raise BusUnavailable("away")

    monkeypatch.setattr(bus, "publish", away)
    result = await answered(bus, Writes(body(f"{FIRST} {SECOND} {THIRD}")), task())
    assert (len(tries), result.rung) == (1, "large")


def test_the_prompt_is_asked_for_citations_before_the_text() -> None:
    assert list(Grounded.shape()["properties"]) == ["supported", "citations", "text"]
