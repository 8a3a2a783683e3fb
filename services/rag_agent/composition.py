"""From passages to an answer: by extraction, or by a model whose every citation is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from pydantic import Field
from pydantic_core import from_json

from services.rag_agent.grounds import OVERLAP, Grounds, is_number
from services.rag_agent.ranking import Ranked, telling_terms
from tandem.asking import Output, Question, Unfit, typed
from tandem.contracts.customer import CitationPart
from tandem.contracts.tasks import Answer, AnswerQuestion
from tandem.packs.model import Pack
from tandem.prompts import Data, Inputs, as_written, load
from tandem.text import sentences, terms

MAX_ANSWER = 900
"""Characters of an extracted answer."""

MAX_WRITTEN = 2_000
"""Characters of a model's answer."""

MAX_QUOTE = 200
MAX_GIVEN = 4_000
"""Characters of a passage that a model is given; of a longer one, its best window."""

MAX_CITED = 3

_FENCE = re.compile(r"^\s*(```|~~~)")
_ITEM = re.compile(r"^(\s*([-*+]|\d+[.)])\s|\s{2,}\S)")  # a list's item, or what belongs to one


class AnswerInputs(Inputs):
    """What is asked, and the passages, numbered. `style` is the pack's."""

    language: str
    style: str
    question: Data
    passages: Data


class Grounded(Output):
    """What a model answers from the passages. Citations before the text: each sentence can be checked once it is written."""

    supported: bool
    citations: tuple[int, ...] = Field(max_length=MAX_CITED)
    text: str = Field(max_length=MAX_WRITTEN)


ANSWER = load(Path(__file__).parent, "answer", AnswerInputs)


def extract(question: str, ranked: Sequence[Ranked]) -> Answer:
    """The best section, in its own words: whole if it is short, else its most telling blocks in their order.

    When another has more support, and it came first only for its heading, both are told if there is room.
    """
    best = ranked[0]
    told = [(best, _shortened(best.passage.text, question))]
    for other in ranked[1:2]:
        fits = len(told[0][1]) + len(other.passage.text) + 2 <= MAX_ANSWER
        if other.support > best.support and fits:
            told.append((other, other.passage.text))
    return Answer(
        text="\n\n".join(text for _, text in told),
        citations=tuple(citation(number, one, text) for number, (one, text) in enumerate(told, 1)),
        supported=True,
        confidence=round(max(one.support for one, _ in told), 3),
    )


def _shortened(text: str, question: str) -> str:
    if len(text) <= MAX_ANSWER:
        return text
    asked = telling_terms(question)
    parts = list(blocks(text))
    order = sorted(range(len(parts)), key=lambda i: (-len(asked & set(terms(parts[i]))), i))
    kept: set[int] = set()
    size = 0
    for i in order:
        if kept and size + len(parts[i]) > MAX_ANSWER:
            continue
        kept.add(i)
        size += len(parts[i]) + 2
    return "\n\n".join(_cut(parts[i]) for i in sorted(kept))


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, tables, lists and code, each whole: a list whose items stand apart is one block, and so is fenced code."""
    block: list[str] = []
    fenced = False
    lines = text.splitlines()
    for number, line in enumerate(lines):
        fenced ^= bool(_FENCE.match(line))
        following = next((later for later in lines[number + 1 :] if later.strip()), "")
        inside = fenced or (block and _ITEM.match(block[-1] or following) and _ITEM.match(following))
        if line.strip() or inside:
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def _cut(block: str) -> str:
    """A block that is too long by itself, up to a line's or a word's end; code stays closed."""
    if len(block) <= MAX_ANSWER:
        return block
    kept = block[:MAX_ANSWER]
    kept = kept[: max(kept.rfind("\n"), kept.rfind(" ") if "\n" not in kept else 0)] or kept
    fence = _FENCE.match(block)
    return f"{kept}\n…\n{fence.group(1)}" if fence else f"{kept} …"


def citation(number: int, ranked: Ranked, text: str) -> CitationPart:
    """Where an answer comes from; `passage` is resolved by the tenant's vectors."""
    passage = ranked.passage
    heading = passage.heading[-1] if passage.heading else ""
    name = f"{passage.title} — {heading}" if heading and heading != passage.title else passage.title
    return CitationPart(
        passage=passage.id,
        title=name,
        url=passage.url,
        quote=_quote(passage.text, text),
        text=f"[{number}] {name}",
    )


def _quote(passage: str, answer: str) -> str:
    """The sentence of the passage that the answer says most of, as it stands there."""
    said = set(terms(answer))
    best = max(sentences(passage), key=lambda sentence: len(said & set(terms(sentence))), default="")
    return best if len(best) <= MAX_QUOTE else best[:MAX_QUOTE].rsplit(" ", 1)[0]


