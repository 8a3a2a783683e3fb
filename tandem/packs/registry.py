"""The packs of a deployment, by name and version."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import ValidationError

from tandem.errors import InvalidPack
from tandem.packs.load import load_pack
from tandem.packs.model import Pack

log = logging.getLogger(__name__)


class Packs:
    """A folder of packs, each loaded once.

    A ticket runs to its end on the version it began with: every version served is frozen in `cache`, and found there by
    its hash when the folder has moved on. Without a cache, or when the hash is in neither, the current version serves.
    """

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self._root = root
        self._cache = cache
        self._current: dict[str, Pack] = {}
        self._frozen: dict[tuple[str, str], Pack] = {}

    def names(self) -> list[str]:
        """Every pack of the folder, loaded or not."""
        return sorted(path.parent.name for path in self._root.glob("*/pack.yaml"))

    def get(self, name: str, hash: str | None = None) -> Pack:
        """The pack, in the version of that hash if it is to be had, else in the current one. Raises InvalidPack."""
        current = self._current.get(name) or self._load(name)
        if hash is None or hash == current.hash:
            return current
        frozen = self._frozen.get((name, hash)) or self._thaw(name, hash)
        if frozen is None:
            log.warning("pack version not found, the current one serves", extra={"pack": name, "pack.hash": hash})
        return frozen or current

    def reload(self, name: str) -> Pack:
        """Read the folder again. A pack that has become invalid raises InvalidPack and the version before stays."""
        before = self._current.get(name)
        pack = self._load(name)
        if before is not None:
            self._frozen[name, before.hash] = before
        return pack

    def _load(self, name: str) -> Pack:
        if name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise InvalidPack(name, [f"{self._root}: there is no pack {name!r}; known: {known}"])
        pack = load_pack(self._root / name)
        self._current[name] = pack
        self._freeze(pack)
        return pack

    def _file(self, cache: Path, name: str, hash: str) -> Path:
        return cache / f"{name}-{hash}.json"

    def _freeze(self, pack: Pack) -> None:
        if self._cache is None:
            return
        target = self._file(self._cache, pack.name, pack.hash)
        if target.exists():
            return
        self._cache.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".draft")
        draft.write_text(pack.model_dump_json(), encoding="utf-8")
        draft.replace(target)

    def _thaw(self, name: str, hash: str) -> Pack | None:
        target = self._file(self._cache, name, hash) if self._cache and hash.isalnum() else None
        if target is None or not target.is_file():
            return None
        try:
            pack = Pack.model_validate_json(target.read_bytes())
        except ValidationError:
            log.warning("frozen pack cannot be read by this release", extra={"pack": name, "pack.hash": hash})
            return None
        self._frozen[name, hash] = pack
        return pack
