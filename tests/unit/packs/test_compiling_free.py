"""The compiler's upper rung: a model's answer is typed, proved, and repaired once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tandem.errors import InvalidError, Unavailable
from tandem.packs.compiling.compile import Source, vocabulary
from tandem.packs.compiling.free import compile_free
from tandem.packs.files import parse_yaml
from tandem.packs.model import Pack
from tandem.rpc.ports import ChatRequest, ChatResponse, Llm
from tandem.shape import Shape

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"
SOURCE = Source("order", "refund", {1: "Find out <which> order they mean.", 2: "Tell them what it is."}, "")
TEXT = {"en": "It is {order.product}.", "zh": "这是 {order.product}。"}
GOOD: dict[str, Any] = {
    "start": "ask",
    "nodes": [
        {"id": "ask", "sentence": 1, "slots": ["order_id"], "next": [{"to": "look"}]},
        {
            "id": "look", "sentence": 1, "tool": "get_order", "args": {"order_id": "$order_id"}, "save": "order",
            "next": [{"to": "tell"}],
        },
        {"id": "tell", "sentence": 2, "text": TEXT},
    ],
}  # fmt: skip


class Scripted:
    """A model that says what it was told to, and keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        if not self.answers:
            raise Unavailable("no model")
        return ChatResponse(text=self.answers.pop(0), model="scripted")

    embed: Any = None


@pytest.fixture(scope="module")
def pack() -> Pack:
    return vocabulary(CLOUD)


def llm(*answers: object) -> tuple[Scripted, Llm]:
    scripted = Scripted(*(answer if isinstance(answer, str) else json.dumps(answer) for answer in answers))
    return scripted, scripted


@pytest.mark.asyncio
async def test_an_answer_becomes_a_flow_with_the_sentences_hashes(pack: Pack) -> None:
    scripted, model = llm(GOOD)
    verdict = await compile_free(pack, SOURCE, model)
    nodes = parse_yaml(verdict.text)["nodes"]
    assert verdict.ok
    assert verdict.rung == "model"
    assert nodes["look"]["save"] == {"order": "result"}
    assert all(len(node["sentence_hash"]) == 8 for node in nodes.values())
    (request,) = scripted.asked
    assert request.schema is not None
    assert "nodes" in request.schema["properties"]
    words = request.messages[0]
    assert isinstance(words, tuple)
    assert "‹which›" in words[1]


@pytest.mark.asyncio
async def test_a_model_is_asked_for_names_that_the_pack_has(pack: Pack) -> None:
    scripted, model = llm(GOOD)
    await compile_free(pack, SOURCE, model)
    (request,) = scripted.asked
    assert request.schema is not None
    shape = Shape(request.schema)
    assert shape.departure(GOOD) is None
    for change in ({"tool": "drop_tables"}, {"slots": ["moon"]}, {"sentence": 3}, {"text": {"fr": "Oui"}}):
        assert shape.departure(broken(**change)) is not None


def broken(**change: object) -> dict[str, Any]:
    return {**GOOD, "nodes": [GOOD["nodes"][0], {**GOOD["nodes"][1], **change}, GOOD["nodes"][2]]}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("not JSON", "JSON"),
        ({"start": "ask"}, "nodes: Field required"),
        (broken(tool="get_ordr"), "did you mean 'get_order'"),
        (broken(invented=1), "invented"),
        (broken(tool="refund_order"), "identity is not certain"),
        (broken(next=[{"to": "nowhere"}]), "nowhere"),
    ],
)
async def test_a_wrong_answer_is_repaired_once_with_what_the_proof_says(pack: Pack, first: object, told: str) -> None:
    scripted, model = llm(first, GOOD)
    assert (await compile_free(pack, SOURCE, model)).ok
    assert told in str(scripted.asked[1].messages[-1])
    assert len(scripted.asked) == 2


@pytest.mark.asyncio
async def test_a_second_wrong_answer_is_no_flow(pack: Pack) -> None:
    scripted, model = llm("no", "no", GOOD)
    with pytest.raises(InvalidError, match="cannot be released"):
        await compile_free(pack, SOURCE, model)
    assert len(scripted.asked) == 2


@pytest.mark.asyncio
async def test_what_cannot_be_released_is_refused_with_its_problems(pack: Pack) -> None:
    wrong = broken(tool="refund_order")
    _, model = llm(wrong, wrong)
    with pytest.raises(InvalidError, match="identity is not certain"):
        await compile_free(pack, SOURCE, model)


@pytest.mark.asyncio
async def test_without_a_model_nothing_is_made_up(pack: Pack) -> None:
    _, model = llm()
    with pytest.raises(Unavailable):
        await compile_free(pack, SOURCE, model)
