"""Intents that people wrote elsewhere: BANKING77, CLINC150, and MultiDoGO's departments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.brains.values import Embed, Vectors
from tandem.errors import InvalidSettings

PARTS = 10
"""Where a data set has no dev split, every tenth text by its hash is it, and training leaves it out."""

OPENING = 3
"""MultiDoGO: so many of a customer's first messages name the department; the first is mostly a greeting."""


@dataclass(frozen=True)
class Texts:
    """Messages and what each is about; `outside` are about nothing the agent can do."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    outside: tuple[str, ...] = ()


def read_texts(data: Path, split: str) -> Texts:
    """One split of a data set's folder; `dev` is `val` where that is there; `all` is all that may be
    learnt from when neither is measured. Raises InvalidSettings."""
    if not list(data.glob("*train.jsonl")):
        raise InvalidSettings(f"{data} has no train.jsonl; --data is the folder of banking77, clinc150 or multidogo")
    if list(data.glob("*_train.jsonl")) and not (data / "train.jsonl").exists():
        return _departments(data, "train" if split == "all" else split)
    if (data / "val.jsonl").exists():
        split = {"dev": "val", "all": "train"}.get(split, split)
    file = data / f"{split}.jsonl"
    foreign = _rows(data / f"oos_{split}_plus.jsonl") or _rows(data / f"oos_{split}.jsonl")
    outside = tuple(row["text"] for row in foreign)
    if file.exists() and (split != "train" or (data / "val.jsonl").exists()):
        return _texts(_rows(file), outside)
    if split == "all":
        return _texts(_rows(data / "train.jsonl"), outside)
    if split not in ("train", "dev"):
        raise InvalidSettings(f"{data} has no {split}.jsonl; there are: {', '.join(_splits(data))}")
    rows = [row for row in _rows(data / "train.jsonl") if (_part(row["text"]) == 0) == (split == "dev")]
    return _texts(rows, outside)


def embedded(texts: Sequence[str], embed: Embed, cache: Path) -> Vectors:
    """Their vectors, kept in the folder by the hash of the texts."""
    digest = hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()
    file = cache / f"sentences-{digest}.npy"
    if file.exists():
        kept: Vectors = np.load(file).astype(np.float32)
        return kept
    vectors = embed(texts)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(file, vectors.astype(np.float16))
    return vectors


def _departments(data: Path, split: str) -> Texts:
    files = sorted(data.glob(f"*_{split}.jsonl"))
    if not files:
        raise InvalidSettings(f"{data} has no split {split!r}")
    texts: list[str] = []
    labels: list[str] = []
    for file in files:
        said: dict[str, list[str]] = {}
        for row in _rows(file):
            said.setdefault(row["conv"], []).append(row["text"])
        texts += ["\n".join(one[:OPENING]) for one in said.values()]
        labels += [file.name.removesuffix(f"_{split}.jsonl")] * len(said)
    return Texts(tuple(texts), tuple(labels))


def _texts(rows: Sequence[dict[str, str]], outside: tuple[str, ...]) -> Texts:
    return Texts(tuple(row["text"] for row in rows), tuple(row["intent"] for row in rows), outside)


def _rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _splits(data: Path) -> list[str]:
    return sorted(file.stem for file in data.glob("*.jsonl") if not file.stem.startswith("oos"))


def _part(text: str) -> int:
    return hashlib.blake2b(text.encode(), digest_size=4).digest()[0] % PARTS
