"""The small models for STAR: trained from its train split, and kept by the hash of what they were trained from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from tandem.bench.star.points import Recorded, read_catalogue, read_points
from tandem.brains import artefact
from tandem.brains.brains import Brains
from tandem.brains.catalogue import known_api
from tandem.brains.learning.moments import Moment
from tandem.brains.values import Embed, Procedure
from tandem.packs.model import Pack

CACHE = Path.home() / ".cache" / "tandem" / "models"

READERS = 2
"""Changes with the code that learns to read parameters, and with the converter's tools."""

RECIPE = "8"
"""Changes with the code that trains."""

Say = Callable[[str], None]


def moments(dialogues: Iterable[Recorded]) -> list[Moment]:
    """What training wants of recorded dialogues."""
    return [
        Moment(point.situation, dialogue.id, point.task, point.kind, point.step, point.params, point.text)
        for dialogue in dialogues
        for point in dialogue.points
    ]


def models(data: Path, given: Path | None, cache: Path, embed: Embed, say: Say) -> Brains:
    """Those in the folder `given`; else those in the cache, trained first if they are not there."""
    catalogue = read_catalogue(data)
    procedures = list(catalogue.values())
    if given is not None:
        return artefact.load(given, procedures, embed)
    folder = cache / f"star-{content_hash(data)}"
    if not (folder / artefact.WORDS).exists():
        say(f"training on {data}; the models are kept in {folder}")
        train_into(folder, data, catalogue, embed, say)
    else:
        say(f"models of {folder}")
    return artefact.load(folder, procedures, embed)


def train_into(folder: Path, data: Path, catalogue: dict[str, Procedure], embed: Embed, say: Say) -> None:
    from tandem.brains.learning.train import train

    recorded = moments(read_points(data, "train", catalogue))
    trained = train(recorded, list(catalogue.values()), embed, datetime.now(UTC).date(), say)
    artefact.save(folder, trained.brains, trained.steps)


def extractor(data: Path, pack: Pack, cache: Path, say: Say) -> Path:
    """The folder of models that fill the parameters of the pack's tools, learnt first if they are not in the cache."""
    folder = cache / f"star-values-{artefact.VERSION}.{READERS}-{content_hash(data)}"
    if not (folder / artefact.WORDS).exists():
        from tandem.brains.learning import parameters
        from tandem.brains.learning.train import recorded_calls

        say(f"learning from {data} to read parameters (a minute or two); kept in {folder}")
        recorded = moments(read_points(data, "train", read_catalogue(data)))
        apis = {api.name: api for api in (known_api(pack, tool) for tool in pack.tools.values())}
        artefact.save_extractor(folder, parameters.fit(*recorded_calls(recorded, apis)), {"data": folder.name})
    return folder


def content_hash(data: Path) -> str:
    """Of what training reads. Procedures without train dialogues do not count: they need no training."""
    digest = hashlib.blake2b(RECIPE.encode(), digest_size=8)
    digest.update((data / "dialogues_train.jsonl").read_bytes())
    digest.update((data / "DERIVED_action_types.json").read_bytes())
    return digest.hexdigest()