def question(task: AnswerQuestion, pack: Pack, ranked: Sequence[Ranked]) -> Question[AnswerInputs, Answer]:
    """Ask a model for an answer from these passages."""
    inputs = _inputs(task, pack, ranked)
    reader = partial(read, question=task.question, ranked=ranked, told=_told(inputs))
    return Question(ANSWER, inputs, Grounded.shape(), reader)


def _inputs(task: AnswerQuestion, pack: Pack, ranked: Sequence[Ranked]) -> AnswerInputs:
    passages = [
        {
            "number": number,
            "title": " > ".join((one.passage.title, *one.passage.heading)),
            "text": one.passage.text if len(one.passage.text) <= MAX_GIVEN else one.window,
        }
        for number, one in enumerate(ranked, 1)
    ]
    return AnswerInputs(
        language=task.language,
        style=pack.say(pack.reply_style, task.language) if pack.reply_style else "",
        question=task.question,
        passages=json.dumps(passages, ensure_ascii=False),
    )


def read(text: str, question: str, ranked: Sequence[Ranked], told: str = "") -> Answer:
    """The model's answer, if what it cites was given to it and says it. `told`: what the model alone is told. Raises Unfit."""
    said = typed(Grounded)(text)
    if not said.supported:
        if said.text.strip():  # a small model may well write the answer and deny it
            raise Unfit("supported: false has an empty text; if a passage answers the question, say true and cite it")
        return Answer()
    written, cited = as_written(said.text).strip(), _cited(said.citations, ranked)
    if not written:
        raise Unfit("text: empty, though supported")
    grounds = Grounds(question, cited, told)
    for number, shared in zip(dict.fromkeys(said.citations), grounds.shared(written), strict=True):
        if shared < OVERLAP:
            raise Unfit(f"citations: the text says nothing of passage {number}")
    grounds.check(written)
    citations = tuple(citation(number, one, written) for number, one in enumerate(cited, 1))
    support = max(one.support for one in cited)
    return Answer(text=written, citations=citations, supported=True, confidence=round(support, 3))


@dataclass(slots=True)
class Telling:
    """What of an answer can be told while a model writes it: sentences that pass the checks of the whole answer."""

    question: str
    ranked: Sequence[Ranked]
    told: str
    text: str = ""
    _grounds: Grounds | None = None
    _over: bool = False

    def hear(self, written: str) -> bool:
        """All that is written so far; true when there is more to tell."""
        if self._over:
            return False
        try:
            said = from_json(written, allow_partial="trailing-strings")
            if not isinstance(said, dict) or said.get("supported") is not True or next(reversed(said)) != "text":
                return False  # of a text before its citations nothing can be said
            if self._grounds is None:
                cited = _cited([int(number) for number in said.get("citations", ())], self.ranked)
                self._grounds = Grounds(self.question, cited, self.told)
            text = as_written(str(said["text"])).lstrip()
        except (ValueError, TypeError):  # not yet, or never, what was asked for
            return False
        if not text.startswith(self.text) or not self._grow(text, self._grounds):
            return False  # another attempt, or nothing new
        return max(self._grounds.shared(self.text)) >= OVERLAP

    def _grow(self, text: str, grounds: Grounds) -> bool:
        """Take in the whole sentences up to the first that does not pass."""
        before = at = len(self.text)
        for sentence, _ in pairwise(sentences(text[before:])):  # the last one may go on
            at = text.index(sentence, at) + len(sentence)
            if is_number(sentence):
                continue  # a number's item comes after it
            try:
                grounds.check(text[:at])
            except Unfit:
                self._over = True
                break
            self.text = text[:at]
        return len(self.text) > before


def telling(task: AnswerQuestion, pack: Pack, ranked: Sequence[Ranked]) -> Telling:
    """For the answer to `question` of the same passages."""
    return Telling(task.question, ranked, _told(_inputs(task, pack, ranked)))


def _told(inputs: AnswerInputs) -> str:
    system, _ = ANSWER.render(inputs)
    return system


def _cited(numbers: Sequence[int], ranked: Sequence[Ranked]) -> list[Ranked]:
    """The passages of these numbers. Raises Unfit if there is none, or one of them was not given."""
    if not numbers or not all(1 <= number <= len(ranked) for number in numbers):
        raise Unfit(f"citations: name the passages used, by their numbers from 1 to {len(ranked)}")
    return [ranked[number - 1] for number in dict.fromkeys(numbers)]
