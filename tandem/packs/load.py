"""From a folder to a Pack. Every problem is found before the first is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tandem.errors import InvalidPack
from tandem.packs.files import pack_hash, read_mapping, read_procedure, read_yaml
from tandem.packs.flows import read_flow
from tandem.packs.model import Flow, Intent, Pack, Policies, Tool
from tandem.packs.problems import Problems, at
from tandem.packs.programs import read_programs
from tandem.packs.references import check_references
from tandem.packs.tools import read_tools

_FROM_FILES = ("intents", "flows", "tools", "programs", "policies", "hash", "root")


def load_pack(folder: Path) -> Pack:
    """Read a pack. Raises InvalidPack with every problem found, each with its file, its place and what to do."""
    problems = Problems()
    pack = read_pack(folder, problems)
    if pack is None or problems.errors:
        raise InvalidPack(folder.name, [str(problem) for problem in problems.errors])
    return pack


def read_pack(folder: Path, problems: Problems) -> Pack | None:
    """Read a pack, writing down what is wrong; None if nothing useful could be read."""
    if not (folder / "pack.yaml").is_file():
        problems.error(str(folder), "is no pack: it has no pack.yaml; `tandem pack new NAME` makes one")
        return None
    raw = read_mapping(folder, folder / "pack.yaml", problems)
    if raw is None:
        return None
    language = _first_language(raw)
    for key in _FROM_FILES:
        if raw.pop(key, None) is not None:
            problems.error(at("pack.yaml", key), "does not belong here; it has a file of its own")
    raw["texts"] = {str(k): _texts(v, language) for k, v in _mapping(raw.get("texts")).items()}
    raw["reply_style"] = _texts(raw.get("reply_style"), language)
    raw["slots"] = {str(k): _slot(str(k), v, language) for k, v in _mapping(raw.get("slots")).items()}
    if isinstance(raw.get("human_patterns"), list):
        raw["human_patterns"] = {language: raw["human_patterns"]}
    head = problems.read(
        Pack, {"name": folder.name, **raw, "hash": pack_hash(folder), "root": str(folder)}, "pack.yaml"
    )
    if head is not None and head.name != folder.name:
        problems.error(
            at("pack.yaml", "name"), f"is {head.name!r} but the folder is {folder.name!r}; make them the same"
        )
    intents = _read_intents(folder, language, problems)
    flows = _read_flows(folder, language, problems)
    tools, programs = _read_all_tools(folder, problems), read_programs(folder, problems)
    policies = _read_policies(folder, problems)
    if head is None:
        return None
    read = {"intents": intents, "flows": flows, "tools": tools, "programs": programs, "policies": policies}
    pack = head.model_copy(update=read)
    if not problems.errors:
        check_references(pack, problems)
    return pack


def _read_intents(folder: Path, language: str, problems: Problems) -> dict[str, Intent]:
    file = "intents.yaml"
    before = len(problems.found)
    data = read_yaml(folder, folder / file, problems)
    if not isinstance(data, list):
        if len(problems.found) == before:
            problems.error(file, "must be a list of intents, each beginning with `- name:`")
        return {}
    found: dict[str, Intent] = {}
    for position, raw in enumerate(data):
        if not isinstance(raw, dict):
            problems.error(at(file, position), "must be a mapping with `name`, `description` and `examples`")
            continue
        shaped = {str(key): value for key, value in raw.items()}
        place = at(file, shaped.get("name", position))
        if "label" in shaped:
            shaped["label"] = _texts(shaped["label"], language)
        if isinstance(shaped.get("examples"), list):
            shaped["examples"] = {language: shaped["examples"]}
        intent = problems.read(Intent, shaped, place)
        if intent is None:
            continue
        if intent.name in found:
            problems.error(place, "is there twice; give each intent its own name")
        found[intent.name] = intent
    return found


def _read_flows(folder: Path, language: str, problems: Problems) -> dict[str, Flow]:
    procedures = folder / "procedures"
    found: dict[str, Flow] = {}
    written = {path.stem: path for path in sorted(procedures.glob("*.md"))}
    graphs = {path.name.removesuffix(".flow.yaml"): path for path in sorted(procedures.glob("*.flow.yaml"))}
    for name in sorted(graphs.keys() - written.keys()):
        problems.error(f"procedures/{name}.flow.yaml", f"has no procedure; write procedures/{name}.md")
    for name, path in written.items():
        front, sentences = read_procedure(folder, path, problems)
        if name not in graphs:
            problems.error(f"procedures/{name}.md", f"has no graph; write procedures/{name}.flow.yaml")
            continue
        data = read_mapping(folder, graphs[name], problems)
        if data is None:
            continue
        place = f"procedures/{name}.flow.yaml"
        default = {"procedure": name, "intent": front.get("intent", ""), "sentences": sentences}
        flow = read_flow(texts_in_nodes(data, language), place, default, problems)
        if flow is None:
            continue
        if flow.procedure != name:
            problems.error(at(place, "procedure"), f"must be {name!r}, the file's name")
        found[name] = flow
    return found


def _read_all_tools(folder: Path, problems: Problems) -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    for path in sorted((folder / "tools").glob("*.yaml")):
        data = read_mapping(folder, path, problems)
        file = path.relative_to(folder).as_posix()
        for tool in read_tools(data, file, problems) if data is not None else ():
            if tool.name in found:
                problems.error(at(file, tool.name), "is declared twice; give each tool its own name")
            found[tool.name] = tool
    return found


def _read_policies(folder: Path, problems: Problems) -> Policies:
    path = folder / "policies.yaml"
    if not path.exists():
        return Policies()
    data = read_mapping(folder, path, problems)
    policies = problems.read(Policies, data, "policies.yaml") if data is not None else None
    return policies or Policies()


def _first_language(raw: dict[str, Any]) -> str:
    languages = raw.get("languages")
    return str(languages[0]) if isinstance(languages, list) and languages else "en"


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any, language: str) -> Any:
    if value is None:
        return {}
    return {language: value} if isinstance(value, str) else value


def _slot(name: str, raw: Any, language: str) -> Any:
    if not isinstance(raw, dict):
        return {"name": name} if raw is None else raw
    texts = {key: _texts(raw[key], language) for key in ("ask", "label") if key in raw}
    return {"name": name, **raw, **texts}


def texts_in_nodes(data: dict[str, Any], language: str) -> dict[str, Any]:
    nodes: dict[Any, Any] = {}
    for name, node in _mapping(data.get("nodes")).items():
        shaped = dict(node) if isinstance(node, dict) else node
        if isinstance(shaped, dict) and "text" in shaped:
            shaped["text"] = _texts(shaped["text"], language)
        if isinstance(shaped, dict) and isinstance(shaped.get("choices"), dict) and "label" in shaped["choices"]:
            choices = shaped["choices"]
            shaped["choices"] = {**choices, "label": _texts(choices["label"], language)}
        nodes[name] = shaped
    return {**data, "nodes": nodes} if "nodes" in data else data
