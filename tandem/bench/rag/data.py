"""The data set's folder: its pages as a pack's knowledge, its questions, its API catalogue."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tandem.errors import InvalidSettings
from tandem.packs.model import Pack

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question in one language and the sections that answer it, by language."""

    id: str
    language: Language
    text: str
    answer: str
    gold: Mapping[str, frozenset[str]]  # language → ids of sections

    def pages(self, language: str) -> frozenset[str]:
        return frozenset(id.rpartition("#")[0] for id in self.gold.get(language, ()))


def read_questions(data: Path, split: str, limit: int | None = None) -> list[Question]:
    """Those that stand word for word elsewhere in the pages are left out. Raises InvalidSettings if there are none."""
    if not (data / f"faq_{split}.jsonl").exists():
        raise InvalidSettings(
            f"{data} has no faq_{split}.jsonl; --data is the folder alibaba_docs, --split one of its splits"
        )
    rows = [row for row in _rows(data / f"faq_{split}.jsonl") if not row["verbatim_elsewhere"]]
    return [
        Question(row["id"], language, row[f"question_{language}"], row[f"answer_{language}"], _gold(row))
        for row in rows[:limit]
        for language in _languages(row)
    ]


def _languages(row: Mapping[str, Any]) -> list[Language]:
    known: tuple[Language, ...] = ("en", "zh")
    return [language for language in known if row.get(f"question_{language}")]


def _gold(row: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    return {
        language: frozenset(
            f"{one['doc_id']}#{one['section']}" for one in row["gold"] if language_of(one["doc_id"]) == language
        )
        for language in ("en", "zh")
    }


def language_of(doc: str) -> Language:
    """Of a page, by the tree it stands in."""
    return "zh" if "/cn.zh-CN/" in doc else "en"


def make_pack(data: Path, language: Language, home: Path) -> Pack:
    """The pages of a language as a pack's knowledge below `home`, written once."""
    pages = {
        row["doc_id"]: row["text"] for file in sorted(data.glob(f"corpus_*_{language}.jsonl")) for row in _rows(file)
    }
    if not pages:
        raise InvalidSettings(f"{data} has no corpus_*_{language}.jsonl: give --data the folder alibaba_docs")
    hash = hashlib.blake2b(json.dumps(pages, sort_keys=True).encode(), digest_size=8).hexdigest()
    root = home / f"alibaba_{language}-{hash}"
    if not root.exists():
        draft = home / f".{root.name}"
        shutil.rmtree(draft, ignore_errors=True)
        for doc, text in pages.items():
            path = draft / "knowledge" / doc
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        draft.rename(root)
    return Pack(name=f"alibaba_{language}", hash=hash, root=str(root), languages=(language,))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be read ({error.strerror}): --data and --split name the data") from error
    return (json.loads(line) for line in lines if line.strip())


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API."""

    name: str
    description: str
    params: tuple[tuple[str, str], ...]


def read_operations(data: Path) -> list[Operation]:
    return [
        Operation(
            row["api"], row["description"], tuple((one["name"], one["description"] or "") for one in row["params"])
        )
        for row in _rows(data / "api_catalog.jsonl")
    ]


def read_jobs(data: Path, split: str) -> list[tuple[str, frozenset[str]]]:
    """What is to be done, and the operations that do it."""
    return [(row["task"], frozenset(row["apis"])) for row in _rows(data / f"api_retrieval_{split}.jsonl")]
