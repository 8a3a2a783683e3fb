"""Answers to questions: yes or no, and "the second one". Consent rests on it, so what is doubtful is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.router.spans import Found
from tandem.text import words

YES_NO = "yes_no"

_YES = (
    r"yes+|yeah|yea|yep|yup|sure(?: thing)?|ok|okay|of course|certainly|absolutely|definitely|correct"
    r"|exactly|indeed|agreed|affirmative"
    r"|that'?s (?:right|correct|fine|ok(?:ay)?)|sounds (?:good|fine)"
    r"|(?:please )?(?:do(?: it| so| that)?|go ahead|proceed|continue)"
    r"|(?:i )?(?:confirm(?:ed)?|agree|consent|approve)|no problem|fine by me|it (?:does|did|is|was)"
    r"|是的?|对的?|好的?|好啊|行的?|可以的?|要的?|需要|同意|确认|确定|没问题|没错|嗯+|当然|继续吧?|开通?吧|请(?:继续|执行|操作)"
)
_NO = (
    r"no+|nope|nah|no way|not (?:now|yet|really|today)|never ?mind|(?:please )?(?:don'?t|do not)(?: do (?:it|that|so))?"
    r"|(?:please )?(?:stop|cancel)(?: it| that)?|i (?:don'?t|do not) (?:want|agree|consent)(?: (?:to|that|it))*"
    r"|i(?:'d| would) rather not"
    r"|disagree|refuse|negative|no thanks?(?: you)?|it (?:doesn'?t|didn'?t|isn'?t|wasn'?t)"
    r"|不是的?|不用了?|不要了?|不行|不可以|不同意|不确认|不对|没有|取消吧?|算了|别|先不要?|否|暂时不用?|不+"
)
_FILLER = (
    r"please|thanks?(?: you)?|thx|ty|now|then|it|that|this|right away|sir|madam|well|oh|ah|um|hmm|i think(?: so)?"
    r"|谢谢|请|吧|啊|呢|了|哦|那|就"
)
_PURE = re.compile(rf"(?:(?P<no>{_NO})|(?P<yes>{_YES})|(?:{_FILLER}))(?![a-z'])", re.IGNORECASE)
_GAP = re.compile(r"[\s,.!;:，。！；、~()\-…👍🙏😊]+")
_NO_PROBLEM = re.compile(r"\bno problem\b|没有?问题|没错", re.IGNORECASE)
_LEAD = re.compile(rf"(?:(?P<no>{_NO})|(?P<yes>{_YES}))(?![a-z'])", re.IGNORECASE)
_PLAIN = re.compile(
    r"(?:no+|nope|nah|yes+|yeah|yea|yep|yup|sure|ok|okay|of course|certainly|absolutely|definitely|go ahead)$",
    re.IGNORECASE,
)
"""Words that are an answer even with no comma after them."""

_NEW_CLAUSE = ",.!;:，。！；、"
_DENIES = re.compile(
    r"\s+(?:i|we|it|that|this|leave|keep|don'?t|do not|need|please|stop|cancel|not|thanks?|thank you)\b", re.IGNORECASE
)
"""What follows a "no" that is an answer; another word makes it that word's ("no idea", "no money")."""

_ASKS = re.compile(
    r"\W*(?:(?:so|and|but|then|now)\s+)*(?:how|what|which|where|when|who|why|can|could|do|does|is|are|will|would|should)\b",
    re.IGNORECASE,
)
_ZH_ASKS = re.compile(r"怎么|怎样|什么|哪|吗|多少|如何|为何|几")
_DOUBT = re.compile(
    r"\b(?:but|unless|except|wait|first|however|not sure|maybe|later|don'?t|do not|no|not|cancel|stop|instead|if)\b"
    r"|但是?|不过|等等|先|除非|如果|也许|不确定|取消|不",
    re.IGNORECASE,
)
_AGREES = re.compile(r"\b(?:yes|yeah|yep|ok|okay|sure|go ahead|please do)\b|是的|好的|可以|同意", re.IGNORECASE)
_LONGEST = 200
"""Characters of a message that may still be a yes or no."""

PURE = 0.97
LED = 0.8
INCIDENTAL = 0.35
"""Below what counts as consent: a yes or no in front of something else."""

_MANY_WORDS = 14

