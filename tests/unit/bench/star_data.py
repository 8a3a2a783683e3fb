"""A tiny folder in STAR's format, of our own text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SOP: dict[str, Any] = {
    "task": "parcel_book",
    "replies": {
        "hello": "Hello!",
        "ask_name": "Who is it for?",
        "parcel_ask_day": "Which day shall it be fetched?",
        "parcel_ask_insured": "Shall it be insured?",
        "parcel_inform_options": "I can also look for a certain courier.",
        "parcel_unavailable": "No courier is free on {day:s}.",
        "parcel_offer": "There is a courier on {day:s}. Shall I book it?",
        "parcel_inform_booked": "It is booked.",
        "parcel_inform_nothing_found": "The booking failed.",
        "anything_else": "Anything else?",
        "out_of_scope": "Sorry? I am only able to help you send a parcel.",
        "query_check": "Query check",
        "query_book": "Query book",
        "available": "Available",
        "unavailable": "Unavailable",
        "yes": "Yes",
        "no": "No",
    },
    "graph": {
        "hello": "ask_name",
        "ask_name": "parcel_ask_day",
        "parcel_ask_day": "parcel_ask_insured",
        "parcel_ask_insured": "parcel_inform_options",
        "parcel_inform_options": "query_check",
        "available": "parcel_offer",
        "unavailable": "parcel_unavailable",
        "yes": "query_book",
        "no": "parcel_ask_day",
        "query_book": "parcel_inform_booked",
        "parcel_inform_booked": "anything_else",
    },
}
API: dict[str, Any] = {
    "input": [
        {"Name": "SenderName", "Type": "ShortString", "ReadableName": "Sender Name"},
        {"Name": "Day", "Type": "Categorical", "Categories": ["Monday", "Friday"], "ReadableName": "Day"},
        {"Name": "Insured", "Type": "Categorical", "Categories": ["Yes", "No"], "ReadableName": "Insured"},
        {"Name": "Courier", "Type": "Categorical", "Categories": ["Blue Van", "Red Van"], "ReadableName": "Courier"},
        {"Name": "RequestType", "Type": "RequestType", "Categories": ["Check", "Book"], "ReadableName": "Request"},
    ],
    "output": [{"Name": "Message"}, {"Name": "Reference"}],
    "required": ["SenderName", "Day", "RequestType"],
}
FREE = {"Message": "A courier is free."}
BUSY = {"Message": "All couriers are busy."}
BOOKED = {"Message": "Booked.", "Reference": "R-7"}


def asks(label: str, answer: str) -> list[dict[str, Any]]:
    picked = {"Agent": "Wizard", "Action": "pick_suggestion", "ActionLabel": label, "Text": "?"}
    return [picked, says(answer)]


def says(text: str) -> dict[str, Any]:
    return {"Agent": "User", "Action": "utter", "Text": text}


def calls(kind: str, item: dict[str, Any], **params: str) -> list[dict[str, Any]]:
    constraints = [{name: f'api.is_equal_to("{value}")'} for name, value in {**params, "RequestType": kind}.items()]
    query = {"Agent": "Wizard", "Action": "query", "APIName": "parcel_book", "Constraints": constraints}
    item = {"APIName": "parcel_book", **item}
    return [query, {"Agent": "KnowledgeBase", "Action": "return_item", "Item": item}]


def events() -> list[dict[str, Any]]:
    """Booked at the second try."""
    given = {"SenderName": "Kim", "Insured": "Yes"}
    return [
        says("Hello"),
        says("I need a parcel fetched please"),
        *asks("ask_name", "My name is Kim"),
        *asks("parcel_ask_day", "Monday, if you can"),
        *asks("parcel_ask_insured", "yes"),
        *calls("Check", BUSY, Day="Monday", **given),
        *asks("parcel_unavailable", "Then Friday"),
        *calls("Check", FREE, Day="Friday", **given),
        *asks("parcel_offer", "Yes, go ahead"),
        *calls("Book", BOOKED, Day="Friday", **given),
        *asks("parcel_inform_booked", "Thank you"),
    ]


def write(folder: Path) -> Path:
    (folder / "sop" / "parcel_book").mkdir(parents=True)
    (folder / "apis").mkdir()
    (folder / "sop" / "parcel_book" / "parcel_book.json").write_text(json.dumps(SOP))
    (folder / "apis" / "parcel_book.json").write_text(json.dumps(API))
    for split, count in (("train", 6), ("dev", 1)):
        scenario = {"WizardCapabilities": [{"Task": "parcel_book"}]}
        lines = [{"DialogueID": n, "Kind": "happy", "Scenario": scenario, "Events": events()} for n in range(count)]
        (folder / f"dialogues_{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
