from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.rag_agent.composition import ANSWER, MAX_ANSWER, MAX_QUOTE, blocks, extract, read
from services.rag_agent.handlers import AnswerPolicy, answer_question
from services.rag_agent.ranking import Ranked, rank
from tandem.agent import Result
from tandem.asking import Unfit
from tandem.contracts.tasks import Answer, AnswerQuestion
from tandem.contracts.ticket import Cost, Line
from tandem.errors import Unavailable
from tandem.packs.ingest import ingest
from tandem.packs.model import Pack
from tandem.rpc.ports import ChatRequest, ChatResponse
from tandem.vectors.base import Hit, Passage, Vectors
from tandem.vectors.edge import edge_vectors

DOCUMENT = """# Refunds

## How long a refund takes

A refund reaches your card within five working days.

## Asking for a refund

1. Open **Orders**.
2. Choose `Refund`.
"""


class Model:
    """A chat model that says what it is told to; no encoder."""

    def __init__(self, says: str | None = None) -> None:
        self.says = says
        self.asked: list[ChatRequest] = []

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        raise Unavailable("no encoder")

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        if self.says is None:
            raise Unavailable("no model")
        return ChatResponse(text=self.says, model="m", cost=Cost(calls=1, tokens=40))


class OnePack:
    def __init__(self, pack: Pack) -> None:
        self.pack = pack

    def get(self, name: str, hash: str | None = None) -> Pack:
        return self.pack


@pytest_asyncio.fixture
async def vectors(tmp_path: Path) -> AsyncIterator[Vectors]:
    opened = edge_vectors(tmp_path / "vectors")
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def pack(tmp_path: Path, vectors: Vectors) -> Pack:
    knowledge = tmp_path / "pack" / "knowledge"
    knowledge.mkdir(parents=True)
    (knowledge / "refunds.md").write_text(DOCUMENT, encoding="utf-8")
    pack = Pack(name="shop", hash="h", root=str(tmp_path / "pack"))
    await ingest(pack, "acme", vectors, Model())
    return pack


def question(text: str, tenant: str = "acme", recent: tuple[Line, ...] = ()) -> AnswerQuestion:
    return AnswerQuestion(
        id="t1",
        tenant=tenant,
        conversation="c",
        ticket="k",
        pack="shop",
        step="s1",
        attempt=1,
        turn=1,
        deadline=2**50,
        question=text,
        recent=recent,
    )


async def ask(task: AnswerQuestion, pack: Pack, vectors: Vectors, llm: Model) -> tuple[Answer, Result]:
    result = await answer_question(task, OnePack(pack), llm, vectors, AnswerPolicy())  # type: ignore[arg-type]
    assert isinstance(result.value, Answer)
    return result.value, result


def chat(**body: object) -> str:
    return json.dumps({"supported": True, "text": "A refund takes five working days.", "citations": [1], **body})


@pytest.mark.asyncio
async def test_answers_in_the_section_s_own_words_with_a_citation_that_resolves(pack: Pack, vectors: Vectors) -> None:
    answer, result = await ask(question("How long does a refund take to reach my card?"), pack, vectors, Model())
    assert answer.supported
    assert answer.text == "A refund reaches your card within five working days."
    (cited,) = answer.citations
    passage = await vectors.passage("acme", cited.passage)
    assert passage is not None
    assert answer.text in passage.text
    assert (result.rung, result.cost) == ("small", Cost())


@pytest.mark.asyncio
async def test_steps_and_commands_of_the_section_are_kept(pack: Pack, vectors: Vectors) -> None:
    answer, _ = await ask(question("asking for a refund in orders"), pack, vectors, Model())
    assert answer.text.splitlines() == ["1. Open **Orders**.", "2. Choose `Refund`."]


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["what is the capital of France?", "the of and", "do you sell laptops?"])
async def test_abstains_when_nothing_supports_it_and_no_other_words_do(pack: Pack, vectors: Vectors, text: str) -> None:
    llm = Model('{"query": "bananas and apples"}')
    answer, result = await ask(question(text), pack, vectors, llm)
    assert (answer.supported, answer.text, answer.citations) == (False, "", ())
    assert (len(llm.asked), result.rung) == (1, "large")
    silent, result = await ask(question(text), pack, vectors, Model())
    assert (silent.supported, result.rung, result.cost) == (False, "small", Cost())


