"""Splits of the routing data, and a part of BANKING77 where the data is."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tandem.bench.routing_data import read_texts
from tandem.brains.learning.intents import Messages, train
from tandem.embedded.sentences import Sentences
from tandem.errors import InvalidSettings

BANKING = Path(os.environ.get("TANDEM_ROUTING_DATA", Path(__file__).parents[4] / "shared" / "data" / "banking77"))
PART, ASKED = 4, 3


def write(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows(kind: str, count: int) -> list[dict[str, str]]:
    return [{"text": f"{kind} {at}", "intent": kind} for at in range(count)]


def test_a_tenth_of_train_is_dev_where_there_is_no_other(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows("card", 300))
    parts = {split: set(read_texts(tmp_path, split).texts) for split in ("train", "dev", "all")}
    assert parts["train"] | parts["dev"] == parts["all"]
    assert not parts["train"] & parts["dev"]
    assert 10 < len(parts["dev"]) < 60
    with pytest.raises(InvalidSettings, match="train"):
        read_texts(tmp_path, "test")


def test_dev_is_val_where_that_is_there(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows("card", 20))
    write(tmp_path / "val.jsonl", rows("cash", 5))
    write(tmp_path / "oos_train.jsonl", rows("joke", 2))
    write(tmp_path / "oos_train_plus.jsonl", rows("joke", 4))
    write(tmp_path / "oos_val.jsonl", rows("song", 3))
    dev, learnt = read_texts(tmp_path, "dev"), read_texts(tmp_path, "train")
    assert (set(dev.labels), len(dev.texts), len(dev.outside)) == ({"cash"}, 5, 3)
    assert (len(learnt.texts), len(learnt.outside)) == (20, 4)
    assert read_texts(tmp_path, "all") == learnt


def test_a_department_is_named_by_a_customers_first_messages(tmp_path: Path) -> None:
    said = [{"conv": "a", "text": f"line {at}"} for at in range(5)]
    write(tmp_path / "media_dev.jsonl", said)
    write(tmp_path / "media_train.jsonl", said)
    found = read_texts(tmp_path, "dev")
    assert (found.texts, found.labels) == (("line 0\nline 1\nline 2",), ("media",))


if BANKING.is_dir():

    def test_a_part_of_banking77() -> None:
        """A quarter of what may be learnt from; a third of the dev messages."""
        embed = Sentences()
        known, asked = read_texts(BANKING, "train"), read_texts(BANKING, "dev")
        texts, labels = known.texts[::PART], known.labels[::PART]
        model = train(Messages(texts, labels, embed(texts)), date(2026, 1, 1), lambda text: None)
        chosen, wanted = asked.texts[::ASKED], asked.labels[::ASKED]
        guesses = [model.guess(text, vector) for text, vector in zip(chosen, embed(chosen), strict=True)]
        right = [guess.intents[0][0] == label for guess, label in zip(guesses, wanted, strict=True)]
        assert np.mean(right) > 0.85
