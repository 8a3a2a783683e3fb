"""What is known by a place of a procedure: what the customer was asked for, and what calls have given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem.packs.model import Pack, Tool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gives, or a choice."""

    fact: str
    schema: dict[str, Any]
    reads: bool = True
    identity: bool = False


@dataclass(slots=True)
class Known:
    """Grows as the sentences are read."""

    pack: Pack
    asked: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)

    def copy(self) -> Known:
        return Known(self.pack, set(self.asked), list(self.answers))

    @property
    def facts(self) -> set[str]:
        return {*self.pack.slots, *(answer.fact for answer in self.answers)}

    def fact(self, path: str) -> str | None:
        """The path if it begins with a fact."""
        return path if path.split(".")[0] in self.facts else None

    def path(self, path: str) -> str | None:
        """The path from a fact; one that begins with none is read in what was given last."""
        if self.fact(path):
            return path
        last = self.answers[-1] if self.answers else None
        return f"{last.fact}.{path}" if last and _properties(last.schema) & {path.split(".")[0]} else None

    def giver(self, parameter: str) -> str | None:
        """Where a parameter's value comes from, if a call has given it: who was verified, then what was read last."""
        rank = [answer for answer in self.answers if answer.identity] + [a for a in self.answers[::-1] if a.reads]
        return next((f"{answer.fact}.{parameter}" for answer in rank if parameter in _properties(answer.schema)), None)

    def items(self, path: str) -> dict[str, Any]:
        """The schema of one item of a list that a call gave."""
        first, *rest = path.split(".")
        schema = next((answer.schema for answer in self.answers if answer.fact == first), {})
        for part in rest:
            schema = _object(_object(schema).get("properties", {}).get(part, {}))
        return _object(schema.get("items", {}))


def output_of(pack: Pack, tool: Tool) -> dict[str, Any]:
    """The schema of a tool's result; of a long run, of what its poll brings."""
    if tool.progress is None:
        return dict(tool.output)
    schema: dict[str, Any] = dict(pack.tools[tool.progress.poll].output)
    for part in (tool.progress.output or "").split("."):
        schema = _object(schema.get("properties", {}).get(part, {})) if part else schema
    return schema


def _object(schema: Any) -> dict[str, Any]:
    """The one of alternatives that has fields."""
    if not isinstance(schema, dict):
        return {}
    options = [option for key in ("anyOf", "oneOf") for option in schema.get(key, []) if isinstance(option, dict)]
    return next((option for option in options if option.get("type") == "object"), schema)


def _properties(schema: dict[str, Any]) -> set[str]:
    found = _object(schema).get("properties", {})
    return set(found) if isinstance(found, dict) else set()