@pytest.mark.asyncio
async def test_another_tenant_s_knowledge_answers_nothing(pack: Pack, vectors: Vectors) -> None:
    answer, _ = await ask(question("How long does a refund take?", tenant="rival"), pack, vectors, Model())
    assert not answer.supported


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "supported"),
    [("请问怎么申请退款？", True), ("退款多久到账", True), ("今天天气怎么样", False), ("怎么做红烧肉", False)],
)
async def test_chinese_is_found_by_words(pack: Pack, vectors: Vectors, text: str, supported: bool) -> None:
    document = "# 退款\n\n## 退款时间\n\n退款在五个工作日内到账。\n\n## 申请退款\n\n在订单页面点击退款。\n"
    (Path(pack.root) / "knowledge" / "zh.md").write_text(document, encoding="utf-8")
    await ingest(pack, "acme", vectors, Model())
    answer, _ = await ask(question(text), pack, vectors, Model())
    assert answer.supported == supported
    assert all(citation.passage.startswith("zh.md#") for citation in answer.citations)


@pytest.mark.asyncio
async def test_a_short_question_is_read_with_what_was_written_before(pack: Pack, vectors: Vectors) -> None:
    before = Line(who="customer", text="I want to ask about a refund to my card", at=1)
    alone, _ = await ask(question("and for me?"), pack, vectors, Model())
    together, _ = await ask(question("and for me?", recent=(before,)), pack, vectors, Model())
    assert not alone.supported
    assert together.supported


@pytest.mark.asyncio
async def test_a_model_s_answer_is_used_and_paid_for_when_its_citations_hold(pack: Pack, vectors: Vectors) -> None:
    llm = Model(chat())
    answer, result = await ask(question("How long does a refund take?"), pack, vectors, llm)
    assert answer.text == "A refund takes five working days."
    assert (result.rung, result.cost.tokens) == ("large", 40)
    assert llm.asked[0].schema is not None
    assert "<question>\nHow long does a refund take?\n</question>" in llm.asked[0].messages[0][1]
    assert result.prompt == ANSWER.ref


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "says",
    [
        "not JSON",
        "[]",
        chat(citations=[9]),
        chat(citations=[0]),
        chat(citations=[]),
        chat(citations=["1"]),
        chat(text="  "),
        chat(text="Bananas are yellow."),
        chat(text="A refund takes five working days. Bananas are yellow."),
        chat(text="A refund takes five working days, and we add 20 EUR."),
        chat(citations=[1, 9]),
        chat(citations=[True]),
        chat(text="A refund takes five working days. " * 80),
    ],
)
async def test_a_model_s_answer_that_does_not_hold_is_not_shown(pack: Pack, vectors: Vectors, says: str) -> None:
    llm = Model(says)
    answer, result = await ask(question("How long does a refund take?"), pack, vectors, llm)
    assert (result.rung, result.cost.calls, len(llm.asked)) == ("small", 2, 2)
    assert answer.text == "A refund reaches your card within five working days."


def ranked(text: str) -> Ranked:
    passage = Passage(id="a.md#x", doc="a.md", title="A", heading=("A", "X"), anchor="x", text=text)
    return Ranked(passage, text, 0.8)


def test_a_model_may_say_that_the_passages_do_not_answer() -> None:
    refused = read(
        json.dumps({"supported": False, "text": "", "citations": []}), "Which ports?", [ranked("Ports and rules.")]
    )
    assert not refused.supported


def test_an_answer_that_the_model_itself_denies_is_sent_back() -> None:
    denied = json.dumps({"supported": False, "text": "Port 22.", "citations": []})
    with pytest.raises(Unfit, match="supported"):
        read(denied, "Which ports?", [ranked("Port 22 is open.")])


