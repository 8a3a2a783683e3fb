"""One suite over every adapter of the vectors port."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient

from tandem.vectors.base import DIMENSIONS, KNOWLEDGE, Passage, Vectors, Window, point_id
from tandem.vectors.edge import edge_vectors
from tandem.vectors.hybrid import HybridVectors
from tandem.vectors.server import ServerEngine, server_vectors


def axis(*weights: float) -> np.ndarray:
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[: len(weights)] = weights
    return vector / np.linalg.norm(vector)


def window(id: str, text: str, dense: np.ndarray | None = None, number: int = 0, fingerprint: str = "f1") -> Window:
    passage = Passage(
        id=id, doc=id.split("#")[0], title="Ports", heading=("Ports",), anchor=id.split("#")[1], url=None, text=text
    )
    return Window(passage=passage, number=number, text=text, fingerprint=fingerprint, dense=dense)


@pytest_asyncio.fixture(params=["edge", "server"])
async def vectors(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Vectors]:
    url = os.environ.get("TANDEM_QDRANT_URL")
    if request.param == "edge":
        opened = edge_vectors(tmp_path)
    elif url:
        opened = server_vectors(url, prefix=f"test-{uuid.uuid4().hex[:8]}")
    else:
        opened = HybridVectors(ServerEngine(AsyncQdrantClient(":memory:"), "test"))
    with warnings.catch_warnings():
        # The local mode says that payload indexes do nothing there.
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")
        yield opened
    await opened.close()


OPEN = window("ports.md#open", "Open a port in the security group of the instance.", axis(1, 0.1))
REFUND = window("billing.md#refund", "A refund is paid to the card you used.", axis(0, 1))
CHINESE = window("zh/ports.md#open", "在安全组中开放端口，实例才能被访问。", axis(0, 0, 1))


@pytest.mark.asyncio
async def test_finds_by_meaning_and_by_words(vectors: Vectors) -> None:
    await vectors.upsert("acme", KNOWLEDGE, [OPEN, REFUND, CHINESE])
    by_words = await vectors.search("acme", KNOWLEDGE, None, "refunds to my cards", 3)
    assert [hit.passage.id for hit in by_words] == [REFUND.passage.id]
    by_meaning = await vectors.search("acme", KNOWLEDGE, axis(1), "zebra", 1)
    assert by_meaning[0].passage == OPEN.passage
    assert by_meaning[0].similarity == pytest.approx(float(axis(1, 0.1)[0]), abs=1e-3)
    both = await vectors.search("acme", KNOWLEDGE, axis(0.2, 1), "opening a port", 3)
    assert {hit.passage.id for hit in both[:2]} == {OPEN.passage.id, REFUND.passage.id}
    assert both == await vectors.search("acme", KNOWLEDGE, axis(0.2, 1), "opening a port", 3)


@pytest.mark.asyncio
async def test_finds_chinese_by_character_pairs(vectors: Vectors) -> None:
    await vectors.upsert("acme", KNOWLEDGE, [OPEN, REFUND, CHINESE])
    hits = await vectors.search("acme", KNOWLEDGE, None, "怎么开放端口", 3)
    assert [hit.passage.id for hit in hits] == [CHINESE.passage.id]


@pytest.mark.asyncio
async def test_a_tenant_sees_its_own_passages_only(vectors: Vectors) -> None:
    secret = window("ports.md#open", "The port of rival is 4711.", axis(1))
    await vectors.upsert("acme", KNOWLEDGE, [OPEN])
    await vectors.upsert("rival", KNOWLEDGE, [secret])
    assert [hit.window for hit in await vectors.search("acme", KNOWLEDGE, axis(1), "port rival 4711", 9)] == [OPEN.text]
    found = await vectors.passage("acme", "ports.md#open")
    assert found is not None
    assert found.text == OPEN.text
    assert list(await vectors.fingerprints("acme", KNOWLEDGE)) == [point_id("acme", "ports.md#open", 0)]
    await vectors.delete("acme", KNOWLEDGE, [point_id("rival", "ports.md#open", 0)])
    assert await vectors.passage("rival", "ports.md#open") == secret.passage
    with pytest.raises(ValueError, match="tenant"):
        await vectors.search("", KNOWLEDGE, axis(1), "port", 1)


@pytest.mark.asyncio
async def test_one_hit_per_passage_its_best_window(vectors: Vectors) -> None:
    first = window("a.md#x", "Nothing of note here.", axis(0, 1), number=0)
    second = window("a.md#x", "Rotate the certificate yearly.", axis(1), number=1)
    await vectors.upsert("acme", KNOWLEDGE, [first, second])
    hits = await vectors.search("acme", KNOWLEDGE, axis(1), "certificate", 5)
    assert [hit.window for hit in hits] == [second.text]


@pytest.mark.asyncio
async def test_upserts_replace_and_deletes_remove(vectors: Vectors) -> None:
    await vectors.upsert("acme", KNOWLEDGE, [OPEN, REFUND])
    await vectors.upsert("acme", KNOWLEDGE, [window("ports.md#open", "Close a port.", axis(1), fingerprint="f2")])
    prints = await vectors.fingerprints("acme", KNOWLEDGE)
    assert prints == {point_id("acme", "ports.md#open", 0): "f2", point_id("acme", "billing.md#refund", 0): "f1"}
    await vectors.delete("acme", KNOWLEDGE, [point_id("acme", "ports.md#open", 0), point_id("acme", "gone.md#x", 0)])
    assert await vectors.passage("acme", "ports.md#open") is None
    assert await vectors.search("acme", KNOWLEDGE, None, "opening or closing", 5) == []


@pytest.mark.asyncio
async def test_nothing_asked_or_stored_finds_nothing(vectors: Vectors) -> None:
    assert await vectors.search("acme", KNOWLEDGE, axis(1), "port", 5) == []
    assert await vectors.search("acme", KNOWLEDGE, None, "the of and", 5) == []
    assert await vectors.passage("acme", "none.md#x") is None
    assert await vectors.fingerprints("acme", "other") == {}
    await vectors.ping()


@pytest.mark.asyncio
async def test_lists_more_points_than_a_page(vectors: Vectors) -> None:
    many = [window(f"a.md#s{n}", f"Section {n}") for n in range(1_100)]
    await vectors.upsert("acme", KNOWLEDGE, many)
    assert len(await vectors.fingerprints("acme", KNOWLEDGE)) == 1_100


@pytest.mark.asyncio
async def test_edge_keeps_points_over_a_restart(tmp_path: Path) -> None:
    first = edge_vectors(tmp_path)
    await first.upsert("acme", KNOWLEDGE, [OPEN])
    await first.close()
    second = edge_vectors(tmp_path)
    assert await second.passage("acme", "ports.md#open") == OPEN.passage
    await second.close()
