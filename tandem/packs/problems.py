"""What is wrong with a pack: where it is, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ValidationError

MOST_NAMED = 12

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
                if (
                    item["type"] != "too_short" or len(error.errors()) == 1
                ):  # what is wrong inside is left out of the count
                    self.error(_at(place, item["loc"]), _explain(model, item["type"], item["loc"], item["msg"]))
            return None


_KINDS = {
    "missing": "is missing; add it",
    "model_type": "must be a mapping of fields, like `name: value`",
    "dict_type": "must be a mapping, like `name: value`",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be a text",
}
"""What pydantic calls by Python's names, in an author's words."""


def at(file: str, *path: object) -> str:
    """A place: the file, then the path inside it."""
    inside = ".".join(str(part) for part in path)
    return f"{file}: {inside}" if inside else file


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """A sentence for a name that leads nowhere."""
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=1)
    shown = ", ".join([*options[:MOST_NAMED], *(["…"] if len(options) > MOST_NAMED else [])])
    hint = f"did you mean {near[0]!r}?" if near else f"known: {shown or 'none'}"
    return f"there is no {what} {name!r}; {hint}"


def _at(place: str, loc: Sequence[int | str]) -> str:
    if not loc:
        return place
    path = ".".join(map(str, loc))
    return f"{place}.{path}" if ": " in place else f"{place}: {path}"


def _explain(model: type[BaseModel], kind: str, loc: Sequence[int | str], message: str) -> str:
    if kind == "extra_forbidden":
        holder = _model_at(model, loc[:-1])
        return (
            unknown(str(loc[-1]), holder.model_fields, "field")
            if holder
            else "unknown field; correct its name or remove it"
        )
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    return _KINDS.get(kind) or message[0].lower() + message[1:]


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model at a place inside another; places in lists and mappings are passed over."""
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field else None
        model = inner or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
