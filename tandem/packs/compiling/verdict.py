"""What a compiled flow would change, and whether the pack's proof permits it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import InvalidError
from tandem.packs.check import check_pack
from tandem.packs.compiling.compile import Source, read_compiled
from tandem.packs.compiling.same import difference
from tandem.packs.model import Pack
from tandem.packs.problems import Problem


@dataclass(frozen=True, slots=True)
class Verdict:
    """One procedure's compilation, before anybody has agreed to it."""

    source: Source
    text: str  # of the flow's file
    rung: str  # words or model
    problems: tuple[Problem, ...]  # of this procedure
    behaves: str | None  # where it differs from the present flow; None: it does the same

    @property
    def ok(self) -> bool:
        return all(problem.severity != "error" for problem in self.problems)

    @property
    def changed(self) -> bool:
        return self.text != self.source.present

    def diff(self) -> str:
        """Against the present file; empty if nothing changes."""
        name = f"{self.source.name}.flow.yaml"
        lines = difflib.unified_diff(
            self.source.present.splitlines(),
            self.text.splitlines(),
            f"{name} (present)",
            f"{name} (compiled)",
            lineterm="",
        )
        return "\n".join(lines)

    def write(self, folder: Path) -> Path:
        path = folder / "procedures" / f"{self.source.name}.flow.yaml"
        path.write_text(self.text, encoding="utf-8")
        return path


def judge(pack: Pack, source: Source, text: str, rung: str) -> Verdict:
    """Raises InvalidError if the text is no flow."""
    flow = read_compiled(pack, source, text)
    proved = check_pack(pack.model_copy(update={"flows": {**pack.flows, source.name: flow}}))
    own = tuple(problem for problem in proved if problem.place.startswith(f"procedures/{source.name}."))
    return Verdict(source, text, rung, own, _behaves(pack, source, text))


def _behaves(pack: Pack, source: Source, text: str) -> str | None:
    if not source.present:
        return "there is no flow yet"
    try:
        present = read_compiled(pack, source, source.present)
    except InvalidError:
        return "the present flow cannot be read"
    return difference(present, read_compiled(pack, source, text))