_ORDINALS = {
    **dict.fromkeys(("first", "1st", "former"), 1),
    **dict.fromkeys(("second", "2nd", "latter"), 2),
    **dict.fromkeys(("third", "3rd"), 3),
    **dict.fromkeys(("fourth", "4th"), 4),
    **dict.fromkeys(("fifth", "5th"), 5),
    "last": -1,
}
_ZH_ORDINALS = {"一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5}
_WHICH = "|".join(_ORDINALS)
_ORDINAL = re.compile(
    rf"\bthe ({_WHICH})\b(?! (?:name|time|week|month|year|night|digits?|step))"
    rf"|\b({_WHICH}) (?:one|option|choice|item|order|entry)\b|^\s*({_WHICH})\W*$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"\b(?:option|number|no\.|choice|item|#)\s*([1-9])(?![\d.])|(?<!\w)#([1-9])(?!\d)", re.IGNORECASE
)
_ZH_ORDINAL = re.compile(r"第([一二两三四五1-9])[个项条单]?|最后[一]?[个项条单]?|选(?:项)?([一二三四五1-9])")


def find_yes_no(text: str) -> Iterator[Found]:
    """`yes_no`, at most once: sure if the message says no more, less so the more it says. Nothing for a question, a hedge or
    a contradiction."""
    stripped = text.strip()
    if not stripped or len(stripped) > _LONGEST or stripped.endswith(("?", "？")):
        return
    pure = _pure(stripped)
    if pure is not None:
        yield Found(YES_NO, pure, 0, len(text), confidence=PURE)
        return
    lead = _LEAD.match(stripped)
    confidence = _led(lead, stripped[lead.end() :]) if lead else 0.0
    if lead and confidence:
        yield Found(YES_NO, lead.lastgroup == "yes", 0, lead.end(), confidence=confidence)


def _led(lead: re.Match[str], rest: str) -> float:
    """How surely a message that begins with a yes or no, and goes on, is that answer; 0 if it contradicts itself."""
    yes, clause = lead.lastgroup == "yes", rest[0] in _NEW_CLAUSE
    if not clause and not (rest[0] == " " and _PLAIN.match(lead.group())):
        return 0.0
    if (_DOUBT if yes else _AGREES).search(rest):
        return 0.0
    if _ASKS.match(rest) or _ZH_ASKS.search(rest) or len(words(rest)) > _MANY_WORDS:
        return INCIDENTAL
    return LED if clause or yes or _DENIES.match(rest) else INCIDENTAL


_DONT_KNOW = re.compile(
    r"\b(?:i )?(?:don'?t|do not|can'?t|cannot|can not|couldn'?t) (?:(?:seem to|really|actually|quite|even) )*"
    r"(?:know|remember|recall|have (?:it|one|that)|find it)\b|\bno idea\b"
    r"|\bi(?:'ve| have)? forg(?:o|e)t(?:ten)? (?:it|that)\b|不知道|不记得|忘了|想不起来",
    re.IGNORECASE,
)


def find_dont_know(text: str) -> Iterator[Found]:
    """`dont_know`: the customer cannot give what was asked for."""
    if len(text) <= _LONGEST and (match := _DONT_KNOW.search(text)):
        yield Found("dont_know", True, match.start(), match.end(), confidence=0.9)


def _pure(text: str) -> bool | None:
    """True or False if the message says only that, in any number of words; None otherwise."""
    said: set[bool] = set()
    text = _NO_PROBLEM.sub("yes", text)
    at = 0
    while at < len(text):
        if gap := _GAP.match(text, at):
            at = gap.end()
            continue
        match = _PURE.match(text, at)
        if match is None:
            return None
        if match.lastgroup:
            said.add(match.lastgroup == "yes")
        at = match.end()
    return said.pop() if len(said) == 1 else None


def find_ordinals(text: str) -> Iterator[Found]:
    """`ordinal`: which of the choices, from 1; -1 is the last."""
    for match in _ORDINAL.finditer(text):
        yield Found(
            "ordinal", _ORDINALS[match.group(match.lastindex or 0).lower()], match.start(), match.end(), confidence=0.85
        )
    for match in _NUMBERED.finditer(text):
        yield Found("ordinal", int(match.group(1) or match.group(2)), match.start(), match.end(), confidence=0.9)
    for match in _ZH_ORDINAL.finditer(text):
        raw = match.group(1) or match.group(2)
        value = -1 if raw is None else int(raw) if raw.isdigit() else _ZH_ORDINALS[raw]
        yield Found("ordinal", value, match.start(), match.end(), confidence=0.9)
