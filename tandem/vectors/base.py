"""The vectors port: passages of the businesses' knowledge, found by meaning and by words.

Guarantees (tests/contracts/vectors runs the same suite over every adapter):

- *A tenant sees its own passages only.* Every read and delete goes through one `Scope`, which adapters turn into their
  engine's filter in one place; ids of points are derived from the tenant, so a write cannot touch another's. (How rare a
  word is, is counted over the whole collection.)
- *An upsert is whole*: when it returns, the points are found by `search`, `passage` and `fingerprints`, and survive a
  restart of the process (Edge) or of this client (server).
- *Search is hybrid*: nearest by dense vector and best by words, fused by reciprocal rank, one hit per passage: its best
  window. Without a dense vector it searches by words alone. Ties are broken the same way on every call.
- *Nothing is unbounded*: at most `limit` hits of at most `CANDIDATES` windows from each side.
- A store that cannot serve raises `Unavailable`; other exceptions are bugs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tandem.contracts.values import Value, derive_id

DIMENSIONS = 384
KNOWLEDGE = "knowledge"
"""The collection of the packs' knowledge."""

CANDIDATES = 40
"""Windows taken from each side of the search before fusion."""

RRF_K = 60


class Passage(Value):
    """A section of a document. `id` is `<doc path>#<anchor>`, stable while the heading is."""

    id: str
    doc: str  # path below the pack's knowledge folder
    title: str  # of the document
    heading: tuple[str, ...] = ()  # path of headings, from the document's title down to the section's own
    anchor: str = ""
    url: str | None = None
    text: str  # the section's Markdown, without its heading
    also: tuple[str, ...] = ()  # ids of the same text elsewhere (other versions of a page), folded into this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a passage, as it is searched. `dense` None: found by words alone."""

    passage: Passage
    number: int  # from 0, inside the passage
    text: str
    fingerprint: str  # of everything stored: an equal one need not be written again
    dense: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage and why it was found."""

    passage: Passage
    window: str  # the text of its best window
    score: float  # fused, comparable within one search only
    similarity: float  # cosine of the dense vectors; 0 without them


@dataclass(frozen=True, slots=True)
class Scope:
    """What a call may see. The only way to name points: there is no filter without a tenant."""

    tenant: str
    passage: str | None = None
    ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("a scope needs a tenant")


def point_id(tenant: str, passage: str, number: int) -> str:
    """The id of a window's point."""
    return derive_id("window", tenant, passage, number)


class Vectors(Protocol):
    """Passages by tenant and collection."""

    async def upsert(self, tenant: str, collection: str, windows: Sequence[Window]) -> None: ...

    async def delete(self, tenant: str, collection: str, ids: Sequence[str]) -> None:
        """Delete points by their ids; unknown ones are no error."""
        ...

    async def search(
        self, tenant: str, collection: str, dense: NDArray[np.float32] | None, sparse_text: str, limit: int
    ) -> list[Hit]:
        """The best passages, best first. Raises Unavailable."""
        ...

    async def passage(self, tenant: str, id: str, collection: str = KNOWLEDGE) -> Passage | None:
        """The passage a citation names; None if the tenant has none of that id."""
        ...

    async def fingerprints(self, tenant: str, collection: str) -> dict[str, str]:
        """Point id → fingerprint of everything the tenant has."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable."""
        ...

    async def close(self) -> None: ...
