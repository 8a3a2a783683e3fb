"""Embeddings for many callers at once: what waits while a batch runs is the next batch; what was embedded is remembered."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tandem import telemetry
from tandem.errors import InvalidError, Unavailable
from tandem.telemetry import names

Vectors = NDArray[np.float32]

MAX_TEXTS = 1_024
"""Of one call."""

MAX_WAITING = 8_192
"""Texts that may wait; beyond it callers are told to come back."""

BATCH = 64


class BlockingEncoder(Protocol):
    """Texts to unit vectors, in a thread."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class Embeddings:
    """Loads the encoder in a thread, at the first call or `warm`, and feeds it micro-batches from one task."""

    def __init__(self, load: Callable[[], BlockingEncoder], cache_size: int) -> None:
        self._load = load
        self._cache_size = cache_size
        self._cache: OrderedDict[bytes, Vectors] = OrderedDict()  # hash of the text → vector: no text is kept
        self._waiting: list[tuple[str, asyncio.Future[Vectors]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._encoder: BlockingEncoder | None = None
        self._pump: asyncio.Task[None] | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384). Raises Unavailable when too many texts wait."""
        if len(texts) > MAX_TEXTS:
            raise InvalidError(f"{len(texts)} texts in one call; at most {MAX_TEXTS}")
        if not texts:
            return np.empty((0, 384), dtype=np.float32)
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        found = [self._remembered(key) for key in keys]
        missing = [i for i, vector in enumerate(found) if vector is None]
        telemetry.count(names.EMBEDDED, "hit", by=len(texts) - len(missing))
        telemetry.count(names.EMBEDDED, "miss", by=len(missing))
        for i, vector in zip(missing, await self._encode([texts[i] for i in missing]), strict=True):
            found[i] = vector
            self._remember(keys[i], vector)
        return np.stack([vector for vector in found if vector is not None])

    async def warm(self) -> None:
        """Load the encoder now."""
        await self._encode(["warm up"])

    async def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _encode(self, texts: Sequence[str]) -> list[Vectors]:
        if not texts:
            return []
        if len(self._waiting) + len(texts) > MAX_WAITING:
            raise Unavailable("too many texts wait for the encoder")
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Vectors]] = [loop.create_future() for _ in texts]
        self._waiting.extend(zip(texts, futures, strict=True))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run(), name="encoder")
        return list(await asyncio.gather(*futures))

    async def _run(self) -> None:
        """Encode until nothing waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            live = [(text, future) for text, future in batch if not future.done()]
            if not live:
                continue
            try:
                vectors = await loop.run_in_executor(self._thread, self._blocking, [text for text, _ in live])
            except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
                for _, future in live:
                    if not future.done():
                        future.set_exception(Unavailable(f"the encoder failed: {error}"))
                continue
            for (_, future), vector in zip(live, vectors, strict=True):
                if not future.done():
                    future.set_result(vector)

    def _blocking(self, texts: list[str]) -> Vectors:
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder.embed(texts)

    def _remembered(self, key: bytes) -> Vectors | None:
        vector = self._cache.get(key)
        if vector is not None:
            self._cache.move_to_end(key)
        return vector

    def _remember(self, key: bytes, vector: Vectors) -> None:
        self._cache[key] = vector
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
