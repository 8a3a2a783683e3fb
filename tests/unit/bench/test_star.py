"""The STAR converter and its scripted customer, on a tiny data folder of our own; and, when the data is there, a real run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tandem.bench.star.convert import PACK, SECRET, convert, writes
from tandem.bench.star.data import Api, Dialogue, Query, merged, name_words, normalise, read_api, read_dialogues
from tandem.bench.star.free import Wanted, breaks_its_procedure, choose, run
from tandem.bench.star.judge import consented, over_asked, same, told
from tandem.bench.star.learn import failures, forms, goes_on, learn, link
from tandem.bench.star.script import DONT_REMEMBER, Script, says
from tandem.bench.star.tools import Call, lacks
from tandem.contracts.events import Event
from tandem.embedded.case import Case
from tandem.errors import InvalidSettings
from tandem.packs.check import check
from tandem.packs.load import load_pack
from tandem.settings import Settings
from tests.unit.bench.star_data import SOP, write

STAR = Path(os.environ.get("TANDEM_STAR_DATA", Path(__file__).parents[4] / "shared" / "data" / "star"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data")


@pytest.fixture
def train(data: Path) -> list[Dialogue]:
    return list(read_dialogues(data / "dialogues_train.jsonl"))


@pytest.fixture
def api(data: Path) -> Api:
    return read_api(data / "apis" / "parcel_book.json")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('"John Smith "', "john smith"),
        ('api.is_equal_to("Yes")', "yes"),
        ("5PM", "5 pm"),
        (True, "yes"),
        ("False", "no"),
        (7, "7"),
        ("a  b.", "a b"),
        ('["Yes"]', "yes"),
        ('["South", "East"]', "east, south"),
    ],
)
def test_values_are_compared_without_their_wrapping(raw: Any, expected: str) -> None:
    assert normalise(raw) == expected


def test_names_are_taken_apart() -> None:
    assert name_words("StartTimeHour") == {"start", "time", "hour"}
    assert name_words("bank_ask_pin") == {"bank", "ask", "pin"}


def test_of_calls_in_a_row_the_last_counts() -> None:
    calls = [Query("a", "check", {"n": "1"}), Query("a", "check", {"n": "2"}), Query("a", "book", {"n": "2"})]
    assert merged(calls) == calls[1:]


@pytest.mark.parametrize(
    ("api", "kind", "expected"),
    [
        ("hotel_book", "Check", False),
        ("hotel_book", "check", False),
        ("hotel_book", "Book", True),
        ("hotel_search", "", False),
        ("ride_book", "", True),
    ],
)
def test_one_table_says_what_writes(api: str, kind: str, expected: bool) -> None:
    assert writes(Api(api, (), frozenset(), ()), kind) is expected


# What is learnt --------------------------------------------------------------------------------------------------


def test_questions_are_linked_by_their_words_and_by_counting(train: list[Dialogue], api: Api) -> None:
    linked = {"ask_name": "SenderName", "parcel_ask_day": "Day", "parcel_ask_insured": "Insured"}
    assert link(SOP, api, train) == linked
    assert link(SOP, api, [])["parcel_ask_day"] == "Day"


def test_words_for_values_come_from_answers_and_from_the_values_themselves(train: list[Dialogue], api: Api) -> None:
    learnt = learn(api, link(SOP, api, train), train, SECRET)
    assert learnt["Day"].words == {"Monday": ["monday"], "Friday": ["friday"]}
    assert learnt["Courier"].words == {"Blue Van": ["blue van", "blue"], "Red Van": ["red van"]}
    assert learnt["SenderName"].words == {"Kim": ["kim"]}
    assert learnt["SenderName"].longest == 2


@pytest.mark.parametrize(
    ("category", "some"),
    [("5 pm", {"5 pm", "5pm", "5:00 pm", "5 p.m."}), ("3rd", {"3rd", "3"}), ("dr. who", {"dr. who", "dr who"})],
)
def test_hours_and_days_have_several_forms(category: str, some: set[str]) -> None:
    assert some <= set(forms(category))


def test_failures_and_second_tries_are_what_people_did(train: list[Dialogue], api: Api) -> None:
    assert failures(api, SOP["graph"], train) == {"Check": {"Message": ["All couriers are busy."]}}
    assert goes_on("parcel_unavailable", train)
    assert not goes_on("parcel_inform_booked", train)


def test_the_pack_proves_clean_and_has_the_procedures_shape(data: Path, train: list[Dialogue], tmp_path: Path) -> None:
    convert(data, train, tmp_path / PACK)
    assert [problem for problem in check(tmp_path / PACK) if problem.severity == "error"] == []
    pack = load_pack(tmp_path / PACK)
    flow = pack.flows["parcel_book"]
    assert flow.start == "ask_name"
    assert flow.nodes["parcel_offer"].consent == "query_book"
    assert flow.nodes["parcel_inform_options"].slots == ("parcel_book__parcel_inform_options", "parcel_book__Courier")
    assert flow.nodes["parcel_inform_options"].any_of
    assert [edge.to for edge in flow.nodes["parcel_unavailable"].next] == ["end", "query_check"]
    assert "{parcel_book_out.Reference}" in flow.nodes["parcel_inform_booked"].text["en"]
    assert [pack.tools[f"parcel_book__{kind}"].tool_class for kind in ("check", "book")] == ["read", "idempotent"]
    assert pack.slots["parcel_book__Insured"].type == "boolean"
    assert pack.policies.consent == "customer_confirms"
    assert pack.intents["parcel_book"].label == {"en": "send a parcel"}
    assert pack.intents["parcel_book"].examples["en"] == ["parcel book", "I need a parcel fetched please"]


# The customer, the judge -----------------------------------------------------------------------------------------


def test_the_customer_says_only_what_the_real_one_said(data: Path) -> None:
    [dialogue] = read_dialogues(data / "dialogues_dev.jsonl")
    script = Script(dialogue, {"parcel_ask_day": "Day", "other": "SenderName", "nothing": "Weight"}, books=True)
    assert [script.opening(), script.opening(), script.opening()] == ["Hello", "I need a parcel fetched please", None]
    assert script.answer("parcel_ask_day") == "Monday, if you can"
    assert script.answer("other") == "My name is Kim"
    assert script.answer("nothing") == DONT_REMEMBER
    assert script.reply("parcel_unavailable") == "Then Friday"
    assert script.reply("parcel_inform_booked") is None
    assert script.more_of("more") == "no"
    assert script.more() == "yes"
    assert script.confirm() == "yes"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("At 7pm please", "7 pm", True),
        ("May 25", "25th", True),
        ("17 May", "7th", False),
        ("somebody moved money from my account", "money moved from account", True),
        ("somebody called me", "money moved from account", False),
    ],
)
def test_a_message_says_a_value_in_any_of_its_forms(text: str, value: str, expected: bool) -> None:
    assert says(text, value) is expected


def test_a_call_is_the_recorded_one_by_its_required_parameters(api: Api) -> None:
    gold = Query("parcel_book", "book", {"SenderName": "kim", "Day": "friday", "Insured": "yes"})

    def call(**params: str) -> Call:
        return Call("parcel_book", "book", params, "e", True, False)

    assert same(gold, call(SenderName="kim", Day="friday"), api)
    assert not same(gold, call(SenderName="kim", Day="monday"), api)


def test_what_must_be_told_are_the_outputs(api: Api) -> None:
    assert told("Reference", "R-7", api)
    assert not told("Reference", [1], api)
    assert not told("Weight", 3, api)


def test_a_write_is_safe_after_its_own_consent(api: Api) -> None:
    first, second = (Call("parcel_book", "book", {}, effect, True, False) for effect in ("e1", "e2"))
    agreed = Event(kind="consent_given", name="q1")
    done = [Event(kind="step_dispatched", effect="e1"), Event(kind="step_dispatched", effect="e2")]
    case = Case("c", events=[agreed, *done])
    assert consented(case, first, {"e1", "e2"})
    assert not consented(case, second, {"e1", "e2"})
    assert not consented(Case("c", events=[*done, agreed]), first, {"e1"})
    assert lacks(api, {"SenderName": "kim"})
    assert not lacks(api, {"SenderName": "kim", "Day": "friday"})


def test_asking_for_what_was_stated_is_over_asking(api: Api, data: Path) -> None:
    [dialogue] = read_dialogues(data / "dialogues_dev.jsonl")
    asked = Event(kind="question_asked", status="slots", data={"slots": ["parcel_book__SenderName"]})
    of_day = Event(kind="question_asked", status="slots", data={"slots": ["parcel_book__Day"]})
    heard = Event(kind="message_received", name="m1")
    case = Case("c", events=[asked, heard, asked, of_day, asked], said=[("m1", "My name is Kim")])
    assert over_asked(dialogue, case, api) == 2


def test_a_dialogue_whose_last_call_lacks_something_is_left_out(api: Api, data: Path) -> None:
    [dialogue] = read_dialogues(data / "dialogues_dev.jsonl")
    assert not breaks_its_procedure(dialogue, {"parcel_book": api})
    last = Query("parcel_book", "book", {"SenderName": "kim"})
    assert breaks_its_procedure(replace(dialogue, queries=(*dialogue.queries, last)), {"parcel_book": api})


def test_dialogues_are_taken_in_turn_over_the_tasks(data: Path) -> None:
    [one] = read_dialogues(data / "dialogues_dev.jsonl")
    assert choose([one, one], {"parcel_book"}, 1) == [one]
    assert choose([one], {"other"}, 5) == []


# Through the platform --------------------------------------------------------------------------------------------


def settings(folder: Path) -> Settings:
    return Settings(home=folder / "home", packs=folder / "packs", http_port=None)


@pytest.mark.asyncio
async def test_the_tiny_dialogue_runs_through_the_platform(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("STAR_TOOLS_URL", "")
    figures = await run(settings(tmp_path), Wanted(data, "dev", 1, [], cache=tmp_path))
    assert figures["by_task"]["parcel_book"] == {
        "dialogues": 1,
        "success_rate": 1.0,
        "unsafe_calls": 0,
        "wrong_writes": 0,
        "over_asking": 0,
        "turns_mean": 7.0,
    }


@pytest.mark.asyncio
async def test_an_unknown_procedure_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"no procedure hotel_book.*parcel_book"):
        await run(settings(tmp_path), Wanted(data, "dev", 1, ["hotel_book"], cache=tmp_path))


if (STAR / "dialogues_dev.jsonl").exists():

    @pytest.mark.asyncio
    async def test_star_itself(tmp_path: Path, monkeypatch: Any) -> None:
        """Procedures of different shape, each with a success; only where the data is (TANDEM_STAR_DATA)."""
        monkeypatch.setenv("STAR_TOOLS_URL", "")
        tasks = ["bank_balance", "bank_fraud_report", "plane_book", "ride_status", "trip_directions"]
        figures = await run(settings(tmp_path), Wanted(STAR, "dev", 20, tasks))
        assert figures["unsafe_calls"] == 0
        assert {task for task, row in figures["by_task"].items() if row["success_rate"] > 0} == set(tasks)
