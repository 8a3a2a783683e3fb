"""A learned order of what the search found: features of question and passage, trees over them. LightGBM is for training alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.rag_agent.ranking import telling_terms
from tandem.brains.trees import Trees
from tandem.errors import InvalidPack
from tandem.packs.model import Pack
from tandem.text import terms
from tandem.vectors.base import Hit

VERSION = 2
FOLDER = "models"
WORDS, NUMBERS = "reranker.json", "reranker.npz"
BEGINNING = 30
"""Terms of a passage's beginning: an answer often says the question again."""


@dataclass(frozen=True)
class Reranker:
    """Trees whose sum orders the hits of one question. `facts`: its data, figures and date."""

    trees: Trees
    facts: Mapping[str, Any]

    def order(self, question: str, hits: Sequence[Hit], by_meaning: bool) -> list[Hit]:
        """The hits, best first."""
        if not hits:
            return []
        scores = self.trees.predict(features(question, hits, by_meaning))
        return [hits[i] for i in np.argsort(-scores, kind="stable")]


@lru_cache(maxsize=16)
def load(folder: Path, hash: str) -> Reranker | None:
    """The folder's, None if it has none. `hash` names its version: of one version the files are read once."""
    if not (folder / WORDS).exists():
        return None
    body = json.loads((folder / WORDS).read_text(encoding="utf-8"))
    if body["version"] != VERSION:
        raise InvalidPack(
            folder.parent.name, [f"a reranker of version {body['version']}, not {VERSION}: train it again"]
        )
    with np.load(folder / NUMBERS) as archive:
        return Reranker(Trees.of_arrays(archive, "trees"), body["facts"])


def reranker_of(pack: Pack) -> Reranker | None:
    """The pack's own, from its folder `models`; None if it has none. Raises InvalidPack."""
    return load(Path(pack.root) / FOLDER, pack.hash)


def save(folder: Path, reranker: Reranker) -> None:
    """Write it. A reader never sees half of it: the JSON comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / NUMBERS, **reranker.trees.arrays("trees"))  # type: ignore[arg-type]
    draft = folder / f".{WORDS}"
    draft.write_text(json.dumps({"version": VERSION, "facts": dict(reranker.facts)}), encoding="utf-8")
    draft.rename(folder / WORDS)


def features(question: str, hits: Sequence[Hit], by_meaning: bool) -> NDArray[np.float32]:
    """A row for each hit. What a heading is called counts together with its page's title only, so that a heading without
    words is no sign of anything."""
    asked = telling_terms(question)
    found = [_body(hit) for hit in hits]
    rarity = _rarity(asked, [set(one) for one in found])
    covered = [_share(asked, set(body) | _head(hit), rarity) for hit, body in zip(hits, found, strict=True)]
    similar = [hit.similarity if by_meaning else math.nan for hit in hits]
    columns = zip(_standing(hits, covered, similar), hits, found, strict=True)
    return np.array(
        [[*standing, *_wording(question, asked, hit, body, rarity)] for standing, hit, body in columns],
        dtype=np.float32,
    )


def _standing(hits: Sequence[Hit], covered: Sequence[float], similar: Sequence[float]) -> list[list[float]]:
    """Of each hit its place among all, and its page's."""
    top = hits[0].score if hits else 1.0
    nearest, most = np.nanmax([*similar, 0.0]), max(covered, default=0.0)
    pages: dict[str, list[int]] = {}
    for place, hit in enumerate(hits):
        pages.setdefault(hit.passage.doc, []).append(place)
    weights = {doc: sum(hits[place].score for place in places) for doc, places in pages.items()}
    by_words, by_meaning = _places(covered), _places(similar)
    rows = []
    for place, hit in enumerate(hits):
        own = pages[hit.passage.doc]
        rows.append(
            [
                1 / (1 + place),
                hit.score / max(top, 1e-9),
                similar[place],
                similar[place] - float(nearest),
                covered[place],
                covered[place] - most,
                1 / (1 + by_words[place]),
                1 / (1 + by_meaning[place]),
                weights[hit.passage.doc] / max(weights.values()),
                float(len(own)),
                float(own.index(place)),
                max(similar[other] for other in own) - similar[place],
                max(covered[other] for other in own) - covered[place],
            ]
        )
    return rows


def _places(values: Sequence[float]) -> list[int]:
    """Of each value how many are before it; all 0 where nothing is known."""
    return [sum(other > value for other in values) for value in values]


def _wording(
    question: str, asked: frozenset[str], hit: Hit, body: list[str], rarity: Mapping[str, float]
) -> list[float]:
    """How the passage's words go with the question's."""
    head, said = _head(hit), set(body)
    pairs = set(pairwise(terms(question)))
    text = hit.window.partition("\n")[2] or hit.window
    sentences = [set(terms(one)) for one in _SENTENCE.split(text) if one.strip()]
    return [
        _share(asked, head, rarity),
        _share(asked, said, rarity),
        _share(asked, set(body[:BEGINNING]), rarity),
        max((_share(asked, one, rarity) for one in sentences), default=0.0),
        len(pairs & set(pairwise(body))) / max(1, len(pairs)),
        sum(term in asked for term in body) / max(1, len(body)),
        len(asked & head) / max(1, len(head)),
        math.log1p(len(hit.passage.text)),
        math.log1p(len(asked)),
        *(float(kind.search(question) is not None) for kind in _QUESTIONS),
        *(float(kind.search(text) is not None) for kind in _ANSWERS),
    ]


_SENTENCE = re.compile(r"(?<=[.?!。？！])\s*|\n+")
_QUESTIONS = (
    re.compile(r"^\W*how (?:do|can|to|should|would)|如何|怎么|怎样", re.IGNORECASE),
    re.compile(r"^\W*(?:can|is|are|do|does|will|must|may|has|have)\b|[吗么]\W*$|是否|能不能", re.IGNORECASE),
    re.compile(r"\bwhy\b|为什么|原因", re.IGNORECASE),
    re.compile(r"^\W*what\b|什么|哪些", re.IGNORECASE),
)
"""Kinds of questions: how, whether, why, what."""

_ANSWERS = (
    re.compile(r"^\s*\d+[.、]\s", re.MULTILINE),
    re.compile(r"^\W*(?:(?:yes|no|you can|you cannot)\b|可以|不|是|支持)", re.IGNORECASE),
    re.compile(r"\b(?:because|cause|reason|due to)\b|因为|由于|原因", re.IGNORECASE),
    re.compile(r"^\s*[-*|]", re.MULTILINE),
)
"""Kinds of answers: steps, yes or no, a reason, a list or table."""


@lru_cache(maxsize=4_096)
def _head_terms(words: str) -> frozenset[str]:
    return frozenset(terms(words))


def _head(hit: Hit) -> frozenset[str]:
    """Terms of the title and the headings."""
    return _head_terms(" ".join((hit.passage.title, *hit.passage.heading)))


def _body(hit: Hit) -> list[str]:
    """The window's terms below its line of headings."""
    return terms(hit.window.partition("\n")[2] or hit.window)


def _rarity(asked: frozenset[str], found: Sequence[set[str]]) -> dict[str, float]:
    """How much a term of the question tells the hits apart."""
    return {term: math.log1p(len(found) / (1 + sum(term in one for one in found))) for term in asked}


def _share(asked: frozenset[str], there: AbstractSet[str], rarity: Mapping[str, float]) -> float:
    whole = sum(rarity[term] for term in asked)
    return sum(rarity[term] for term in asked & there) / whole if whole else 0.0
