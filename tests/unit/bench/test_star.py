"""The STAR converter and its scripted customer, on a tiny data folder of our own; and, when the data is there, a real run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tandem.bench.star.convert import PACK, convert, link, writes
from tandem.bench.star.data import Api, Query, merged, name_words, normalise, read_api, read_dialogues
from tandem.bench.star.free import choose, run, same
from tandem.bench.star.script import DONT_REMEMBER, Script
from tandem.bench.star.tools import Call
from tandem.packs.load import load_pack
from tandem.settings import Settings

STAR = Path(os.environ.get("TANDEM_STAR_DATA", Path(__file__).parents[4] / "shared" / "data" / "star"))
SOP = {
    "task": "parcel_book",
    "replies": {
        "hello": "Hello!",
        "ask_name": "Who is it for?",
        "parcel_ask_day": "Which day shall it be fetched?",
        "parcel_ask_insured": "Shall it be insured?",
        "parcel_inform_booked": "Fetched on {day}.",
        "parcel_inform_nothing_found": "No courier is free.",
        "anything_else": "Anything else?",
        "query": "Query",
    },
    "graph": {
        "hello": "ask_name",
        "ask_name": "parcel_ask_day",
        "parcel_ask_day": "parcel_ask_insured",
        "parcel_ask_insured": "query",
        "query": "parcel_inform_booked",
        "parcel_inform_booked": "anything_else",
    },
}
API = {
    "input": [
        {"Name": "SenderName", "Type": "ShortString", "ReadableName": "Sender Name"},
        {"Name": "Day", "Type": "Categorical", "Categories": ["Monday", "Friday"], "ReadableName": "Day"},
        {"Name": "Insured", "Type": "Categorical", "Categories": ["Yes", "No"], "ReadableName": "Insured"},
    ],
    "output": [{"Name": "Day"}, {"Name": "Courier"}],
    "required": ["SenderName", "Day"],
}


def events(*said: tuple[str, str]) -> list[dict[str, Any]]:
    """Pairs of (question's label or "", what the customer says), then the call and its return."""
    found: list[dict[str, Any]] = []
    for label, text in said:
        if label:
            found.append({"Agent": "Wizard", "Action": "pick_suggestion", "ActionLabel": label, "Text": "?"})
        found.append({"Agent": "User", "Action": "utter", "Text": text})
    call = {"SenderName": '"Kim"', "Day": 'api.is_equal_to("Friday")', "Insured": '"Yes"'}
    found.append(
        {
            "Agent": "Wizard",
            "Action": "query",
            "APIName": "parcel_book",
            "Constraints": [{k: v} for k, v in call.items()],
        }
    )
    item = {"APIName": "parcel_book", "Day": "Friday", "Courier": "Blue Van"}
    found.append({"Agent": "KnowledgeBase", "Action": "return_item", "Item": item})
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sop" / "parcel_book").mkdir(parents=True)
    (folder / "apis").mkdir()
    (folder / "sop" / "parcel_book" / "parcel_book.json").write_text(json.dumps(SOP))
    (folder / "apis" / "parcel_book.json").write_text(json.dumps(API))
    said = (
        ("", "I need a parcel fetched"),
        ("ask_name", "My name is Kim"),
        ("parcel_ask_day", "Friday"),
        ("parcel_ask_insured", "yes"),
    )
    for split, count in (("train", 6), ("dev", 1)):
        lines = [
            json.dumps(
                {
                    "DialogueID": number,
                    "Kind": "happy",
                    "Scenario": {"WizardCapabilities": [{"Task": "parcel_book"}]},
                    "Events": events(*said),
                }
            )
            for number in range(count)
        ]
        (folder / f"dialogues_{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('"John Smith "', "john smith"),
        ('api.is_equal_to("Yes")', "yes"),
        ("5PM", "5 pm"),
        (True, "yes"),
        (7, "7"),
        ("a  b.", "a b"),
    ],
)
def test_values_are_compared_without_their_wrapping(raw: Any, expected: str) -> None:
    assert normalise(raw) == expected


def test_names_are_taken_apart() -> None:
    assert name_words("StartTimeHour") == {"start", "time", "hour"}
    assert name_words("bank_ask_pin") == {"bank", "ask", "pin"}


def test_of_calls_in_a_row_the_last_counts() -> None:
    calls = [Query("a", "Check", {"n": "1"}), Query("a", "Check", {"n": "2"}), Query("a", "Book", {"n": "2"})]
    assert merged(calls) == calls[1:]


