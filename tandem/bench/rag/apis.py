"""Which operations of an API do a job: the catalogue as passages in the same vectors, found in the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.bench.rag.data import Operation
from tandem.rpc.ports import Llm
from tandem.text import terms
from tandem.vectors.base import CANDIDATES, Hit, Passage, Vectors, Window

COLLECTION = "operations"
FOUND = 5
PLACE, NAME = 3.0, 0.2
"""Weights beside the similarity: of the fused score (at most 2/61), and of the words that job and name share. Set on dev, where
half and twice as much do as well."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BOILERPLATE = re.compile(r"^(You can )?call this operation to |^Calls? this operation to ", re.IGNORECASE)


def window_of(operation: Operation) -> Window:
    """An operation by its name in words and its description."""
    name = _CAMEL.sub(" ", operation.name)
    text = f"{name}\n{_BOILERPLATE.sub('', operation.description)}"
    passage = Passage(id=operation.name, doc=operation.name, title=name, text=operation.description)
    return Window(passage=passage, number=0, text=text, fingerprint="")


async def index(operations: Sequence[Operation], tenant: str, vectors: Vectors, llm: Llm) -> None:
    found = [window_of(one) for one in operations]
    dense = await llm.embed([window.text for window in found], 600.0)
    windows = [
        Window(passage=window.passage, number=0, text=window.text, fingerprint="", dense=vector)
        for window, vector in zip(found, dense, strict=True)
    ]
    await vectors.upsert(tenant, COLLECTION, windows)


async def find(job: str, tenant: str, vectors: Vectors, llm: Llm) -> list[str]:
    """Names of operations, best first."""
    (meaning,) = await llm.embed([job], 60.0)
    hits = await vectors.search(tenant, COLLECTION, meaning, job, CANDIDATES)
    return [hit.passage.id for hit in sorted(hits, key=lambda hit: -fitness(job, hit))[:FOUND]]


def fitness(job: str, hit: Hit) -> float:
    """How well an operation does a job: by meaning, by its place in the search, and by its name. A name is short, so that a word
    of it that the job does not have ("Cancel", "Version") counts as much as one that it has."""
    asked, named = set(terms(job)), set(terms(hit.passage.title))
    shared = len(asked & named)
    return hit.similarity + PLACE * hit.score + NAME * (shared / max(1, len(named)) + shared / max(1, len(asked)))
