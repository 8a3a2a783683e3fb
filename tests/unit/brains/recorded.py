"""Recorded dialogues of two made-up desks, and vectors without an encoder."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from tandem.brains.learning.moments import Moment
from tandem.brains.values import Api, Parameter, Procedure, Situation, Step, Turn, Vectors

DAYS = ("Monday", "Friday")
CITIES = ("Oslo", "Rome", "Lima")
PARCEL = Procedure(
    "parcel_book",
    (
        Step("hello", "close", "Hello!"),
        Step("parcel_ask_day", "ask", "Which day shall the parcel be fetched?"),
        Step("parcel_told", "reply", "The parcel is fetched on {day:s}."),
        Step("out_of_scope", "reject", "Sorry? I can only send parcels."),
        Step("parcel_book", "call", "look up parcel book", "parcel_book"),
    ),
    {"hello": "parcel_ask_day", "parcel_ask_day": "query", "query": "parcel_told"},
    Api("parcel_book", (Parameter("Day", "choice", DAYS, "Day", True),), ("Message",)),
    "Sorry? I can only send parcels.",
)
SKY = Procedure(
    "sky_look",
    (
        Step("hello", "close", "Hello!"),
        Step("sky_ask_city", "ask", "For which city do you want the forecast?"),
        Step("sky_told", "reply", "The sky over {city:s} is clear."),
        Step("out_of_scope", "reject", "Sorry? I can only tell of the sky."),
        Step("sky_look", "call", "look up sky look", "sky_look"),
    ),
    {"hello": "sky_ask_city", "sky_ask_city": "query", "query": "sky_told"},
    Api("sky_look", (Parameter("City", "choice", CITIES, "City", True),), ("Sky",)),
    "Sorry? I can only tell of the sky.",
)


def embed(texts: Sequence[str]) -> Vectors:
    """Unit vectors by words: texts that share words are near."""
    found = np.zeros((len(texts), 384), np.float32)
    for row, text in zip(found, texts, strict=True):
        for word in text.lower().split():
            row[zlib.crc32(word.encode()) % 384] += 1
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def dialogues(count: int) -> list[Moment]:
    """Alternately of one desk and the other: opening, question, answer, call, return, reply."""
    found: list[Moment] = []
    for number in range(count):
        one, values, name, opening = (
            (PARCEL, DAYS, "Day", "I want to send a parcel") if number % 2 else (SKY, CITIES, "City", "how is the sky")
        )
        value = values[number // 2 % len(values)]
        ask, told = one.steps[1], one.steps[2]
        turns = [
            Turn("customer", opening),
            Turn("agent", ask.text, ask.name),
            Turn("customer", f"{value} please"),
            Turn("call", api=one.api.name, params={name: f'"{value}"'}),
            Turn("return", item={name: value, "Message": "Done"}),
            Turn("agent", f"It is {value}.", told.name),
        ]
        for at, turn in enumerate(turns):
            if turn.step or turn.who == "call":
                kind = "call" if turn.who == "call" else "ask" if turn.step == ask.name else "reply"
                step, params = turn.api or turn.step, dict(turn.params)
                found.append(Moment(Situation(tuple(turns[:at])), number, one.name, kind, step, params, turn.text))
    return found
