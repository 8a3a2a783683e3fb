"""The encoder behind a cache on disk, by content hash: a corpus is embedded once, and a run that was stopped goes on."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.llm_gateway.encoder import DIMENSIONS, Encoder
from tandem.errors import Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse

MODEL = "all-MiniLM-L6-v2-int8"


class CachedEncoder:
    """The `Llm` port with an encoder and no model, so that answers are extracted."""

    def __init__(self, file: Path, model_cache: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._known = sqlite3.connect(file, check_same_thread=False, timeout=30)
        self._known.execute("PRAGMA journal_mode=WAL")
        self._known.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        self._model_cache = model_cache
        self._encoder: Encoder | None = None

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        return await asyncio.to_thread(self.embed_now, texts)

    def embed_now(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors in the order of the texts."""
        keys = [hashlib.blake2b(f"{MODEL}\n{text}".encode(), digest_size=16).digest() for text in texts]
        found = {key: vector for key in set(keys) if (vector := self._read(key)) is not None}
        missing = [(key, text) for key, text in dict(zip(keys, texts, strict=True)).items() if key not in found]
        if missing:
            if self._encoder is None:
                self._encoder = Encoder(self._model_cache)
            made = self._encoder.embed([text for _, text in missing])
            found |= {key: vector for (key, _), vector in zip(missing, made, strict=True)}
            rows = [(key, found[key].astype(np.float16).tobytes()) for key, _ in missing]
            with self._known:
                self._known.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        return np.stack([found[key] for key in keys]).reshape(-1, DIMENSIONS)

    def _read(self, key: bytes) -> NDArray[np.float32] | None:
        row = self._known.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], dtype=np.float16).astype(np.float32)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        raise Unavailable("no model: answers are extracted")

    def close(self) -> None:
        self._known.close()
