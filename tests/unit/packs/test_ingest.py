from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from tandem.contracts.values import stable_hash
from tandem.errors import InvalidPack, Unavailable
from tandem.packs.ingest import ingest
from tandem.packs.markdown import WINDOW_WORDS, sections, windows
from tandem.packs.model import Pack
from tandem.rpc.ports import ChatRequest, ChatResponse
from tandem.text import word_count
from tandem.vectors.base import DIMENSIONS, KNOWLEDGE, Vectors
from tandem.vectors.edge import edge_vectors

PORTS = """# Ports

Before anything else.

## Open a port

1. Go to **Rules**.
2. Run `allow 22`.

```sh
# not a heading
allow --port 22
```

| port | use |
|------|-----|
| 22   | ssh |

## Open a port

See [the docs](https://example.com/ports).
"""


class HashLlm:
    """Embeds by hash; counts the texts it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.down = False

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        if self.down:
            raise Unavailable("no encoder")
        self.texts += texts
        rows = [np.random.default_rng(stable_hash(text)).normal(size=DIMENSIONS) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        raise Unavailable("no model")


@pytest_asyncio.fixture
async def vectors(tmp_path: Path) -> AsyncIterator[Vectors]:
    opened = edge_vectors(tmp_path / "vectors")
    yield opened
    await opened.close()


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    knowledge = tmp_path / "pack" / "knowledge" / "net"
    knowledge.mkdir(parents=True)
    (knowledge / "ports.md").write_text(PORTS, encoding="utf-8")
    (knowledge / "dns.md").write_text("# DNS\n\n## Records\n\nAn A record names an address.\n", encoding="utf-8")
    return Pack(name="shop", hash="h", root=str(tmp_path / "pack"))


def test_sections_have_stable_ids_and_keep_their_markdown() -> None:
    found = sections("net/ports.md", PORTS)
    assert [passage.id for passage in found] == [
        "net/ports.md#ports",
        "net/ports.md#open-a-port",
        "net/ports.md#open-a-port-2",
    ]
    second = found[1]
    assert second.heading == ("Ports", "Open a port")
    assert "2. Run `allow 22`." in second.text
    assert "# not a heading" in second.text
    assert "| 22   | ssh |" in second.text
    assert "[the docs](https://example.com/ports)" in found[2].text


def test_the_name_of_an_anchor_wins_over_the_words_of_its_heading() -> None:
    assert [p.id for p in sections("a.md", "# T\n\n## Opening {#open}\n\nText.\n")] == ["a.md#open"]


def test_windows_are_bounded_lose_nothing_and_stand_under_their_headings() -> None:
    lines = [f"Line {n} says something about ports and rules." for n in range(80)]
    (passage,) = sections("a.md", "# Ports\n\n" + "\n".join(lines))
    pieces = windows(passage)
    assert len(pieces) > 1
    assert all(piece.startswith("Ports\n") for piece in pieces)
    assert all(word_count(piece) <= WINDOW_WORDS + 1 for piece in pieces)
    assert [line for piece in pieces for line in piece.splitlines()[1:]] == lines


@pytest.mark.parametrize("text", ["One sentence about ports. " * 200, "word " * 900, "端口开放" * 400])
def test_a_long_line_is_cut_too(text: str) -> None:
    (passage,) = sections("a.md", "# Ports\n\n" + text)
    pieces = windows(passage)
    assert len(pieces) > 3
    assert all(word_count(piece) <= WINDOW_WORDS + 1 for piece in pieces)
    told = "".join(piece.split("\n", 1)[1] for piece in pieces)
    assert "".join(told.split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("front", "url"),
    [
        ("---\nurl: https://docs.example.com/ports\n---\n", "https://docs.example.com/ports#open-a-port"),
        ("---\nowner: us\n---\n", None),
        ("---\nurl: javascript:alert(1)\n---\n", None),
        ("", None),
    ],
)
def test_front_matter_gives_the_sections_their_links(front: str, url: str | None) -> None:
    first, second, _ = sections("ports.md", front + PORTS)
    assert (first.text, second.url) == ("Before anything else.", url)


@pytest.mark.asyncio
async def test_only_what_changed_is_written_and_what_is_gone_is_deleted(pack: Pack, vectors: Vectors) -> None:
    llm = HashLlm()
    seen: list[tuple[int, int]] = []
    first = await ingest(pack, "acme", vectors, llm, lambda done, todo: seen.append((done, todo)))
    assert (first.documents, first.passages, first.written, first.deleted) == (2, 4, 4, 0)
    assert seen[-1] == (4, 4)

    llm.texts.clear()
    again = await ingest(pack, "acme", vectors, llm)
    assert (again.written, again.deleted, llm.texts) == (0, 0, [])

    knowledge = Path(pack.root) / "knowledge" / "net"
    (knowledge / "dns.md").unlink()
    (knowledge / "ports.md").write_text(PORTS.replace("allow 22", "allow 443"), encoding="utf-8")
    third = await ingest(pack, "acme", vectors, llm)
    assert (third.written, third.deleted) == (1, 1)
    assert await vectors.passage("acme", "net/dns.md#records") is None
    changed = await vectors.passage("acme", "net/ports.md#open-a-port")
    assert changed is not None
    assert "allow 443" in changed.text


@pytest.mark.asyncio
async def test_each_tenant_has_its_own_copy(pack: Pack, vectors: Vectors) -> None:
    await ingest(pack, "acme", vectors, HashLlm())
    assert await vectors.fingerprints("rival", KNOWLEDGE) == {}
    await ingest(pack, "rival", vectors, HashLlm())
    assert len(await vectors.fingerprints("acme", KNOWLEDGE)) == 4


@pytest.mark.asyncio
async def test_without_an_encoder_words_find_it_and_the_next_run_embeds_it(pack: Pack, vectors: Vectors) -> None:
    llm = HashLlm()
    llm.down = True
    await ingest(pack, "acme", vectors, llm)
    hits = await vectors.search("acme", KNOWLEDGE, None, "A records of DNS", 1)
    assert hits[0].passage.id == "net/dns.md#records"
    llm.down = False
    assert (await ingest(pack, "acme", vectors, llm)).written == 4
    assert len(llm.texts) == 4


@pytest.mark.asyncio
async def test_a_pack_whose_knowledge_is_gone_answers_from_none(pack: Pack, vectors: Vectors) -> None:
    await ingest(pack, "acme", vectors, HashLlm())
    shutil.rmtree(Path(pack.root) / "knowledge")
    report = await ingest(pack, "acme", vectors, HashLlm())
    assert (report.documents, report.deleted) == (0, 4)
    assert await vectors.fingerprints("acme", KNOWLEDGE) == {}


@pytest.mark.asyncio
async def test_a_document_that_cannot_be_read_is_named_and_nothing_is_written(pack: Pack, vectors: Vectors) -> None:
    (Path(pack.root) / "knowledge" / "bad.md").write_bytes(b"# T\n\xff\n")
    with pytest.raises(InvalidPack, match=r"knowledge/bad\.md.*UTF-8"):
        await ingest(pack, "acme", vectors, HashLlm())
    assert await vectors.fingerprints("acme", KNOWLEDGE) == {}
