"""What values of a parameter look like, learnt from the business's own records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tandem.bench.tau.records import Tables

MOST_SHAPES = 4
_RUN = re.compile(r"\d+|[a-z]+|[^a-z0-9]+")


def values_of(tables: Tables, name: str) -> list[str]:
    """Every text that the records have under a name; of an id also the keys of its table, and of the fields named for it."""
    table = tables.get(f"{name.removesuffix('_id').removesuffix('_number')}s", {})
    return [*table, *(value for rows in tables.values() for row in rows.values() for value in _under(row, name))]


def form(values: Iterable[str]) -> str | None:
    """A regular expression that all values fit, by runs of digits and small letters; None if they have no common form."""
    seen = list(dict.fromkeys(values))
    if not seen:
        return None
    if all(re.fullmatch(r"[A-Z0-9]+", value) for value in seen) and len({len(value) for value in seen}) == 1:
        return rf"\b[A-Z0-9]{{{len(seen[0])}}}\b"
    shapes: dict[str, list[list[str]]] = {}
    for value in seen:
        runs = _RUN.findall(value)
        shapes.setdefault("|".join(map(_class, runs)), []).append(runs)
    if len(shapes) > MOST_SHAPES:
        return None
    return rf"(?<!\w)(?:{'|'.join(_of_shape(many) for many in shapes.values())})(?!\w)"


def _under(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, str):
                yield inner
            else:
                yield from _under(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _under(inner, name)


def _class(run: str) -> str:
    return r"\d" if run.isdigit() else "[a-z]" if run.isalpha() and run.islower() else re.escape(run)


def _of_shape(many: list[list[str]]) -> str:
    """The runs of one shape, each as long as it ever is; a small word that never varies stands as it is."""
    parts = []
    for column in zip(*many, strict=True):
        lengths = {len(run) for run in column}
        kind = _class(column[0])
        if len(set(column)) == 1 and len(many) > 1:
            parts.append(re.escape(column[0]))
        elif kind in (r"\d", "[a-z]"):
            parts.append(f"{kind}{{{lengths.pop()}}}" if len(lengths) == 1 and kind == r"\d" else f"{kind}+")
        else:
            parts.append(kind)
    return "".join(parts)
