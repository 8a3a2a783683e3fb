"""A situation, read once for all models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tandem.brains.values import Situation

_WORD = re.compile(r"[a-z']+|\d+|[?!]")
YES = re.compile(
    r"^\W*(?:yes|yeah|yep|yup|sure|ok|okay|please|correct|right|sounds good|great|perfect|go ahead)\b", re.I
)
NO = re.compile(r"\b(?:no|nope|not|don't|dont|never|nah|nothing)\b", re.IGNORECASE)
THANKS = re.compile(r"\b(?:thank|thanks|thx|bye|goodbye|great day|cheers)\b", re.IGNORECASE)
GREETING = re.compile(r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening|day))\b", re.IGNORECASE)


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("’", "'"))


def plain(value: Any) -> str:
    """A value of a return or of a call, as a short text."""
    return re.sub(r"^api\.\w+\((.*)\)$", r"\1", str(value), flags=re.DOTALL).strip("\"' ")


@dataclass(frozen=True, slots=True)
class Act:
    """Something the agent did."""

    name: str  # the step, the API, or "free" for words of no step
    at: int  # turn
    said: int  # messages of the customer before it


@dataclass(frozen=True)
class State:
    """What of a situation the models look at."""

    situation: Situation

    @cached_property
    def said(self) -> list[str]:
        """By the customer, in order."""
        return [turn.text for turn in self.situation.turns if turn.who == "customer"]

    @cached_property
    def acts(self) -> list[Act]:
        found: list[Act] = []
        count = 0
        for at, turn in enumerate(self.situation.turns):
            count += turn.who == "customer"
            if turn.who in ("agent", "call"):
                found.append(Act(turn.step or turn.api or "free", at, count))
        return found

    @cached_property
    def steps(self) -> list[Act]:
        """What was a step of a procedure or a call."""
        return [act for act in self.acts if act.name != "free"]

    @property
    def last(self) -> str:
        """Who came last: "customer", "agent", "call", "return", or "" at the beginning."""
        return self.situation.turns[-1].who if self.situation.turns else ""

    @cached_property
    def latest(self) -> str:
        """The customer's last words: all messages since the agent's last act, or else before it."""
        turns = self.situation.turns
        end = max((at for at, turn in enumerate(turns) if turn.who == "customer"), default=-1)
        begin = end
        while begin > 0 and turns[begin - 1].who == "customer":
            begin -= 1
        return " ".join(turn.text for turn in turns[begin : end + 1]) if end >= 0 else ""

    @cached_property
    def free(self) -> str:
        """The agent's last words, if they were no step."""
        found: list[str] = []
        for turn in reversed(self.situation.turns):
            if turn.who == "agent" and not turn.step:
                found.append(turn.text)
            elif turn.who in ("agent", "call") or (found and turn.who == "customer"):
                break
        return " ".join(reversed(found))

    @cached_property
    def since(self) -> list[str]:
        """The agent's acts since the customer's last message."""
        return [act.name for act in self.acts if act.said == len(self.said)]

    @cached_property
    def returned(self) -> Mapping[str, Any]:
        """The last return."""
        return next((turn.item for turn in reversed(self.situation.turns) if turn.who == "return"), {})

    @cached_property
    def fresh(self) -> Mapping[str, Any]:
        """The return that came last of all, if one did."""
        return self.returned if self.last == "return" else {}
