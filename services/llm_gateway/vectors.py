"""Embeddings and reranking: by the encoder in this process, or by a pool that serves nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.llm_gateway.calls import Failed
from services.llm_gateway.chat import Chat
from services.llm_gateway.embeddings import MAX_TEXTS, Embeddings, Vectors
from services.llm_gateway.replica import Replica
from services.llm_gateway.served_pool import ServedPool
from tandem import telemetry
from tandem.errors import InvalidError, Unavailable
from tandem.telemetry import names

MAX_ATTEMPTS = 3


class Encoders:
    """`embed` and `rerank`, here or at a pool."""

    def __init__(self, embeddings: Embeddings, chat: Chat | None) -> None:
        self._embeddings = embeddings
        self._chat = chat

    async def embed(self, texts: Sequence[str], pool: str, deadline: float) -> Vectors:
        """Unit vectors."""
        if not pool:
            return await self._embeddings.embed(texts)
        if len(texts) > MAX_TEXTS:
            raise InvalidError(f"{len(texts)} texts in one call; at most {MAX_TEXTS}")
        found = await self._ask(pool, "embeddings", "/embeddings", {"input": list(texts)}, deadline)
        try:
            rows = [row["embedding"] for row in sorted(found["data"], key=lambda row: row["index"])]
            vectors = np.array(rows, dtype=np.float32).reshape(len(texts), -1)
        except (LookupError, TypeError, ValueError) as error:
            raise Unavailable(f"pool {pool}: the answer is no list of embeddings") from error
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
        return unit

    async def rerank(self, query: str, texts: Sequence[str], pool: str, deadline: float) -> list[float]:
        """A score per text. Without a pool: how near its meaning is to the query's."""
        if not texts:
            return []
        if not pool:
            vectors = await self._embeddings.embed([query, *texts])
            return [float(score) for score in vectors[1:] @ vectors[0]]
        found = await self._ask(pool, "rerank", "/rerank", {"query": query, "documents": list(texts)}, deadline)
        scores = [0.0] * len(texts)
        try:
            for result in found["results"]:
                scores[result["index"]] = float(result["relevance_score"])
        except (LookupError, TypeError, ValueError) as error:
            raise Unavailable(f"pool {pool}: the answer is no ranking") from error
        return scores

    async def _ask(self, name: str, kind: str, path: str, body: dict[str, Any], deadline: float) -> Any:
        """Of one replica after the other, through the chain of pools."""
        if self._chat is None:
            raise InvalidError(f"there is no pool {name!r}: TANDEM_LLM_POOLS is not set")
        if self._chat.pool(name).pool.kind != kind:
            raise InvalidError(f"pool {name!r} is not for {kind}")
        until = time.monotonic() + deadline
        self._chat.watch()
        failure = Failed("away", f"no replica of pool {name} can serve now")
        for pool in self._chat.chain(name):
            tried: list[Replica] = []
            while len(tried) < MAX_ATTEMPTS and (replica := pool.router.choose(b"", tried)):
                tried.append(replica)
                try:
                    return await self._ask_replica(pool, replica, path, body, until)
                except Failed as error:
                    failure = error
        raise failure

    async def _ask_replica(
        self, pool: ServedPool, replica: Replica, path: str, body: dict[str, Any], until: float
    ) -> Any:
        assert self._chat is not None
        replica.start()
        outcome = "failed"
        try:
            left = until - time.monotonic()
            url, asked = f"{replica.base}{path}", {**body, "model": pool.pool.model}
            found = await self._chat.upstream.post(url, asked, pool.headers, left)
            outcome = "ok"
        except Failed as error:
            outcome = error.outcome
            if error.fault:
                replica.failed(error)
            if error.wait_s is not None:
                replica.asked_to_wait(error.wait_s)
            telemetry.count(names.MODEL_FAILURES, pool.name, error.outcome)
            raise
        else:
            replica.succeeded()
            return found
        finally:
            if outcome != "ok":
                replica.breaker.left()
            replica.end()
            telemetry.count(names.MODEL_CALLS, pool.name, "ok" if outcome == "ok" else "failed")
