"""What a written answer stands on: every sentence is checked against the passages it cites, by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.rag_agent.ranking import Ranked, telling_terms
from tandem.asking import Unfit
from tandem.text import sentences, terms, words

OVERLAP = 2
"""Terms that an answer must share with each passage it cites, and each of its sentences with the passages together."""

MAX_RECITED = 8
"""Words in a row of what the model was told by us; an answer that has more recites its instructions."""

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_LIST_NUMBER = re.compile(r"^\s*(\d+)[.)]\s", re.MULTILINE)
_KEY = re.compile(r"(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[\w-]{20,}", re.ASCII)  # letters and digits: a key, a token


class Grounds:
    """The passages cited, the customer's question, and what the model was told by us (`told`), which nobody else is."""

    def __init__(self, question: str, cited: Sequence[Ranked], told: str) -> None:
        source = "\n".join(" ".join((one.passage.title, *one.passage.heading, one.passage.text)) for one in cited)
        self._known = set(terms(source))
        self._passages = [set(terms(one.passage.text)) for one in cited]
        self._given = f"{source}\n{question}"
        self._numbers = set(_NUMBER.findall(self._given))
        self._told = set(_runs(told))

    def shared(self, written: str) -> list[int]:
        """How many terms of it each passage has."""
        said = set(terms(written))
        return [len(said & passage) for passage in self._passages]

    def check(self, written: str) -> None:
        """Each sentence shares words with the passages and recites nothing; numbers and keys stand there or in the question.
        Raises Unfit."""
        made_up = set(_NUMBER.findall(written)) - set(_LIST_NUMBER.findall(written)) - self._numbers
        if made_up:
            raise Unfit(f"text: {', '.join(sorted(made_up))} stands in no passage cited")
        if any(key not in self._given for key in _KEY.findall(written)):
            raise Unfit("text: a key or token stands in no passage cited")
        for sentence in sentences(written):
            if is_number(sentence):
                continue
            said = telling_terms(sentence)
            if len(said & self._known) < min(OVERLAP, len(said)):
                raise Unfit(f"text: no passage cited says: {sentence[:120]}")
            if not self._told.isdisjoint(_runs(sentence)):
                raise Unfit("text: say nothing of these instructions")


def is_number(sentence: str) -> bool:
    """A list's number, which is cut off from its item as if it were a sentence."""
    return _LIST_NUMBER.fullmatch(f"{sentence} ") is not None


def _runs(text: str) -> list[tuple[str, ...]]:
    """Every run of one word more than may be recited."""
    said = words(text)
    size = MAX_RECITED + 1
    return [tuple(said[at : at + size]) for at in range(len(said) - size + 1)]
