"""A Qdrant server, through `qdrant-client`. Its local mode (`:memory:`) is slow and for tests of correctness only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException

from tandem.errors import Unavailable
from tandem.vectors.base import DIMENSIONS, RRF_K, Scope
from tandem.vectors.hybrid import DENSE, PASSAGE, SPARSE, TENANT, HybridVectors, PointIn, PointOut, Sparse

_PAGE = 500
_CONFLICT = 409


def server_vectors(url: str, prefix: str = "tandem", api_key: str | None = None) -> HybridVectors:
    """Vectors on a Qdrant server."""
    client = AsyncQdrantClient(url=url, api_key=api_key, timeout=10)
    return HybridVectors(ServerEngine(client, prefix))


class ServerEngine:
    """Collections `<prefix>-<collection>`, made at first use."""

    def __init__(self, client: AsyncQdrantClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._known: set[str] = set()
        self._making = asyncio.Lock()

    async def put(self, collection: str, points: Sequence[PointIn]) -> None:
        name = await self._collection(collection)
        async with _reachable():
            await self._client.upsert(name, [_to_point(point) for point in points], wait=True)

    async def drop(self, collection: str, scope: Scope) -> None:
        name = await self._collection(collection)
        async with _reachable():
            await self._client.delete(name, models.FilterSelector(filter=_filter(scope)), wait=True)

    async def find(
        self, collection: str, scope: Scope, dense: list[float] | None, sparse: Sparse, limit: int
    ) -> list[PointOut]:
        name = await self._collection(collection)
        async with _reachable():
            found = await self._client.query_points(
                name,
                prefetch=_sides(scope, dense, sparse, limit),
                query=models.RrfQuery(rrf=models.Rrf(k=RRF_K)),
                query_filter=_filter(scope),
                limit=limit,
                with_payload=True,
                with_vectors=[DENSE],
            )
        return [
            PointOut(id=str(point.id), payload=point.payload or {}, score=point.score, dense=_dense(point.vector))
            for point in found.points
        ]

    async def list(self, collection: str, scope: Scope, fields: Sequence[str]) -> list[PointOut]:
        name = await self._collection(collection)
        found: list[PointOut] = []
        offset: str | None = None
        while True:
            async with _reachable():
                page, after = await self._client.scroll(
                    name, scroll_filter=_filter(scope), limit=_PAGE, offset=offset, with_payload=[*fields] or True
                )
            found.extend(PointOut(id=str(record.id), payload=record.payload or {}) for record in page)
            if after is None:
                return found
            offset = str(after)

    async def ping(self) -> None:
        async with _reachable():
            await self._client.get_collections()

    async def close(self) -> None:
        await self._client.close()

    async def _collection(self, collection: str) -> str:
        name = f"{self._prefix}-{collection}"
        async with self._making:
            if name not in self._known:
                async with _reachable():
                    await self._make(name)
                self._known.add(name)
        return name

    async def _make(self, name: str) -> None:
        if await self._client.collection_exists(name):
            return
        # Tenants are many and each is small: one graph per tenant, none over all.
        graph = models.HnswConfigDiff(m=0, payload_m=16)
        try:
            await self._client.create_collection(
                name,
                vectors_config={DENSE: models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                hnsw_config=graph,
                quantization_config=models.ScalarQuantization(
                    scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                ),
            )
        except ApiException as error:
            if getattr(error, "status_code", None) != _CONFLICT:  # another process was first
                raise
        for field, tenant in ((TENANT, True), (PASSAGE, None)):
            schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=tenant)
            await self._client.create_payload_index(name, field, schema)


@asynccontextmanager
async def _reachable() -> AsyncIterator[None]:
    try:
        yield
    except (ApiException, OSError) as error:
        raise Unavailable(f"Qdrant cannot serve: {error}") from error


def _filter(scope: Scope) -> models.Filter:
    """The only place where a filter is made, and it always names the tenant."""
    must: list[models.Condition] = [
        models.FieldCondition(key=TENANT, match=models.MatchValue(value=scope.tenant)),
    ]
    if scope.passage is not None:
        must.append(models.FieldCondition(key=PASSAGE, match=models.MatchValue(value=scope.passage)))
    if scope.ids is not None:
        must.append(models.HasIdCondition(has_id=list(scope.ids)))
    return models.Filter(must=must)


def _sides(scope: Scope, dense: list[float] | None, sparse: Sparse, limit: int) -> list[models.Prefetch]:
    scoped = _filter(scope)
    sides: list[models.Prefetch] = []
    if dense is not None:
        sides.append(models.Prefetch(query=dense, using=DENSE, limit=limit, filter=scoped))
    if sparse[0]:
        words = models.SparseVector(indices=sparse[0], values=sparse[1])
        sides.append(models.Prefetch(query=words, using=SPARSE, limit=limit, filter=scoped))
    return sides


def _to_point(point: PointIn) -> models.PointStruct:
    indices, values = point.sparse
    vector: dict[str, models.Vector] = {SPARSE: models.SparseVector(indices=indices, values=values)}
    if point.dense is not None:
        vector[DENSE] = point.dense
    return models.PointStruct(id=point.id, vector=vector, payload=point.payload)


def _dense(vector: object) -> list[float] | None:
    found = vector.get(DENSE) if isinstance(vector, dict) else None
    return found if isinstance(found, list) else None
