"""Markdown documents as sections with stable ids, and sections as windows to be searched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tandem.text import word_count
from tandem.vectors.base import Passage

WINDOW_WORDS = 140

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*(?:\{#([\w.-]+)\})?\s*#*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_NOT_SLUG = re.compile(r"[^\w]+", re.UNICODE)


def slug(heading: str) -> str:
    """A heading as an anchor."""
    return _NOT_SLUG.sub("-", heading.lower()).strip("-")


def read_sections(folder: Path, path: Path) -> list[Passage]:
    """The sections of one document, in order; a heading without a text of its own has none."""
    doc = path.relative_to(folder).as_posix()
    return sections(doc, path.read_text(encoding="utf-8"))


def sections(doc: str, text: str) -> list[Passage]:
    """Tables, lists, code and links stay as they are. A heading's `{#anchor}` names its section, else its words do."""
    title = next((match.group(2) for match in _headings(text) if match.group(2)), Path(doc).stem)
    found: list[Passage] = []
    used: dict[str, int] = {}
    path: list[tuple[int, str]] = []
    anchor, lines = "", list[str]()

    def close() -> None:
        body = "\n".join(lines).strip()
        if body:
            heading = tuple(name for _, name in path)
            found.append(Passage(id=f"{doc}#{anchor}", doc=doc, title=title, heading=heading, anchor=anchor, text=body))

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


def windows(passage: Passage) -> list[str]:
    """The section in pieces of about WINDOW_WORDS words, cut between paragraphs and lines, each under its headings."""
    head = " > ".join(dict.fromkeys((passage.title, *passage.heading)))
    pieces: list[str] = []
    piece: list[str] = []
    size = 0
    for block in passage.text.splitlines():
        words = word_count(block)
        if piece and size + words > WINDOW_WORDS:
            pieces.append("\n".join(piece))
            piece, size = [], 0
        piece.append(block)
        size += words
    pieces.append("\n".join(piece))
    return [f"{head}\n{piece.strip()}" for piece in pieces if piece.strip()]


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