def test_a_long_section_is_cut_to_its_most_telling_blocks_in_their_order() -> None:
    filler = [f"Paragraph {n} is about something else. " * 6 for n in range(12)]
    told = "The certificate is rotated every ninety days."
    answer = extract("how often is the certificate rotated", [ranked("\n\n".join([*filler, told]))])
    assert told in answer.text
    assert len(answer.text) <= MAX_ANSWER + len(told)
    assert answer.text.index("Paragraph 0") < answer.text.index(told)


def test_ranking_weighs_meaning_and_words() -> None:
    def hit(text: str, similarity: float) -> Hit:
        return Hit(passage=ranked(text).passage, window=text, score=0.0, similarity=similarity)

    best, *_ = rank("open a port", [hit("Ports are opened here.", 0.4), hit("Something else.", 0.5)], True)
    assert best.window == "Ports are opened here."
    near, far = rank("reimbursement", [hit("Nothing.", 0.1), hit("Money back.", 0.7)], True)
    assert near.window == "Money back."
    assert far.support == 0.0


def test_a_cosine_below_the_floor_is_not_taken_for_a_search_by_words_alone() -> None:
    far = Hit(passage=ranked("Open a port here.").passage, window="Open a port here.", score=0.0, similarity=-0.02)
    (by_meaning,), (by_words,) = rank("open a port", [far], True), rank("open a port", [far], False)
    assert by_meaning.support < 0.35 < by_words.support


LOOSE = "Do this:\n\n1. Stop it.\n\n2. Start it:\n\n   wait a minute\n\n3. Look.\n\nThen you are done."
CODE = "Run\n\n```sh\nfirst\n\nsecond\n```\n\nand look."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One.\n\n\nTwo\nlines.", ["One.", "Two\nlines."]),
        (LOOSE, ["Do this:", LOOSE[10:-20], "Then you are done."]),
        (CODE, ["Run", "```sh\nfirst\n\nsecond\n```", "and look."]),
    ],
)
def test_blocks_are_whole(text: str, wanted: list[str]) -> None:
    assert list(blocks(text)) == wanted


@given(st.lists(st.sampled_from(["Text.", "1. step", "- item", "  more", "```", "", "| a | b |"]), max_size=20))
def test_blocks_lose_no_line(lines: list[str]) -> None:
    kept = [line for block in blocks("\n".join(lines)) for line in block.splitlines() if line.strip()]
    assert kept == [line for line in lines if line.strip()]


@pytest.mark.parametrize(
    "text", ["```sh\n" + "run it again\n" * 200 + "```", "word " * 500, "x" * 3_000, "| a | b |\n" * 300]
)
def test_a_block_that_is_too_long_is_cut_and_its_code_closed(text: str) -> None:
    answer = extract("run", [ranked(text)])
    assert len(answer.text) <= MAX_ANSWER + 10
    assert answer.text.count("```") % 2 == 0


@pytest.mark.parametrize(("room", "told"), [("Short.", 2), ("Long. " * 150, 1)])
def test_a_section_with_more_support_is_told_beside_the_one_with_the_right_heading(room: str, told: int) -> None:
    first, second = ranked("Add a rule."), replace(ranked(room.strip()), support=0.9)
    answer = extract("add a rule", [first, second])
    assert len(answer.citations) == told
    assert [part.text[:3] for part in answer.citations] == ["[1]", "[2]"][:told]
    assert answer.text.startswith("Add a rule.")
    assert extract("add a rule", [second, first]).citations[1:] == ()


def test_a_quote_stands_in_the_passage() -> None:
    passage = ranked("Something first.\n\nA refund takes " + "many more words " * 30 + "and days.")
    (cited,) = extract("refund", [passage]).citations
    assert cited.quote in passage.passage.text
    assert cited.quote.startswith("A refund takes")
    assert len(cited.quote) <= MAX_QUOTE
