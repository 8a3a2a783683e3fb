"""What the words of a message tell beside its intent: by rules, the same in every pack."""

from __future__ import annotations

import re
from typing import Literal

from tandem.packs.model import Pack
from tandem.text import word_count

Sentiment = Literal["negative", "neutral", "positive"]
Urgency = Literal["low", "normal", "high"]
Complexity = Literal["simple", "complex"]

_PERSON = (
    r"(?:human|person|people|agent|representative|rep|operator|specialist|expert|advisor|supervisor|manager|technician"
    r"|engineer|colleague|staff member|member of staff)"
)
_REACH = (
    r"(?:speak|talk|chat|connect(?: me)?|transfer(?: me)?|put me through|switch(?: me)?|hand(?: me)? over"
    r"|escalate(?: this| me)?|get me)"
)
_HUMAN_FORMS = (
    rf"\b{_REACH}\s+(?:to|with|over to)?\s*(?:an?|the|some|your|another|any)?\s*(?:\w+\s+){{0,2}}{_PERSON}s?\b",
    r"\b(?:want|need|get|give me|like|prefer|is there)\s+(?:to (?:have|see|reach) )?(?:an?|some|the)\s+"
    rf"(?:real |actual |live |human ){{0,2}}{_PERSON}\b",
    r"\b(?:real|actual|live) (?:person|human|agent|people)\b",
    r"\bhuman (?:agent|support|help|being|operator|please)\b",
    r"\bsomeone (?:real|human)\b",
    r"\b(?:speak|talk) (?:to|with) (?:someone|somebody)\b",
    r"\bcustomer service rep",
    r"^\W*(?:human|agent|operator|representative)\W*(?:please\W*)?$",
    r"\b(?:stop|enough).{0,20}\b(?:bot|robot|machine)\b",
    r"\bnot (?:a |with a )?(?:bot|robot|machine)\b",
    r"转人工|人工(?:客服|服务|坐席)?(?=$|[\s，。！,!.])|人工客服|真人",
    r"找(?:个)?(?:人|客服|工程师|专家)|(?:和|跟|让)(?:真人|客服|工程师)",
)
_HUMAN = re.compile("|".join(_HUMAN_FORMS), re.IGNORECASE)
_NO_HUMAN = re.compile(
    r"\b(?:don'?t|do not|no need|without|rather not|instead of)\b.{0,30}\b(?:human|person|agent|someone)\b"
    r"|不(?:要|用|需要).{0,4}(?:人工|真人)",
    re.IGNORECASE,
)
_URGENT = re.compile(
    r"\b(?:urgent(?:ly)?|asap|as soon as possible|immediately|right now|emergency|critical|outage|deadline"
    r"|production (?:is |system )?down|losing (?:money|customers|orders)|can'?t wait|at once|p0|sev ?1)\b"
    r"|紧急|马上|立刻|尽快|赶紧|急用|非常急|很急|(?<!不)着急|生产环境",
    re.IGNORECASE,
)
_NOT_URGENT = re.compile(
    r"\b(?:no (?:rush|hurry)|not urgent|whenever you|when you have time|just (?:curious|wondering))\b"
    r"|不急|不着急|有空",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(?:angry|annoy(?:ed|ing)|terrible|awful|horrible|ridiculous|useless|unacceptable|frustrat(?:ed|ing)|furious|disappoint(?:ed|ing)"
    r"|worst|hate|sick of|fed up|nonsense|scam|disgrace|pathetic|waste of time|third time|complain(?:t)?|wtf|damn)\b"
    r"|生气|愤怒|太差|垃圾|失望|投诉|气死|无语|骗|糟糕|烦死|没用|受够",
    re.IGNORECASE,
)
_POSITIVE = re.compile(
    r"\b(?:thank(?:s| you)|great|perfect|awesome|excellent|love|wonderful|appreciate|amazing|helpful|brilliant)\b"
    r"|谢谢|感谢|太好了|很好|不错|满意|给力|棒",
    re.IGNORECASE,
)
_JOINED = re.compile(
    r"\b(?:and (?:also|then|after that)|also|additionally|besides|another (?:thing|question)|first(?:ly)?\b.{0,200}\bthen"
    r"|as well as|both)\b"
    r"|另外|还有|同时|然后|并且|顺便|以及",
    re.IGNORECASE | re.DOTALL,
)
_QUESTIONS = re.compile(r"[?？]")
_LONG = 60
_SHOUTED = 12
"""Letters of a message all in capitals that count as shouting."""

WANTS_HUMAN = 0.95
WANTS_NO_HUMAN = 0.1


class Signals:
    """A pack's own words for a person beside the general ones."""

    def __init__(self, pack: Pack) -> None:
        own = [pattern for patterns in pack.human_patterns.values() for pattern in patterns]
        self._own = re.compile("|".join(f"(?:{pattern})" for pattern in own), re.IGNORECASE) if own else None

    def wants_human(self, text: str) -> float:
        """The probability that the customer asks for a person."""
        if not (_HUMAN.search(text) or (self._own and self._own.search(text))):
            return 0.0
        return WANTS_NO_HUMAN if _NO_HUMAN.search(text) else WANTS_HUMAN


def urgency_of(text: str) -> Urgency:
    if _NOT_URGENT.search(text):
        return "low"
    return "high" if _URGENT.search(text) else "normal"


def sentiment_of(text: str) -> Sentiment:
    if _NEGATIVE.search(text) or _shouts(text):
        return "negative"
    return "positive" if _POSITIVE.search(text) else "neutral"


def complexity_of(text: str) -> Complexity:
    """Complex: more than one question, several matters joined, or a long story."""
    if len(_QUESTIONS.findall(text)) > 1 or (len(text) > 60 and _JOINED.search(text)):
        return "complex"
    return "complex" if len(text) > 200 and word_count(text) > _LONG else "simple"


def _shouts(text: str) -> bool:
    if "!!" in text or "！！" in text:
        return True
    return text.isupper() and sum(char.isascii() and char.isalpha() for char in text) >= _SHOUTED
