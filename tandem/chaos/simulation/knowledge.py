"""The vector store of the simulation: beyond the network, found by words alone, and now and then not reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tandem.chaos.simulation.network import Network
from tandem.errors import Unavailable
from tandem.vectors.base import Scope
from tandem.vectors.hybrid import PASSAGE, TENANT, PointIn, PointOut, Sparse

T = TypeVar("T")


class Shelf:
    """Points by collection and id; it survives whoever asks."""

    def __init__(self) -> None:
        self._points: dict[str, dict[str, PointIn]] = {}

    def collection(self, name: str) -> dict[str, PointIn]:
        return self._points.setdefault(name, {})


class ShelfEngine:
    """One process's way to the shelf."""

    def __init__(self, network: Network, shelf: Shelf) -> None:
        self._network = network
        self._shelf = shelf

    async def put(self, collection: str, points: Sequence[PointIn]) -> None:
        await self._ask(lambda: self._shelf.collection(collection).update({point.id: point for point in points}))

    async def drop(self, collection: str, scope: Scope) -> None:
        def work() -> None:
            for id in [point.id for point in self._in(collection, scope)]:
                del self._shelf.collection(collection)[id]

        await self._ask(work)

    async def find(
        self, collection: str, scope: Scope, dense: list[float] | None, sparse: Sparse, limit: int
    ) -> list[PointOut]:
        weights = dict(zip(*sparse, strict=True))

        def work() -> list[PointOut]:
            scored = [
                (sum(weights.get(term, 0.0) * weight for term, weight in zip(*point.sparse, strict=True)), point)
                for point in self._in(collection, scope)
            ]
            best = sorted(((score, p) for score, p in scored if score > 0), key=lambda one: (-one[0], one[1].id))
            return [PointOut(id=p.id, payload=p.payload, score=score) for score, p in best[:limit]]

        return await self._ask(work)

    async def list(self, collection: str, scope: Scope, fields: Sequence[str]) -> list[PointOut]:
        return await self._ask(
            lambda: [PointOut(id=point.id, payload=point.payload) for point in self._in(collection, scope)]
        )

    async def ping(self) -> None:
        await self._ask(lambda: None)

    async def close(self) -> None: ...

    def _in(self, collection: str, scope: Scope) -> Sequence[PointIn]:
        wanted = {TENANT: scope.tenant} | ({PASSAGE: scope.passage} if scope.passage is not None else {})
        return [
            point
            for point in self._shelf.collection(collection).values()
            if all(point.payload[name] == value for name, value in wanted.items())
            and (scope.ids is None or point.id in scope.ids)
        ]

    async def _ask(self, work: Callable[[], T]) -> T:
        async def there() -> T:
            return work()

        return await self._network.ask(there, Unavailable)
