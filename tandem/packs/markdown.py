"""Markdown documents as sections with stable ids, and sections as windows to be searched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tandem.text import sentences, word_count
from tandem.vectors.base import Passage

WINDOW_WORDS = 140
SLICE = 280
"""Characters of a slice of a sentence longer than a window: CJK text has about two to a word."""

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*(?:\{\s*(?:#([\w.-]+))?[^{}]*\})?\s*#*$")
"""Depth, words, anchor of `## Words {#anchor .class}`."""

_FENCE = re.compile(r"^\s*(```|~~~)")
_FRONT = re.compile(r"\A\ufeff?---\n(.*?)\n---\n", re.DOTALL)
_URL = re.compile(r"^url:\s*[\"']?(https?://[^\s\"']+)", re.MULTILINE)
_NOT_SLUG = re.compile(r"[^\w]+", re.UNICODE)


def slug(heading: str) -> str:
    """A heading as an anchor."""
    return _NOT_SLUG.sub("-", heading.lower()).strip("-")


def sections(doc: str, text: str) -> list[Passage]:
    """The sections in order; a heading without a text of its own has none.

    Tables, lists, code and links stay as they are. A heading's `{#anchor}` names its section, else its words do. Front matter
    may give the document's `url`, which the sections' citations then carry.
    """
    url, text = _without_front(text)
    title = next((match.group(2) for match in _headings(text) if match.group(2)), Path(doc).stem)
    found: list[Passage] = []
    used: dict[str, int] = {}
    path: list[tuple[int, str]] = []
    anchor, lines = "", list[str]()

    def close() -> None:
        body = "\n".join(lines).strip()
        if body:
            heading = tuple(name for _, name in path)
            link = f"{url}#{anchor}" if url and anchor else url
            found.append(
                Passage(id=f"{doc}#{anchor}", doc=doc, title=title, heading=heading, anchor=anchor, url=link, text=body)
            )

    fenced = False
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        match = None if fenced else _HEADING.match(line)
        if match is None:
            lines.append(line)
            continue
        close()
        lines = []
        level, name = len(match.group(1)), match.group(2) or title
        path = [*((depth, known) for depth, known in path if depth < level), (level, name)]
        anchor = _unique(match.group(3) or slug(name), used)
    close()
    return found


def folded(passages: Sequence[Passage]) -> list[Passage]:
    """Each text once, at its first place, which knows the others: versions of a page repeat most of their sections."""
    places: dict[tuple[str, ...], list[Passage]] = {}
    for passage in passages:
        places.setdefault((passage.title, *passage.heading[-1:], " ".join(passage.text.split())), []).append(passage)
    return [
        first if not rest else first.model_copy(update={"also": tuple(one.id for one in rest)})
        for first, *rest in places.values()
    ]


def windows(passage: Passage) -> list[str]:
    """The section in pieces of about WINDOW_WORDS words, cut between lines and, in a long line, between sentences; each
    under its headings."""
    head = " > ".join(dict.fromkeys((passage.title, *passage.heading)))
    pieces: list[str] = []
    piece: list[str] = []
    size = 0
    for line in _lines(passage.text):
        words = word_count(line)
        if piece and size + words > WINDOW_WORDS:
            pieces.append("\n".join(piece))
            piece, size = [], 0
        piece.append(line)
        size += words
    pieces.append("\n".join(piece))
    return [f"{head}\n{piece.strip()}" for piece in pieces if piece.strip()]


def _lines(text: str) -> Iterator[str]:
    """Lines; of one that is longer than a window, its sentences; of one that is still longer, slices."""
    for line in text.splitlines():
        if word_count(line) <= WINDOW_WORDS:
            yield line
            continue
        for sentence in sentences(line):
            if word_count(sentence) <= WINDOW_WORDS:
                yield sentence
            else:
                yield from (sentence[i : i + SLICE] for i in range(0, len(sentence), SLICE))


def _without_front(text: str) -> tuple[str | None, str]:
    """The document's URL, if its front matter has one, and the text below the front matter."""
    front = _FRONT.match(text)
    if front is None:
        return None, text.removeprefix("\ufeff")
    url = _URL.search(front.group(1))
    return (url.group(1) if url else None), text[front.end() :]


def _headings(text: str) -> Iterator[re.Match[str]]:
    fenced = False
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        match = None if fenced else _HEADING.match(line)
        if match:
            yield match


def _unique(anchor: str, used: dict[str, int]) -> str:
    used[anchor] = used.get(anchor, 0) + 1
    return anchor if used[anchor] == 1 else f"{anchor}-{used[anchor]}"
