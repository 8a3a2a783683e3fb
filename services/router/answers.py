"""Answers to questions: yes or no, and "the second one". Consent rests on it, so what is doubtful is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.router.spans import Found

_YES = (
    r"yes+|yeah|yea|yep|yup|sure(?: thing)?|ok|okay|of course|certainly|absolutely|definitely|correct"
    r"|exactly|indeed|agreed|affirmative"
    r"|that'?s (?:right|correct|fine|ok(?:ay)?)|sounds (?:good|fine)"
    r"|(?:please )?(?:do(?: it| so| that)?|go ahead|proceed|continue)"
    r"|(?:i )?(?:confirm(?:ed)?|agree|consent|approve)|no problem|fine by me|it (?:does|did|is|was)"
    r"|是的?|对的?|好的?|好啊|行|可以的?|同意|确认|确定|没问题|没错|嗯+|当然|继续吧?|开通?吧|请(?:继续|执行|操作)"
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
_NO_PROBLEM = re.compile(r"\bno problem\b|没问题|没错", re.IGNORECASE)
_LEADS_YES = re.compile(rf"(?:{_YES})(?![a-z'])", re.IGNORECASE)
_LEADS_NO = re.compile(rf"(?:{_NO})(?![a-z'])", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:but|unless|except|wait|first|however|not sure|maybe|later|don'?t|do not|no|not|cancel|stop|instead|if)\b"
    r"|但是?|不过|等等|先|除非|如果|也许|不确定|取消|不",
    re.IGNORECASE,
)
_LONGEST = 200
"""Characters of a message that may still be a yes or no."""

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
    """`yes_no`, at most once. Nothing for a question, a hedge or a contradiction."""
    stripped = text.strip()
    if not stripped or len(stripped) > _LONGEST or stripped.endswith(("?", "？")):
        return
    pure = _pure(stripped)
    if pure is not None:
        yield Found("yes_no", pure, 0, len(text), confidence=0.97)
        return
    for pattern, value in ((_LEADS_YES, True), (_LEADS_NO, False)):
        match = pattern.match(stripped)
        if match and _separate(stripped, match.end()) and not (value and _DOUBT.search(stripped, match.end())):
            yield Found("yes_no", value, 0, match.end(), confidence=0.8)
            return


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


def _separate(text: str, end: int) -> bool:
    """A leading word counts if punctuation, a space and a new clause, or nothing follows."""
    return end >= len(text) or text[end] in ",.!;:，。！；、 "


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
