"""Decision points and figures."""

from __future__ import annotations

import pytest

from tandem.bench.star.decisions import Filled, Judged, Run, compare, figures
from tandem.bench.star.metrics import bleu4, macro_f1, rouge_l
from tandem.bench.star.points import Point, without_repeats
from tandem.bench.star.report import render
from tandem.brains.values import Api, Decision, Parameter, Situation

API = Api("book", (Parameter("Day", "choice"), Parameter("Wish", "long_text"), Parameter("Price", "integer")))


def query(day: str, kind: str = "") -> dict[str, object]:
    more = [{"RequestType": f'"{kind}"'}] if kind else []
    return {"Agent": "Wizard", "Action": "query", "APIName": "book", "Constraints": [{"Day": day}, *more]}


RETURN = {"Agent": "KnowledgeBase", "Action": "return_item", "Item": {}}
SAID = {"Agent": "User", "Action": "utter", "Text": "and on Friday?"}
GUIDE = {"Agent": "UserGuide", "Action": "instruct", "Text": "be nice"}


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        ([query("a"), RETURN, query("b"), RETURN], ["b", "return"]),
        ([query("a"), RETURN, GUIDE, query("b"), RETURN], ["guide", "b", "return"]),
        ([query("a"), RETURN, SAID, query("b"), RETURN], ["a", "return", "said", "b", "return"]),
        ([query("a", "Check"), RETURN, query("a", "Book"), RETURN], ["a", "return", "a", "return"]),
    ],
)
def test_repeated_calls_are_merged_with_their_returns(events: list[dict[str, object]], kept: list[str]) -> None:
    names = {"return_item": "return", "utter": "said", "instruct": "guide"}
    found = [names.get(e["Action"]) or e["Constraints"][0]["Day"] for e in without_repeats(events)]
    assert found == kept


def test_operators_are_apart_and_free_text_counts_by_words() -> None:
    params = {"Day": '"Friday"', "Wish": '"extra towels"', "Price": "api.is_at_most(9)"}
    point = Point(Situation(()), "t", "call", "book", params)
    assert compare(point, API, {"Day": "friday", "Wish": "two extra towels"}) == Filled(2, 2, True, 1)
    wrong = compare(point, API, {"Day": "Monday"})
    assert (wrong.right, wrong.of, wrong.exact) == (0, 2, False)


def judged(step: str, decided: str, task: str = "t") -> Judged:
    kind = "reject" if step == "out_of_scope" else "reply"
    made = "reject" if decided == "out_of_scope" else "reply"
    point = Point(Situation(()), task, kind, step, text="It is done now.")
    return Judged(point, Decision(task, made, decided, text="It is done now.", confidence=0.7), 3.0, 2.0)


def test_figures_and_page() -> None:
    rows = [judged("a", "a"), judged("a", "b"), judged("out_of_scope", "out_of_scope"), judged("c", "c", task="new")]
    done = Run(rows, [("t", "t"), ("u", "t")])
    found = figures(done, "dev", ["t"])
    assert found["next_action_accuracy"] == 0.75
    assert (found["reject_recall"], found["false_reject_rate"]) == (1.0, 0.0)
    assert found["routing_accuracy"] == 0.5
    assert found["unseen"] == {"points": 1, "next_action_accuracy": 1.0, "api_accuracy": None}
    assert found["by_task"]["t"]["points"] == 3
    assert found["bleu4"] == 1.0
    page = render(found, done, {})
    assert "<svg" in page
    assert "It is done" not in page


def test_texts_and_classes() -> None:
    assert bleu4([("the cat sat on the mat", "the cat sat on the mat")]) == pytest.approx(1)
    assert bleu4([("a b", "c d")]) == 0
    assert rouge_l([("a b c", "a c")]) == pytest.approx(0.8)
    assert macro_f1([("x", "x"), ("y", "x"), ("y", "y")]) == pytest.approx(2 / 3)
