"""What a numbered sentence is made of: clauses, actions, names in backticks, words in quotes."""

from __future__ import annotations

import re
from collections.abc import Callable

FORMS = """\
Forms of an action, joined by `, then`, `and` or `;`:
  ask for `slot` and `slot` | ask for `slot` or `slot` | ask for `slot` again
  ask which …, of `list` by `field`, which gives the `fact` | ask whether … (`fact`)
  … `tool` (`parameter` is `value`), which gives the `fact` | … with the program `program` (…)
  ask consent: "…" | an expert must approve it
  say … : "…" | tell … : "…" | look in the knowledge
  hand over to GROUP: "…" | stop | go on | go on with sentence N | try again
Forms of a condition, before a comma and its actions:
  if … (`field` is `value`) | if … (`field` is not known) | if … (`expression`) | unless … (…)
  if it fails | if it fails (`field` is `value`) | if not | if it is not approved | if the customer declines
  if it fails three times | the third time | after three times | otherwise | whatever else fails
A clause that begins with `Note:` is not carried out."""

NUMBERS = {
    word: number
    for number, words in enumerate(
        (
            ("once", "one", "first"),
            ("twice", "two", "second"),
            ("three", "third"),
            ("four", "fourth"),
            ("five", "fifth"),
            ("six", "sixth"),
        ),
        1,
    )
    for word in words
}

_PROTECTED = re.compile(r'"[^"]*"|`[^`]*`|\((?:`[^`]*`|"[^"]*"|[^()`"])*\)')
_CLAUSE = re.compile(r";\s+|\.\s+(?=[A-Z])")
_JOINT = re.compile(r",? and then |,? then |,? and |, ")
_PARENS = re.compile(r'\(((?:`[^`]*`|"[^"]*"|[^()`"])*)\)')
_TICKS = re.compile(r"`([^`]+)`")
_QUOTED = re.compile(r'"([^"]*)"')


class Mistake(ValueError):
    """A sentence that is not in the controlled language: which one, and what is possible there."""

    def __init__(self, sentence: int, text: str) -> None:
        super().__init__(text)
        self.sentence = sentence
        self.text = text

    def __str__(self) -> str:
        return f"sentence {self.sentence}: {self.text}"


def clauses(sentence: str) -> list[str]:
    """The clauses between `;` and full stops, without notes."""
    found = [piece.strip().rstrip(".").strip() for piece in _cut(sentence, _CLAUSE)]
    return [clause for clause in found if clause and not clause.lower().startswith("note:")]


def actions(clause: str, begins: Callable[[str], bool]) -> list[str]:
    """The clause in pieces: at each "then", and where another piece `begins` an action. What begins none goes on with the
    one before."""
    pieces: list[str] = []
    start = 0
    for joint in _JOINT.finditer(_masked(clause)):
        if "then" in joint.group() or begins(_piece(clause, joint.end())):
            pieces.append(clause[start : joint.start()].strip())
            start = joint.end()
    return [*pieces, clause[start:].strip()]


def head(clause: str) -> tuple[str, str]:
    """A condition and what follows its comma; "or if" goes on with the condition."""
    masked = _masked(clause)
    for comma in re.finditer(r",\s+(?!or if\b|or it\b)", masked):
        return clause[: comma.start()].strip(), clause[comma.end() :].strip()
    return clause, ""


def formal(words: str) -> str | None:
    """What stands in parentheses and names something; None if nothing does."""
    return next((text for text in _PARENS.findall(words) if "`" in text or text.startswith("it fails")), None)


def names(words: str) -> list[str]:
    """Names in backticks, outside of parentheses and quotes."""
    return _TICKS.findall(_QUOTED.sub("", _PARENS.sub("", words)))


def parenthesised(words: str) -> list[str]:
    return list(_PARENS.findall(words))


def quoted(words: str) -> str | None:
    """The words to be said; None if they are not given."""
    found = _QUOTED.search(_PARENS.sub("", words))
    return found.group(1) if found else None


def number(word: str) -> int | None:
    return int(word) if word.isdigit() else NUMBERS.get(word.lower())


def _piece(clause: str, start: int) -> str:
    joint = _JOINT.search(_masked(clause), start)
    return clause[start : joint.start() if joint else len(clause)]


def _cut(text: str, pattern: re.Pattern[str]) -> list[str]:
    pieces, start = [], 0
    for found in pattern.finditer(_masked(text)):
        pieces.append(text[start : found.start()])
        start = found.end()
    return [*pieces, text[start:]]


def _masked(text: str) -> str:
    """The text with everything protected blotted out, at the same positions."""
    return _PROTECTED.sub(lambda found: "\0" * len(found.group()), text)
