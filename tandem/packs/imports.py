"""Tools taken in from others: what an API or an MCP server says of itself becomes a proposal that a person reads.

Foreign words are data: facts that a document claims for itself (`x-tandem`) are dropped, each class is proposed cautiously, and
what was read is pinned.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from tandem.errors import InvalidPack
from tandem.mcp_link import MAX_WORDS, Described
from tandem.packs.files import parse_yaml, read_mapping
from tandem.packs.model import Tool
from tandem.packs.pins import is_as_approved, pin
from tandem.packs.problems import Problems
from tandem.packs.scaffold import operation_id
from tandem.packs.tools import operations, read_tools, resolve
from tandem.text import one_line

Change: TypeAlias = Literal["new", "changed", "same", "gone"]
READS = frozenset({"get", "head", "options"})
KEY_HEADER = "idempotency-key"
NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A file of tools as it would become."""

    path: Path
    before: str
    after: str
    tools: Mapping[str, Tool]
    changes: Mapping[str, Change]
    left_out: Mapping[str, str] = field(default_factory=dict)  # operation → why

    @property
    def differs(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), "as it is", "as it would be", lineterm="", n=2
        )
        return "\n".join(lines)


def from_openapi(folder: Path, name: str, document: Mapping[str, Any], server: str, only: Iterable[str]) -> Proposal:
    """An API's operations as tools/NAME.yaml. Raises InvalidPack if nothing of it can be taken in."""
    path, before, known = _file(folder, name)
    taken = _names_elsewhere(folder, path)
    wanted = frozenset(only)
    left_out: dict[str, str] = {}
    paths: dict[str, dict[str, Any]] = {}
    head = {"openapi": "3.1.0", "info": _info(document, name), "servers": [{"url": server}]}
    for where, method, operation in _operations(document):
        tool = operation["operationId"]
        if wanted and tool not in wanted:
            continue
        if tool in taken:
            left_out[tool] = f"is in {taken[tool]} already"
            continue
        facts = dict(known.get(tool) or {"class": proposed_class(method, operation)})
        operation["x-tandem"] = {key: value for key, value in facts.items() if key != "pinned"}
        wrong = _problems(tool, {**head, "paths": {where: {method: operation}}})
        if wrong:
            left_out[tool] = wrong
        else:
            paths.setdefault(where, {})[method] = operation
    return _proposal(path, before, {**head, "paths": paths}, left_out)


def from_mcp(folder: Path, name: str, tools: Iterable[Described], only: Iterable[str]) -> Proposal:
    """An MCP server's tools as tools/NAME.yaml. Raises InvalidPack if nothing of it can be taken in."""
    path, before, known = _file(folder, name)
    taken = _names_elsewhere(folder, path)
    wanted = frozenset(only)
    left_out: dict[str, str] = {}
    found: dict[str, dict[str, Any]] = {}
    for tool in sorted(tools, key=lambda each: each.name):
        if wanted and tool.name not in wanted:
            continue
        if tool.name in taken:
            left_out[tool.name] = f"is in {taken[tool.name]} already"
            continue
        klass = "read" if tool.read_only else "idempotent" if tool.idempotent else "unsafe"
        facts = {key: value for key, value in (known.get(tool.name) or {"class": klass}).items() if key != "pinned"}
        said = {"description": tool.description, "parameters": tool.parameters, "output": tool.output}
        wrong = _problems(tool.name, {"mcp": name, "tools": {tool.name: {**facts, **said}}})
        if wrong:
            left_out[tool.name] = wrong
        else:
            found[tool.name] = {**facts, **said}
    return _proposal(path, before, {"mcp": name, "tools": found}, left_out)


def proposed_class(method: str, operation: Mapping[str, Any]) -> str:
    """What a call may be taken for, before a person has judged it: a write is unsafe unless it takes a key."""
    if method in READS:
        return "read"
    headers = {
        str(item.get("name", "")).lower() for item in operation.get("parameters", ()) if item.get("in") == "header"
    }
    return "idempotent" if KEY_HEADER in headers else "unsafe"


def approved(folder: Path, name: str) -> Proposal:
    """The file with the tool's description, as it is now, approved. Raises InvalidPack if there is no such pinned tool."""
    for path in sorted((folder / "tools").glob("*.yaml")):
        before = path.read_text(encoding="utf-8")
        tool = _tools(parse_yaml(before)).get(name)
        if tool is None:
            continue
        if tool.pinned is None:
            raise InvalidPack(folder.name, [f"{name} is the pack's own: it has no `pinned`, and needs no approval"])
        now = pin(tool)
        after = before if now == tool.pinned else before.replace(tool.pinned, now)
        change: Change = "same" if now == tool.pinned else "changed"
        return Proposal(path, before, after, {name: tool}, {name: change})
    raise InvalidPack(folder.name, [f"there is no tool {name!r} in {folder / 'tools'}"])


