"""τ³'s files: policy, tool schemas, database and tasks of a domain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tandem.bench.tau.records import Tables
from tandem.errors import InvalidSettings

Arguments: TypeAlias = dict[str, Any]

DOMAINS = ("retail", "airline")


@dataclass(frozen=True)
class Action:
    """A call that the task's author expects."""

    name: str
    arguments: Arguments


@dataclass(frozen=True)
class Task:
    """A customer with a brief, and what should have been done about it in the end."""

    domain: str
    id: str
    reason: str  # for the call, as the customer is told it ("You want to …")
    known: str  # what the customer knows
    unknown: str
    manner: str  # how the customer behaves
    actions: tuple[Action, ...]
    communicate: tuple[str, ...]  # what the customer must have been told, literally
    assertions: tuple[str, ...]  # about the agent, for a model to judge
    basis: tuple[str, ...]  # which of it counts: DB, COMMUNICATE, NL_ASSERTION

    @property
    def brief(self) -> str:
        """All that the customer is told."""
        return "\n".join(part for part in (self.reason, self.known, self.unknown, self.manner) if part)


@dataclass(frozen=True)
class Domain:
    """What a business delivers."""

    name: str
    policy: str
    schemas: Mapping[str, Mapping[str, Any]]  # operation → its function's schema
    tables: Tables


def domains_of(name: str) -> tuple[str, ...]:
    return DOMAINS if name == "all" else (name,)


def read_domain(data: Path, name: str) -> Domain:
    """Raises InvalidSettings for a folder without the domain."""
    folder = data / name
    if not (folder / "tools_schema.json").is_file():
        raise InvalidSettings(f"no {name}/tools_schema.json in {data}; --data is the folder tau3")
    listed = _json(folder / "tools_schema.json")
    whole = folder / "db.json"
    tables = (
        _json(whole) if whole.is_file() else {path.stem[3:]: _json(path) for path in sorted(folder.glob("db_*.json"))}
    )
    schemas = {tool["function"]["name"]: tool["function"] for tool in listed}
    return Domain(name, (folder / "policy.md").read_text(encoding="utf-8"), schemas, tables)


def read_tasks(data: Path, name: str, split: str) -> list[Task]:
    """A domain's tasks of a split, in the order of the file. Raises InvalidSettings if there is no such split."""
    path = data / name / f"tasks_{split}.json"
    if not path.is_file():
        there = sorted(found.stem.removeprefix("tasks_") for found in path.parent.glob("tasks_*.json"))
        raise InvalidSettings(f"no {path.name} for {name}; there is {', '.join(there) or 'no split'}")
    return [_task(name, raw) for raw in _json(path)]


def _task(domain: str, raw: Mapping[str, Any]) -> Task:
    told, wanted = raw["user_scenario"]["instructions"], raw["evaluation_criteria"]
    return Task(
        domain,
        str(raw["id"]),
        reason=str(told.get("reason_for_call") or "").strip(),
        known=str(told.get("known_info") or "").strip(),
        unknown=str(told.get("unknown_info") or "").strip(),
        manner=str(told.get("task_instructions") or "").strip(),
        actions=tuple(Action(one["name"], dict(one["arguments"])) for one in wanted.get("actions") or ()),
        communicate=tuple(wanted.get("communicate_info") or ()),
        assertions=tuple(wanted.get("nl_assertions") or ()),
        basis=tuple(wanted.get("reward_basis") or ()),
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
