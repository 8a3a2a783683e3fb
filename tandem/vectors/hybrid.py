"""Hybrid search over an engine: what both adapters share, so that they cannot differ in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tandem import telemetry
from tandem.contracts.values import Value
from tandem.telemetry import SpanName
from tandem.vectors.base import CANDIDATES, KNOWLEDGE, Hit, Passage, Scope, Window, point_id
from tandem.vectors.sparse import document_vector, query_vector

DENSE = "dense"
SPARSE = "sparse"
TENANT = "tenant"
PASSAGE = "passage"

Sparse = tuple[list[int], list[float]]


class Stored(Value):
    """The payload of a point."""

    tenant: str
    passage: str
    doc: str
    title: str
    heading: tuple[str, ...]
    anchor: str
    url: str | None
    text: str
    also: tuple[str, ...] = ()
    window: str
    number: int
    fingerprint: str

    def section(self) -> Passage:
        return Passage(
            id=self.passage,
            doc=self.doc,
            title=self.title,
            heading=self.heading,
            anchor=self.anchor,
            url=self.url,
            text=self.text,
            also=self.also,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PointIn:
    """A point as an engine stores it."""

    id: str
    dense: list[float] | None
    sparse: Sparse
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOut:
    """A point as an engine found it."""

    id: str
    payload: dict[str, Any] = field(default_factory=dict)
    score: float = 0.0
    dense: list[float] | None = None


class Engine(Protocol):
    """What an adapter does. Each method makes the collection if it is missing and raises Unavailable."""

    async def put(self, collection: str, points: Sequence[PointIn]) -> None: ...

    async def drop(self, collection: str, scope: Scope) -> None: ...

    async def find(
        self, collection: str, scope: Scope, dense: list[float] | None, sparse: Sparse, limit: int
    ) -> list[PointOut]:
        """Both sides fused by reciprocal rank, with payload and dense vector; `limit` applies to each side and the result."""
        ...

    async def list(self, collection: str, scope: Scope, fields: Sequence[str]) -> list[PointOut]:
        """All points in scope, with the payload fields named (all if none is)."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class HybridVectors:
    """The `Vectors` port over an engine. Every call is scoped to its tenant here."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def upsert(self, tenant: str, collection: str, windows: Sequence[Window]) -> None:
        scope = Scope(tenant)
        if windows:
            await self._engine.put(collection, [_point(scope.tenant, window) for window in windows])

    async def delete(self, tenant: str, collection: str, ids: Sequence[str]) -> None:
        scope = Scope(tenant, ids=tuple(ids))
        if ids:
            await self._engine.drop(collection, scope)

    async def search(
        self, tenant: str, collection: str, dense: NDArray[np.float32] | None, sparse_text: str, limit: int
    ) -> list[Hit]:
        scope = Scope(tenant)
        sparse = query_vector(sparse_text)
        if limit < 1 or (dense is None and not sparse[0]):
            return []
        vector = None if dense is None else dense.tolist()
        with telemetry.span(f"{SpanName.RETRIEVAL} {collection}"):
            points = await self._engine.find(collection, scope, vector, sparse, CANDIDATES)
        return _best_windows([_hit(point, dense) for point in points])[:limit]

    async def passage(self, tenant: str, id: str, collection: str = KNOWLEDGE) -> Passage | None:
        points = await self._engine.list(collection, Scope(tenant, passage=id), ())
        return Stored.model_validate(points[0].payload).section() if points else None

    async def fingerprints(self, tenant: str, collection: str) -> dict[str, str]:
        points = await self._engine.list(collection, Scope(tenant), ("fingerprint",))
        return {point.id: str(point.payload["fingerprint"]) for point in points}

    async def ping(self) -> None:
        await self._engine.ping()

    async def close(self) -> None:
        await self._engine.close()


def searched_text(window: Window) -> str:
    """What a window is found by: its title and headings stand above it."""
    return "\n".join((" > ".join(dict.fromkeys((window.passage.title, *window.passage.heading))), window.text))


def _point(tenant: str, window: Window) -> PointIn:
    section = window.passage
    stored = Stored(
        tenant=tenant,
        passage=section.id,
        doc=section.doc,
        title=section.title,
        heading=section.heading,
        anchor=section.anchor,
        url=section.url,
        text=section.text,
        also=section.also,
        window=window.text,
        number=window.number,
        fingerprint=window.fingerprint,
    )
    return PointIn(
        id=point_id(tenant, section.id, window.number),
        dense=None if window.dense is None else window.dense.tolist(),
        sparse=document_vector(searched_text(window)),
        payload=stored.model_dump(mode="json"),
    )


def _hit(point: PointOut, dense: NDArray[np.float32] | None) -> Hit:
    stored = Stored.model_validate(point.payload)
    similarity = 0.0
    if dense is not None and point.dense is not None:
        similarity = float(np.dot(dense, np.asarray(point.dense, dtype=np.float32)))
    return Hit(passage=stored.section(), window=stored.window, score=point.score, similarity=similarity)


def _best_windows(hits: list[Hit]) -> list[Hit]:
    best: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: (-hit.score, -hit.similarity, hit.passage.id, hit.window)):
        best.setdefault(hit.passage.id, hit)
    return list(best.values())
