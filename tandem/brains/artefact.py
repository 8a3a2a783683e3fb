"""Trained models as files: numbers in one archive, everything else in one JSON beside it. No code is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tandem.brains import rejection
from tandem.brains.brains import Brains
from tandem.brains.compiled import compile_procedures
from tandem.brains.extraction import Extractor, Learnt
from tandem.brains.habits import LEAST, Habits
from tandem.brains.linear import Linear
from tandem.brains.policy import Policy, with_learnt_steps
from tandem.brains.rejection import Lexicon, Rejector
from tandem.brains.trees import Trees
from tandem.brains.values import Embed, Procedure, Step
from tandem.errors import InvalidPack

VERSION = 5
NUMBERS = "brains.npz"
WORDS = "brains.json"
FOLDER = "models"
"""Of a pack, where its models are."""


def save(folder: Path, brains: Brains, learnt_steps: Mapping[str, Sequence[Step]]) -> None:
    """Write the models. A reader never sees half of them: the JSON is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    policy, extractor = brains.policy, brains.extractor
    arrays = {"linear": policy.linear.weights.astype(np.float16)}
    trees = {
        "procedures": policy.procedure_trees,
        "steps": policy.step_trees,
        "values": extractor.values,
        "presence": extractor.presence,
    }
    for name, one in trees.items():
        arrays |= one.arrays(name)
    if brains.rejector:
        arrays |= rejection.arrays(brains.rejector) | brains.rejector.trees.arrays("rejector")
    np.savez_compressed(folder / NUMBERS, **arrays)  # type: ignore[arg-type]
    body = {
        "version": VERSION,
        "facts": dict(brains.facts),
        "rejector": _words_of(brains.rejector) if brains.rejector else None,
        "habits": {key: found for key, found in policy.habits.counts.items() if sum(found.values()) >= LEAST},
        "vocabulary": list(policy.linear.vocabulary),
        "labels": policy.linear.labels,
        "tasks": policy.linear.tasks,
        "learnt": asdict(extractor.learnt),
        "steps": {name: [asdict(step) for step in steps] for name, steps in learnt_steps.items()},
    }
    draft = folder / f".{WORDS}"
    draft.write_text(json.dumps(body), encoding="utf-8")
    draft.rename(folder / WORDS)


def load(folder: Path, procedures: Sequence[Procedure], embed: Embed) -> Brains:
    """The models for these procedures, which may be more than those they were trained with. Raises InvalidPack."""
    body, arrays = _read(folder)
    learnt = {name: [Step(**step) for step in steps] for name, steps in body["steps"].items()}
    compiled = compile_procedures([with_learnt_steps(one, learnt) for one in procedures], embed)
    vocabulary = {name: at for at, name in enumerate(body["vocabulary"])}
    weights = arrays["linear"].astype(np.float32)
    linear = Linear(vocabulary, tuple(body["labels"]), tuple(body["tasks"]), weights)
    trees = Trees.of_arrays(arrays, "procedures"), Trees.of_arrays(arrays, "steps")
    policy = Policy(linear, Habits(body["habits"]), *trees, compiled, embed)
    return Brains(policy, _extractor(body, arrays), _rejector(body["rejector"], arrays), body["facts"])


def _words_of(rejector: Rejector) -> dict[str, Any]:
    lexicon = rejector.lexicon
    return {"telling": lexicon.telling, "rarity": lexicon.rarity, "threshold": rejector.threshold}


def _rejector(body: dict[str, Any] | None, arrays: Mapping[str, NDArray[Any]]) -> Rejector | None:
    if body is None:
        return None
    direction, rejected, accepted = (arrays[name].astype(np.float32) for name in ("direction", "rejected", "accepted"))
    lexicon, trees = Lexicon(body["telling"], body["rarity"]), Trees.of_arrays(arrays, "rejector")
    return Rejector(lexicon, direction, rejected, accepted, trees, body["threshold"])


def save_extractor(folder: Path, extractor: Extractor, facts: Mapping[str, Any]) -> None:
    """Write what fills parameters, alone: `load_extractor` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = extractor.values.arrays("values") | extractor.presence.arrays("presence")
    np.savez_compressed(folder / NUMBERS, **arrays)  # type: ignore[arg-type]
    body = {"version": VERSION, "facts": dict(facts), "learnt": asdict(extractor.learnt)}
    draft = folder / f".{WORDS}"
    draft.write_text(json.dumps(body), encoding="utf-8")
    draft.rename(folder / WORDS)


def load_extractor(folder: Path) -> Extractor:
    """What fills parameters, alone: it needs neither procedures nor an encoder. Raises InvalidPack."""
    return _extractor(*_read(folder))


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        body: dict[str, Any] = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        with np.load(folder / NUMBERS) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        wrong = f"no models can be read from {folder} ({error}): run `tandem pack train`"
        raise InvalidPack(folder.name, [wrong]) from error
    if body["version"] != VERSION:
        raise InvalidPack(folder.name, [f"models of version {body['version']}, not {VERSION}: run `tandem pack train`"])
    return body, arrays


def _extractor(body: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Extractor:
    return Extractor(Learnt(**body["learnt"]), Trees.of_arrays(arrays, "values"), Trees.of_arrays(arrays, "presence"))