@pytest.mark.parametrize(
    ("api", "kind", "expected"),
    [
        ("hotel_book", "Check", False),
        ("hotel_book", "Book", True),
        ("hotel_search", "", False),
        ("ride_book", "", True),
    ],
)
def test_one_table_says_what_writes(api: str, kind: str, expected: bool) -> None:
    assert writes(Api(api, (), frozenset(), ()), kind) is expected


def test_questions_are_linked_by_their_words_and_by_counting(data: Path) -> None:
    train = list(read_dialogues(data / "dialogues_train.jsonl"))
    api = read_api(data / "apis" / "parcel_book.json")
    assert link(SOP["replies"], api, train) == {  # type: ignore[arg-type]
        "ask_name": "SenderName",
        "parcel_ask_day": "Day",
        "parcel_ask_insured": "Insured",
    }
    assert link(SOP["replies"], api, [])["parcel_ask_day"] == "Day"  # type: ignore[arg-type]


def test_the_pack_loads_and_has_the_procedures_shape(data: Path, tmp_path: Path) -> None:
    convert(data, list(read_dialogues(data / "dialogues_train.jsonl")), tmp_path / PACK)
    pack = load_pack(tmp_path / PACK)
    flow = pack.flows["parcel_book"]
    assert [node.id for node in flow.nodes.values()] == list(flow.nodes)
    assert flow.start == "ask_name"
    assert pack.tools["parcel_book"].tool_class == "idempotent"
    assert pack.slots["parcel_book__Insured"].type == "boolean"
    assert pack.policies.consent == "customer_confirms"
    assert "{parcel_book_out.Courier}" in flow.nodes["parcel_inform_booked"].text["en"]


def test_the_customer_says_only_what_the_real_one_said(data: Path) -> None:
    [dialogue] = read_dialogues(data / "dialogues_dev.jsonl")
    script = Script(dialogue, {"other_question": "SenderName", "nothing": "Weight"}, books=True)
    assert script.opening() == "I need a parcel fetched"
    assert script.opening() is None
    assert script.answer("parcel_ask_day") == "Friday"
    assert script.answer("other_question") == "My name is Kim"
    assert script.answer("nothing") == DONT_REMEMBER
    assert script.confirm() == "yes"


def test_a_call_is_the_recorded_one_by_its_required_parameters(data: Path) -> None:
    api = read_api(data / "apis" / "parcel_book.json")
    gold = Query("parcel_book", "", {"SenderName": "kim", "Day": "friday", "Insured": "yes"})
    assert same(gold, Call("parcel_book", "", {"SenderName": "kim", "Day": "friday"}, "e", False), api)
    assert not same(gold, Call("parcel_book", "", {"SenderName": "kim", "Day": "monday"}, "e", False), api)


def settings(folder: Path) -> Settings:
    return Settings(home=folder / "home", packs=folder / "packs", http_port=None)


@pytest.mark.asyncio
async def test_the_tiny_dialogue_runs_through_the_platform(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("STAR_TOOLS_URL", "")
    figures = await run(settings(tmp_path), data, "dev", 1, [])
    assert figures["by_task"]["parcel_book"] == {
        "dialogues": 1,
        "success_rate": 1.0,
        "unsafe_calls": 0,
        "turns_mean": 5.0,
    }


if (STAR / "dialogues_dev.jsonl").exists():

    @pytest.mark.asyncio
    async def test_star_itself(tmp_path: Path, monkeypatch: Any) -> None:
        """Four procedures of different shape, each with a success; only where the data is (TANDEM_STAR_DATA)."""
        monkeypatch.setenv("STAR_TOOLS_URL", "")
        tasks = ["bank_balance", "bank_fraud_report", "party_rsvp", "ride_status"]
        figures = await run(settings(tmp_path), STAR, "dev", 24, tasks)
        assert figures["unsafe_calls"] == 0
        assert {task for task, row in figures["by_task"].items() if row["success_rate"] > 0} == set(tasks)


def test_dialogues_are_taken_in_turn_over_the_tasks(data: Path) -> None:
    [one] = read_dialogues(data / "dialogues_dev.jsonl")
    assert choose([one, one], {"parcel_book"}, 1) == [one]
    assert choose([one], {"other"}, 5) == []
