from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from services.llm_gateway.embeddings import MAX_TEXTS, Embeddings
from tandem.errors import InvalidError, Unavailable


class CountingEncoder:
    """Says how it was called; its first call waits to be let go."""

    def __init__(self):
        self.batches = []
        self.started = threading.Event()
        self.gate = threading.Event()

    def embed(self, texts):
        self.batches.append(list(texts))
        self.started.set()
        assert self.gate.wait(5)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


@pytest.fixture
def encoder():
    return CountingEncoder()


@pytest.mark.asyncio
async def test_what_waits_while_a_batch_runs_is_the_next_batch(encoder):
    embeddings = Embeddings(lambda: encoder, 10)
    first = asyncio.create_task(embeddings.embed(["a"]))
    await asyncio.to_thread(encoder.started.wait, 5)
    others = [asyncio.create_task(embeddings.embed(["b" * n])) for n in range(2, 6)]
    await asyncio.sleep(0)
    encoder.gate.set()
    assert (await first).tolist() == [[1, 1]]
    assert [(await other)[0, 0] for other in others] == [2, 3, 4, 5]
    assert [len(batch) for batch in encoder.batches] == [1, 4]
    await embeddings.close()


@pytest.mark.asyncio
async def test_the_cache_is_used_and_bounded(encoder):
    encoder.gate.set()
    embeddings = Embeddings(lambda: encoder, 2)
    for texts in (["a", "bb"], ["a", "bb"], ["ccc"], ["bb"], ["a"]):
        assert (await embeddings.embed(texts))[:, 0].tolist() == [len(text) for text in texts]
    assert encoder.batches == [["a", "bb"], ["ccc"], ["a"]]
    await embeddings.close()


@pytest.mark.asyncio
async def test_a_failing_encoder_is_unavailable_and_tried_again(encoder):
    encoder.gate.set()
    tries = []

    def load():
        tries.append(1)
        if len(tries) == 1:
            raise OSError("disk")
        return encoder

    embeddings = Embeddings(load, 2)
    with pytest.raises(Unavailable, match="disk"):
        await embeddings.embed(["a", "b"])
    assert (await embeddings.embed(["a"])).shape == (1, 2)
    await embeddings.close()


@pytest.mark.asyncio
async def test_too_many_texts_are_refused_and_none_are_answered(encoder):
    embeddings = Embeddings(lambda: encoder, 2)
    with pytest.raises(InvalidError):
        await embeddings.embed(["a"] * (MAX_TEXTS + 1))
    assert (await embeddings.embed([])).shape == (0, 384)
    await embeddings.close()
