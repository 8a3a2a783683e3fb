"""Parameter judgment and assembly: which arguments a call can have, from where, and what is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.function_agent.coercion import Words, coerce
from services.function_agent.mentions import mentions
from tandem.contracts.tasks import AssembleCall, CallProposal
from tandem.contracts.ticket import Fact
from tandem.contracts.values import Json, canonical_json
from tandem.packs.model import Pack, Slot, Tool

CONFIDENCE = {"bound": 1.0, "fact": 0.95, "said": 0.8}
_SHORT = 3
"""A text shorter than this is no sign of where a bound value came from."""


@dataclass
class Arguments:
    """Arguments as they are found, each with its origin and how sure it is."""

    values: dict[str, Json] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    confidence: float = 1.0

    def put(self, name: str, value: Json, origin: str, confidence: float) -> None:
        self.values[name] = value
        self.origins[name] = origin
        self.confidence = min(self.confidence, confidence)


def assemble(task: AssembleCall, pack: Pack, tool: Tool) -> CallProposal:
    """The call to one tool: from what the flow binds, then what the ticket knows, then what the customer wrote last."""
    found = Arguments()
    for name, value in task.bound.items():
        found.put(name, value, origin_of_bound(value, task.facts), CONFIDENCE["bound"])
    for name in tool.properties.keys() - found.values.keys():
        known = _from_facts(name, task.facts, pack, tool)
        if known is not None:
            found.put(name, *known, CONFIDENCE["fact"])
    for name in sorted({name for group in missing(tool, found.values) for name in group}):
        said = _from_words(name, task, pack, tool)
        if said is not None:
            found.put(name, said, "customer", CONFIDENCE["said"])
    return proposal(tool, found)


def proposal(tool: Tool, found: Arguments) -> CallProposal:
    """The call as far as it has been found."""
    lacking = missing(tool, found.values)
    return CallProposal(
        tool=tool.name,
        arguments={name: found.values[name] for name in sorted(found.values)},
        missing=lacking,
        origins=found.origins,
        confidence=0.0 if lacking else found.confidence,
        reason="missing: " + "; ".join(" or ".join(group) for group in lacking) if lacking else "",
    )


def missing(tool: Tool, arguments: Mapping[str, Json]) -> tuple[tuple[str, ...], ...]:
    """What the call still lacks: groups of parameters, of which any one is enough."""
    groups: list[tuple[str, ...]] = [(name,) for name in tool.required]
    groups += [group for group in tool.alternatives if not any(name in tool.required for name in group)]
    return tuple(group for group in groups if not any(name in arguments for name in group))


def slot_of(name: str, pack: Pack, tool: Tool) -> Slot | None:
    """The slot by which customers give a parameter."""
    return pack.slots.get(tool.slots.get(name, name))


def words_of(slot: Slot | None) -> Words:
    return slot.choices if slot else {}


def conversation(task: AssembleCall) -> list[str]:
    """What the customer wrote, the last first; the goal is the first thing they wrote."""
    lines = [line.text for line in task.recent if line.who == "customer"]
    return [*reversed(lines), *([task.goal] if task.goal and task.goal not in lines else [])]


def origin_of_bound(value: Json, facts: Mapping[str, Fact]) -> str:
    """Where a bound value came from: a fact that holds it, else the pack itself."""
    if isinstance(value, bool) or value is None or (isinstance(value, str) and len(value) < _SHORT):
        return "system"
    wanted = canonical_json(value)
    origins = {fact.origin for fact in facts.values() for part in _parts(fact.value) if canonical_json(part) == wanted}
    return next((origin for origin in ("knowledge", "customer", "tool", "expert") if origin in origins), "system")


def _parts(value: Json) -> Iterator[Json]:
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)


def _from_facts(name: str, facts: Mapping[str, Fact], pack: Pack, tool: Tool) -> tuple[Json, str] | None:
    for fact_name in dict.fromkeys((tool.slots.get(name, name), name)):
        fact = facts.get(fact_name)
        value = coerce(fact.value, _schema(tool, name), words_of(slot_of(name, pack, tool))) if fact else None
        if fact is not None and value is not None:
            return value, fact.origin
    return None


def _from_words(name: str, task: AssembleCall, pack: Pack, tool: Tool) -> Json:
    slot = slot_of(name, pack, tool)
    for line in conversation(task):
        for written in reversed(mentions(line, name, _schema(tool, name), slot)):
            value = coerce(written, _schema(tool, name), words_of(slot))
            if value is not None:
                return value
    return None


def _schema(tool: Tool, name: str) -> dict[str, Any]:
    return dict(tool.properties.get(name, {}))
