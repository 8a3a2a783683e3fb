"""What does a message answer: rules in two languages, meaning, a model; in doubt, unsure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.handlers import interpret
from services.planner.interpretation import UNSURE, by_rule, read, yes_or_no
from services.planner.interpretation import question as prompted
from tandem.asking import Unfit
from tandem.contracts.tasks import Interpret, Interpretation
from tandem.contracts.ticket import Cost, Route
from tests.unit.planner_worker.worker import MAILBOXES, PACK, FakeLlm, FakePacks, interpret_task, question


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", True),
        ("Yes please, go ahead.", True),
        ("ok do it", True),
        ("no problem", True),
        ("that works for me", True),
        ("好的", True),
        ("是", True),
        ("可以，谢谢", True),
        ("没问题", True),
        ("no", False),
        ("No, don't", False),
        ("please don't", False),
        ("nope, that's fine", False),
        ("I do not want that", False),
        ("不", False),
        ("不可以", False),
        ("别这样", False),
        ("算了", False),
        ("maybe", None),
        ("yes, but not today", None),
        ("yes if it is free", None),
        ("ok wait", None),
        ("I'm not sure", None),
        ("yes?", None),
        ("可能吧", None),
        ("好的，不过先等等", None),
        ("what does that mean", None),
        ("", None),
    ],
)
def test_yes_or_no(text: str, said: bool | None) -> None:
    assert yes_or_no(text) is said


def rule(task: Interpret) -> tuple[str, Any] | None:
    """(kind, what it says) of the rules' answer."""
    found = by_rule(task, PACK)
    if found is None:
        return None
    said = found.values or found.choice or found.yes
    return (found.kind, said) if found.kind == "answer" else (found.kind, None)


CHOOSE = question("choice", choices=MAILBOXES)
TWO = question("choice", choices=MAILBOXES[:2])
SURE_ELSEWHERE = Route(intent="other", confidence=0.9)

TABLE: list[tuple[str, Interpret, tuple[str, Any] | None]] = [
    (
        "a slot",
        interpret_task("O-1", question("slots", slots=("order",)), values={"order": "O-1"}),
        ("answer", {"order": "O-1"}),
    ),
    (
        "of its type",
        interpret_task("22", question("slots", slots=("port",)), values={"integer": 22}),
        ("answer", {"port": 22}),
    ),
    ("of two types", interpret_task("22", question("slots", slots=("low", "high")), values={"integer": 22}), None),
    ("with a form", interpret_task("22", question("slots", slots=("code",)), values={"integer": 22}), None),
    ("another slot", interpret_task("22", question("slots", slots=("order",)), values={"port": 22}), None),
    ("by id", interpret_task("take MB-2", CHOOSE), ("answer", "mb-2")),
    ("by number", interpret_task("number 1", CHOOSE), ("answer", "mb-1")),
    ("by ordinal", interpret_task("the last one", CHOOSE, values={"ordinal": -1}), ("answer", "mb-3")),
    ("a number too high", interpret_task("7", CHOOSE), None),
    ("by its word", interpret_task("the expired one", CHOOSE), ("answer", "mb-1")),
    ("by a Chinese word", interpret_task("企业的那个", CHOOSE), ("answer", "mb-3")),
    ("by a shared word", interpret_task("the mailbox", CHOOSE), None),
    ("two named", interpret_task("basic and business", CHOOSE), ("unsure", None)),
    ("one of three refused", interpret_task("not the basic one", CHOOSE), ("unsure", None)),
    ("one of two refused", interpret_task("not the basic one", TWO), ("answer", "mb-2")),
    ("hedged", interpret_task("maybe the basic one", CHOOSE), ("unsure", None)),
    ("agreed", interpret_task("sure", question()), ("answer", True)),
    ("hedged consent", interpret_task("yes but later", question()), ("unsure", None)),
    ("did it work", interpret_task("it didn't", question("follow_up")), None),
    ("two agreements", interpret_task("yes", question(), question(id="q2")), ("unsure", None)),
    ("elsewhere", interpret_task("how much is it", question(), route=SURE_ELSEWHERE), ("other", None)),
    ("nothing", interpret_task("hm", question()), None),
]


