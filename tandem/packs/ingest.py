"""A pack's knowledge, into the vectors: what changed is written, what is gone is deleted, the rest is not touched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tandem.contracts.values import digest
from tandem.errors import InvalidPack, Unavailable
from tandem.packs.files import read_text
from tandem.packs.markdown import folded, sections, windows
from tandem.packs.model import Pack
from tandem.packs.problems import Problems
from tandem.rpc.ports import Llm
from tandem.text import mostly_cjk
from tandem.vectors.base import KNOWLEDGE, Passage, Vectors, Window, point_id

logger = logging.getLogger(__name__)

BATCH = 64
EMBED_S = 60.0
FORMAT = "2"
"""Raised when windows are cut or embedded in another way, so that all are written again."""

Progress = Callable[[int, int], None]
"""Called with (windows done, windows to do)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingestion found and did."""

    documents: int
    passages: int
    windows: int
    written: int
    deleted: int


async def ingest(pack: Pack, tenant: str, vectors: Vectors, llm: Llm, progress: Progress | None = None) -> IngestReport:
    """Bring a tenant's knowledge up to date with the pack's. It may be stopped at any time and run again.

    Raises InvalidPack for documents that cannot be read, Unavailable if the vectors cannot serve.
    """
    documents = _read(pack)
    passages = folded(_passages(documents))
    wanted = {point_id(tenant, window.passage.id, window.number): window for window in _windows(passages)}
    known = await vectors.fingerprints(tenant, KNOWLEDGE)
    changed = [window for id, window in wanted.items() if known.get(id) != window.fingerprint]
    gone = [id for id in known if id not in wanted]
    for start in range(0, len(changed), BATCH):
        batch = changed[start : start + BATCH]
        await vectors.upsert(tenant, KNOWLEDGE, await _embedded(batch, llm))
        if progress:
            progress(start + len(batch), len(changed))
    if gone:
        await vectors.delete(tenant, KNOWLEDGE, gone)
    return IngestReport(
        documents=len(documents), passages=len(passages), windows=len(wanted), written=len(changed), deleted=len(gone)
    )


def knowledge(pack: Pack) -> list[Passage]:
    """The sections of a pack's documents. Raises InvalidPack."""
    return _passages(_read(pack))


def _passages(documents: Mapping[str, str]) -> list[Passage]:
    return [passage for doc, text in documents.items() for passage in sections(doc, text)]


def _read(pack: Pack) -> dict[str, str]:
    """Text by path below the knowledge folder."""
    problems = Problems()
    root = Path(pack.root)
    folder = root / "knowledge"
    read = {
        path.relative_to(folder).as_posix(): read_text(root, path, problems) for path in sorted(folder.rglob("*.md"))
    }
    if problems.errors:
        raise InvalidPack(pack.name, [str(problem) for problem in problems.errors])
    return {doc: text for doc, text in read.items() if text is not None}


def _windows(passages: Sequence[Passage]) -> list[Window]:
    return [
        Window(passage=passage, number=number, text=text, fingerprint=digest([FORMAT, passage.model_dump(), text]))
        for passage in passages
        for number, text in enumerate(windows(passage))
    ]


async def _embedded(batch: Sequence[Window], llm: Llm) -> list[Window]:
    """The windows with their vectors. Without an encoder they are found by words, and written again next time.

    Chinese ones have none: the small encoder sees little but unknown signs in them, and questions in Chinese are not embedded.
    """
    read = [window for window in batch if not mostly_cjk(window.text)]
    if not read:
        return list(batch)
    try:
        vectors = await llm.embed([window.text for window in read], EMBED_S)
    except Unavailable as error:
        logger.warning("knowledge kept without embeddings", extra={"error": str(error)})
        return [replace(window, fingerprint="") for window in batch]
    known = dict(zip((window.text for window in read), vectors, strict=True))
    return [replace(window, dense=known.get(window.text)) for window in batch]
