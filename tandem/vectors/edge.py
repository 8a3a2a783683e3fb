"""Qdrant's engine in the process (`qdrant-edge-py`): a folder per collection, one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import qdrant_edge as qdrant

from tandem.errors import Unavailable
from tandem.vectors.base import DIMENSIONS, RRF_K, Scope
from tandem.vectors.hybrid import DENSE, PASSAGE, SPARSE, TENANT, HybridVectors, PointIn, PointOut, Sparse

T = TypeVar("T")

_PAGE = 500


def edge_vectors(folder: Path, prefix: str = "tandem") -> HybridVectors:
    """Vectors kept in `folder`, opened at first use."""
    return HybridVectors(EdgeEngine(folder, prefix))


class EdgeEngine:
    """The engine blocks, so it runs in a thread of its own: one, so that calls stay in order."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._shards: dict[str, qdrant.EdgeShard] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vectors")

    async def put(self, collection: str, points: Sequence[PointIn]) -> None:
        def work(shard: qdrant.EdgeShard) -> None:
            shard.update(qdrant.UpdateOperation.upsert_points([_to_point(point) for point in points]))
            shard.flush()

        await self._run(collection, work)

    async def drop(self, collection: str, scope: Scope) -> None:
        def work(shard: qdrant.EdgeShard) -> None:
            shard.update(qdrant.UpdateOperation.delete_points_by_filter(_filter(scope)))
            shard.flush()

        await self._run(collection, work)

    async def find(
        self, collection: str, scope: Scope, dense: list[float] | None, sparse: Sparse, limit: int
    ) -> list[PointOut]:
        request = _request(scope, dense, sparse, limit)
        found = await self._run(collection, lambda shard: shard.query(request))
        return [
            PointOut(id=str(point.id), payload=point.payload or {}, score=point.score, dense=_dense(point.vector))
            for point in found
        ]

    async def list(self, collection: str, scope: Scope, fields: Sequence[str]) -> list[PointOut]:
        def work(shard: qdrant.EdgeShard) -> list[PointOut]:
            found: list[PointOut] = []
            offset: qdrant.PointId | None = None
            while True:
                request = qdrant.ScrollRequest(
                    offset=offset, limit=_PAGE, filter=_filter(scope), with_payload=[*fields] or True
                )
                page, offset = shard.scroll(request)
                found.extend(PointOut(id=str(record.id), payload=record.payload or {}) for record in page)
                if offset is None:
                    return found

        return await self._run(collection, work)

    async def ping(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, lambda: None)

    async def close(self) -> None:
        def work() -> None:
            for shard in self._shards.values():
                shard.close()
            self._shards.clear()

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown()

    async def _run(self, collection: str, work: Callable[[qdrant.EdgeShard], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(self._shard(collection)))

    def _shard(self, collection: str) -> qdrant.EdgeShard:
        if collection not in self._shards:
            self._shards[collection] = _open(self._folder / f"{self._prefix}-{collection}")
        return self._shards[collection]


def _open(folder: Path) -> qdrant.EdgeShard:
    try:
        if (folder / "edge_config.json").exists():
            return qdrant.EdgeShard.load(str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        config = qdrant.EdgeConfig(
            vectors={DENSE: qdrant.EdgeVectorParams(size=DIMENSIONS, distance=qdrant.Distance.Cosine)},
            quantization_config=qdrant.ScalarQuantizationConfig(type=qdrant.ScalarType.Int8, always_ram=True),
            sparse_vectors={SPARSE: qdrant.EdgeSparseVectorParams(modifier=qdrant.Modifier.Idf)},
        )
        shard = qdrant.EdgeShard.create(str(folder), config)
        for name, tenant in ((TENANT, True), (PASSAGE, False)):
            schema = qdrant.KeywordIndexParams(is_tenant=tenant)
            shard.update(qdrant.UpdateOperation.create_field_index(name, schema))
        return shard
    except Exception as error:  # the engine raises bare Exception for everything
        raise Unavailable(
            f"vectors in {folder} cannot be opened ({error}); a `tandem up` that runs there has them for itself, and brings "
            "in what is new of its packs' knowledge whenever it starts"
        ) from error


def _filter(scope: Scope) -> qdrant.Filter:
    """The only place where a filter is made, and it always names the tenant."""
    must: list[qdrant.ConditionType] = [
        qdrant.FieldCondition(key=TENANT, match=qdrant.MatchValue(value=scope.tenant)),
    ]
    if scope.passage is not None:
        must.append(qdrant.FieldCondition(key=PASSAGE, match=qdrant.MatchValue(value=scope.passage)))
    if scope.ids is not None:
        must.append(qdrant.HasIdCondition(set(scope.ids)))
    return qdrant.Filter(must=must)


def _request(scope: Scope, dense: list[float] | None, sparse: Sparse, limit: int) -> qdrant.QueryRequest:
    scoped = _filter(scope)
    sides: list[qdrant.Prefetch] = []
    if dense is not None:
        sides.append(qdrant.Prefetch(limit=limit, query=qdrant.Query.Nearest(dense, using=DENSE), filter=scoped))
    if sparse[0]:
        words = qdrant.SparseVector(indices=sparse[0], values=sparse[1])
        sides.append(qdrant.Prefetch(limit=limit, query=qdrant.Query.Nearest(words, using=SPARSE), filter=scoped))
    return qdrant.QueryRequest(
        limit=limit,
        prefetches=sides,
        query=cast(qdrant.Fusion, qdrant.Fusion.Rrf(k=RRF_K)),
        filter=scoped,
        with_payload=True,
        with_vector=[DENSE],
    )


def _to_point(point: PointIn) -> qdrant.Point:
    vector: dict[str, qdrant.NamedVector] = {SPARSE: qdrant.SparseVector(*point.sparse)}
    if point.dense is not None:
        vector[DENSE] = point.dense
    return qdrant.Point(id=point.id, vector=vector, payload=point.payload)


def _dense(vector: object) -> list[float] | None:
    found = vector.get(DENSE) if isinstance(vector, dict) else None
    return found if isinstance(found, list) else None
