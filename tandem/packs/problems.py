"""What is wrong with a pack: where it is, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. An `error` forbids release, a `warning` does not."""

    severity: Literal["error", "warning"]
    place: str  # file and path inside it: "procedures/x.flow.yaml: nodes.ask"
    message: str  # what is wrong and what to do

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass
class Problems:
    """Collects problems, so that an author sees all of them at once."""

    found: list[Problem] = field(default_factory=list)

    def error(self, place: str, message: str) -> None:
        self.found.append(Problem("error", place, message))

    def warning(self, place: str, message: str) -> None:
        self.found.append(Problem("warning", place, message))

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.found if problem.severity == "error"]

    def read(self, model: type[M], data: Any, place: str) -> M | None:
        """The data as a model, or None with every reason written down."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False, include_context=False):
                self.error(_at(place, item["loc"]), _explain(model, item["type"], item["loc"], item["msg"]))
            return None


def at(file: str, *path: object) -> str:
    """A place: the file, then the path inside it."""
    inside = ".".join(str(part) for part in path)
    return f"{file}: {inside}" if inside else file


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """A sentence for a name that leads nowhere."""
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(options[:12]) or 'none'}"
    return f"there is no {what} {name!r}; {hint}"


def _at(place: str, loc: Sequence[int | str]) -> str:
    if not loc:
        return place
    path = ".".join(map(str, loc))
    return f"{place}.{path}" if ": " in place else f"{place}: {path}"


def _explain(model: type[BaseModel], kind: str, loc: Sequence[int | str], message: str) -> str:
    if kind == "extra_forbidden" and len(loc) == 1:
        return f"unknown field; {unknown(str(loc[-1]), model.model_fields, 'field')}"
    if kind == "extra_forbidden":
        return "unknown field; correct its name or remove it"
    if kind == "missing":
        return "is missing; add it"
    return message[0].lower() + message[1:]