def _file(folder: Path, name: str) -> tuple[Path, str, dict[str, dict[str, Any]]]:
    """Where the tools would stand, what stands there, and the facts that a person has given them."""
    path = folder / "tools" / f"{name}.yaml"
    if not (folder / "pack.yaml").is_file():
        raise InvalidPack(folder.name, [f"{folder} is no pack: it has no pack.yaml"])
    if not path.is_file():
        return path, "", {}
    before = path.read_text(encoding="utf-8")
    data = parse_yaml(before)
    known = {operation["operationId"]: operation.get("x-tandem", {}) for _, _, operation, _ in operations(data)}
    said = ("description", "parameters", "output")
    for tool, facts in (data.get("tools") or {}).items() if isinstance(data.get("tools"), dict) else ():
        known[tool] = {key: value for key, value in facts.items() if key not in said}
    return path, before, known


def _names_elsewhere(folder: Path, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for other in sorted((folder / "tools").glob("*.yaml")):
        data = read_mapping(folder, other, Problems()) if other != path else None
        if data is not None:
            found |= dict.fromkeys(_tools(data), other.name)
    return found


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation by itself: references replaced, the path's parameters its own, nothing kept that no call needs."""
    whole = dict(document)
    for where, method, operation, shared in operations(whole):
        try:
            own = resolve(operation.get("parameters") or [], whole)
            named = {(item.get("name"), item.get("in")) for item in own}
            inherited = [item for item in resolve(shared, whole) if (item.get("name"), item.get("in")) not in named]
            kept = {
                "operationId": str(operation.get("operationId") or operation_id(method, where)),
                "summary": one_line(operation.get("summary") or operation.get("description") or "", MAX_WORDS),
                "parameters": [*own, *inherited],
                "requestBody": resolve(operation.get("requestBody"), whole),
                "responses": resolve(_good(operation.get("responses")), whole),
            }
        except (KeyError, AttributeError, RecursionError) as error:
            raise InvalidPack(where, [f"{method} {where} cannot be read: {type(error).__name__} {error}"]) from error
        yield where, method, {key: value for key, value in kept.items() if value not in (None, [], {})}


def _good(responses: Any) -> dict[str, Any]:
    return {str(code): said for code, said in (responses or {}).items() if str(code).startswith("2")}


def _info(document: Mapping[str, Any], name: str) -> dict[str, str]:
    info = document.get("info") if isinstance(document.get("info"), dict) else {}
    return {key: one_line((info or {}).get(key) or default) for key, default in (("title", name), ("version", "1"))}


def _problems(name: str, data: dict[str, Any]) -> str:
    if not NAME.fullmatch(name):
        return "its name has other characters than letters, digits, _, - and ., or more than 64"
    problems = Problems()
    read_tools(data, "", problems)
    return "; ".join(problem.message for problem in problems.errors)


def _tools(data: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in read_tools(data, "", Problems())} if isinstance(data, dict) else {}


def _proposal(path: Path, before: str, data: dict[str, Any], left_out: dict[str, str]) -> Proposal:
    old, new = _tools(parse_yaml(before)) if before else {}, _tools(parse_yaml(_text(data)))
    if not new:
        reasons = [f"{tool}: {why}" for tool, why in left_out.items()]
        raise InvalidPack(
            path.name, reasons or ["there is nothing to take in; see `--only` and the document's operations"]
        )
    for facts in _facts(data):
        facts["pinned"] = pin(new[facts.pop("_name")])
    after = _text(data)
    pinned = _tools(parse_yaml(after))
    if not all(is_as_approved(tool) and tool.pinned for tool in pinned.values()):
        raise InvalidPack(path.name, ["what was read cannot be written and read again as the same"])
    changes: dict[str, Change] = {
        name: "new" if name not in old else "same" if old[name].pinned == tool.pinned else "changed"
        for name, tool in pinned.items()
    }
    gone: dict[str, Change] = dict.fromkeys(old.keys() - pinned.keys(), "gone")
    return Proposal(path, before, after, pinned, {**changes, **gone}, left_out)


def _facts(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The facts of every tool in a file, with its name beside them."""
    for _, _, operation, _ in operations(data):
        operation["x-tandem"]["_name"] = operation["operationId"]
        yield operation["x-tandem"]
    for name, facts in data.get("tools", {}).items():
        facts["_name"] = name
        yield facts


def _text(data: dict[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """Without anchors: what stands there twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
