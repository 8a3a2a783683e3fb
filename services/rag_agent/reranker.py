"""A learned order of what the search found: features of question and passage, trees over them. LightGBM is for training alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
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

VERSION = 1
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
    asked_pairs = set(pairwise(terms(question)))
    found = [_body(hit) for hit in hits]
    rarity = _rarity(asked, [set(one) for one in found])
    pages = Counter[str]()
    for hit in hits:
        pages[hit.passage.doc] += hit.score  # type: ignore[assignment]  # a sum of scores
    top = hits[0].score if hits else 1.0
    nearest = max((hit.similarity for hit in hits), default=0.0)
    rows = []
    for place, (hit, body) in enumerate(zip(hits, found, strict=True)):
        head = set(terms(" ".join((hit.passage.title, *hit.passage.heading))))
        similarity = hit.similarity if by_meaning else math.nan
        rows.append(
            (
                1 / (1 + place),
                hit.score / max(top, 1e-9),
                similarity,
                similarity - nearest,
                _share(asked, set(body) | head, rarity),
                _share(asked, head, rarity),
                _share(asked, set(body), rarity),
                _share(asked, set(body[:BEGINNING]), rarity),
                len(asked_pairs & set(pairwise(body))) / max(1, len(asked_pairs)),
                sum(term in asked for term in body) / max(1, len(body)),
                len(asked & head) / max(1, len(head)),
                pages[hit.passage.doc] / max(pages.values()),
                math.log1p(len(hit.passage.text)),
                math.log1p(len(asked)),
            )
        )
    return np.array(rows, dtype=np.float32)


def _body(hit: Hit) -> list[str]:
    """The window's terms below its line of headings."""
    return terms(hit.window.partition("\n")[2] or hit.window)


def _rarity(asked: frozenset[str], found: Sequence[set[str]]) -> dict[str, float]:
    """How much a term of the question tells the hits apart."""
    return {term: math.log1p(len(found) / (1 + sum(term in one for one in found))) for term in asked}


def _share(asked: frozenset[str], there: set[str], rarity: Mapping[str, float]) -> float:
    whole = sum(rarity[term] for term in asked)
    return sum(rarity[term] for term in asked & there) / whole if whole else 0.0