@pytest.mark.parametrize(("task", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_rules(task: Interpret, expected: tuple[str, Any] | None) -> None:
    if task.questions[0].kind == "follow_up":
        assert by_rule(task, PACK) == Interpretation(kind="answer", question="q1", yes=False, confidence=0.9)
    else:
        assert rule(task) == expected


def test_the_question_answered_is_named() -> None:
    task = interpret_task("O-1", question(), question("slots", id="q2", slots=("order",)), values={"order": "O-1"})
    found = by_rule(task, PACK)
    assert found is not None
    assert (found.kind, found.question) == ("answer", "q2")


def accept(task: Interpret, text: str) -> Interpretation:
    """As the handler takes it: what cannot be used is no answer."""
    try:
        return read(text, task)
    except Unfit:
        return UNSURE


def said(**fields: Any) -> str:
    return json.dumps({"kind": "answer", "question": 1, "confidence": 0.8, **fields})


SLOTS = interpret_task("it is the blue O-7", question("slots", slots=("order",)))
TWO_ASKED = interpret_task("O-7", question(), question("slots", slots=("order",), id="q2"))


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        (SLOTS, said(values={"order": "O-7"}), ("answer", {"order": "O-7"}, None)),
        (SLOTS, said(values={"order": "O-8"}), ("unsure", {}, None)),  # not written
        (SLOTS, said(values={"order": "lu"}), ("unsure", {}, None)),  # a piece of a word
        (SLOTS, said(values={"code": "blue"}), ("unsure", {}, None)),  # not asked
        (SLOTS, said(question=0, values={"order": "O-7"}), ("unsure", {}, None)),
        (SLOTS, said(question=2, values={"order": "O-7"}), ("unsure", {}, None)),
        (SLOTS, said(question=None, values={"order": "O-7"}), ("answer", {"order": "O-7"}, None)),  # there is but one
        (TWO_ASKED, said(question=None, values={"order": "O-7"}), ("unsure", {}, None)),
        (TWO_ASKED, said(question=2, values={"order": "O-7"}), ("answer", {"order": "O-7"}, None)),
        (SLOTS, said(question=True, values={"order": "O-7"}), ("unsure", {}, None)),
        (SLOTS, '{"kind": "other", "confidence": 0.9}', ("other", {}, None)),
        (SLOTS, "I think it is O-7", ("unsure", {}, None)),
        (
            interpret_task("it is <O-7>", question("slots", slots=("order",))),
            said(values={"order": "‹O-7›"}),
            ("answer", {"order": "<O-7>"}, None),
        ),  # as it was shown
        (interpret_task("well", CHOOSE), said(choice=2), ("answer", {}, "mb-2")),
        (interpret_task("well", CHOOSE), said(choice=0), ("unsure", {}, None)),
        (
            interpret_task("well", question()),
            said(yes=True),
            ("unsure", {}, None),
        ),  # consent is never a model's to give
    ],
)
def test_a_models_answer_is_checked(
    task: Interpret, text: str, expected: tuple[str, dict[str, Any], str | None]
) -> None:
    found = accept(task, text)
    assert (found.kind, found.values, found.choice) == expected
    assert found.yes is None


@pytest.mark.parametrize(
    ("task", "choice", "required"),
    [
        (SLOTS, None, {"kind", "confidence"}),
        (interpret_task("well", CHOOSE), 3, {"kind", "confidence"}),
        (TWO_ASKED, None, {"kind", "confidence", "question"}),
    ],
)
def test_a_model_is_asked_for_what_the_questions_have(task: Interpret, choice: int | None, required: set[str]) -> None:
    shape = prompted(task, PACK).schema
    assert shape["properties"].get("choice", {}).get("maximum") == choice
    assert set(shape["required"]) == required


@given(st.text(max_size=300))
def test_whatever_a_model_says_nothing_is_agreed_to(text: str) -> None:
    for task in (SLOTS, interpret_task("yes", question()), interpret_task("1", CHOOSE)):
        found = accept(task, text)
        assert found.yes is None
        assert 0.0 <= found.confidence <= 1.0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("task", "llm", "expected", "rung", "calls"),
    [
        (interpret_task("yes", question()), FakeLlm(text=said()), "answer", "rule", 0),
        (
            interpret_task("the dusty", CHOOSE),
            FakeLlm(vectors=[[1, 0], [0, 1], [0.8, 0.6], [0, 1]]),
            "answer",
            "small",
            0,
        ),
        (
            interpret_task("the dusty", CHOOSE),
            FakeLlm(vectors=[[1, 0], [0.7, 0.7], [0.8, 0.6], [0, 1]]),
            "unsure",
            "rule",
            1,
        ),
        (interpret_task("the dusty", CHOOSE), FakeLlm(text=said(choice=3)), "answer", "large", 1),
        (interpret_task("maybe the basic one", CHOOSE), FakeLlm(vectors=[[1], [1], [0], [0]]), "unsure", "rule", 1),
        (interpret_task("hm", question()), FakeLlm(), "unsure", "rule", 1),
    ],
    ids=["rule", "meaning", "too near", "model", "hedged", "nothing serves"],
)
async def test_the_ladder(task: Interpret, llm: FakeLlm, expected: str, rung: str, calls: int) -> None:
    result = await interpret(task, FakePacks(), llm)  # type: ignore[arg-type]
    assert isinstance(result.value, Interpretation)
    assert (result.value.kind, result.rung, len(llm.asked)) == (expected, rung, calls)
    assert result.cost == (Cost(calls=1, tokens=7) if rung == "large" else Cost())
