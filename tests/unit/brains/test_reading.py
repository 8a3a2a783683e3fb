"""Values: how they are compared, and where candidates for them come from."""

from __future__ import annotations

import pytest

from tandem.brains.candidates import Reader
from tandem.brains.normal import is_nothing, normal, operator_of, token_f1
from tandem.brains.state import State
from tandem.brains.values import Api, Parameter, Situation, Turn

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = ("5 pm", "6 pm", "6 am")


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ('"Hyatt Hotel"', "hyatt hotel"),
        ('api.is_equal_to("Sunday")', "sunday"),
        ('api.is_equal_to(["Dr. Johnson"])', "dr. johnson"),
        ('"6PM"', "6 pm"),
        ('"6:00 p.m."', "6 pm"),
        ('"4/4/1990"', "04/04/1990"),
        ("True", "yes"),
        (True, "yes"),
        ('" Katarina  Miller "', "katarina miller"),
    ],
)
def test_values_are_compared_in_one_form(written: object, compared: str) -> None:
    assert normal(written) == compared


@pytest.mark.parametrize(
    ("written", "operator"),
    [
        ('api.is_one_of(["a","b"])', "is_one_of"),
        ('api.is_equal_to("a")', ""),
        ('"a"', ""),
        ("api.is_at_least(3)", "is_at_least"),
    ],
)
def test_operators(written: str, operator: str) -> None:
    assert operator_of(written) == operator


def test_null_is_no_value_and_free_text_is_compared_by_words() -> None:
    assert is_nothing("api.is_equal_to(null)")
    assert not is_nothing("0")
    assert token_f1("a sore throat", "sore throat for days") == pytest.approx(4 / 7)


def candidates(parameter: Parameter, *turns: Turn, today: str = "") -> set[tuple[str, str]]:
    reader = Reader(Situation(turns, today), Api("book", (parameter,)), {})
    return {(one.value, one.source) for one in reader.find(parameter)}


@pytest.mark.parametrize(
    ("parameter", "said", "expected"),
    [
        (Parameter("Day", "choice", WEEKDAYS), "Tuesday works", ("Tuesday", "mention")),
        (Parameter("Day", "choice", WEEKDAYS), "tomorrow please", ("Sunday", "day")),
        (Parameter("Hour", "choice", HOURS), "at 6", ("6 pm", "number")),
        (Parameter("Size", "integer"), "we are two", ("2", "number")),
        (Parameter("Name", "text"), "My name is Ann Lee.", ("Ann Lee", "clause")),
        (Parameter("Parking", "boolean"), "no thanks", ("False", "yes_no")),
        (Parameter("Wish", "long_text"), "extra towels please", ("extra towels", "text")),
    ],
)
def test_candidates_by_type(parameter: Parameter, said: str, expected: tuple[str, str]) -> None:
    assert expected in candidates(parameter, Turn("customer", said), today="Saturday the 6th, 11 am")


def test_candidates_from_earlier_calls_and_returns() -> None:
    call = Turn("call", api="book", params={"id": '"7"'})
    returned = Turn("return", item={"id": 12})
    assert {("7", "call"), ("8", "next"), ("12", "return")} <= candidates(Parameter("id", "integer"), call, returned)


def test_the_agents_free_words_end_with_its_next_step() -> None:
    free = Turn("agent", "One moment")
    assert State(Situation((Turn("customer", "hi"), free))).free == "One moment"
    assert State(Situation((free, Turn("customer", "ok")))).free == "One moment"
    assert State(Situation((free, Turn("agent", "Who is it?", "ask_name"), Turn("customer", "ok")))).free == ""
