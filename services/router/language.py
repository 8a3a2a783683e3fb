"""Which language a message is in: by script, then by function words."""

from __future__ import annotations

import re

UNKNOWN = "und"
"""BCP 47 for "undetermined": an id, a number or an address alone is in no language."""

_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_FUNCTION_WORDS = {
    "en": "the a an is are was to of and my i you it can not how what in on for please with have this that do yes no hello",
    "de": "der die das ich nicht ist und ein eine mein wie zu mit auf bitte kann habe wir es sind",
    "fr": "le la les je ne pas est et un une mon comment de du des avec pour vous nous suis ai bonjour",
    "es": "el la los las yo no es y un una mi como de con para por que tengo puedo hola está",
    "pt": "o os as eu não é e um uma meu como de com para por que tenho posso olá está",
    "it": "il lo gli io non è e un una mio come di con per che ho posso ciao sono",
}
_BY_WORD: dict[str, tuple[str, ...]] = {}
for _language, _text in _FUNCTION_WORDS.items():
    for _item in _text.split():
        _BY_WORD[_item] = (*_BY_WORD.get(_item, ()), _language)


def detect_language(text: str, default: str) -> str:
    """A language code. `default` for Latin words that tell nothing, UNKNOWN if there are no words."""
    if _NOT_ASCII.search(text):
        for language, script in _SCRIPTS:
            if script.search(text):
                return language
    found = _WORD.findall(text.lower())
    if not found:
        return UNKNOWN
    votes: dict[str, int] = {}
    for word in found[:60]:
        for language in _BY_WORD.get(word, ()):
            votes[language] = votes.get(language, 0) + 1
    if not votes:
        return default if any(len(word) > 2 for word in found) else UNKNOWN
    best = max(votes.values())
    leaders = [language for language, count in votes.items() if count == best]
    return default if default in leaders else leaders[0]
