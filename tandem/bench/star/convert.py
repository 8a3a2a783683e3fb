"""From STAR's procedures and API specifications to a pack. No task is special: what differs is in the data."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, name_words, normalise, read_api
from tandem.bench.star.flow import Flow, build_flow

PACK = "star"
EXAMPLES = 30
SERVER = "${STAR_TOOLS_URL}"

READS = re.compile(r"search|status|balance|weather|trivia|directions|codes")
"""Reviewed: APIs that only look something up. The request type `Check` does too; everything else writes."""

SECRET = re.compile(r"pin|password|security", re.IGNORECASE)
OWN_NAME = "ask_name"
"""STAR's one label, in every procedure, for the customer's own name."""

FEW = 5
"""Answers below which counting says little."""

_HOUR = re.compile(r"^(\d+) (am|pm)$")


def convert(data: Path, train: Sequence[Dialogue], folder: Path) -> dict[str, Api]:
    """Write the pack; returns the APIs by name. `train`: dialogues that the examples and links are learnt from."""
    apis = {path.stem: read_api(path) for path in sorted((data / "apis").glob("*.json"))}
    slots: dict[str, Any] = {}
    intents: list[dict[str, Any]] = []
    tools: dict[str, Any] = {}
    for path in sorted((data / "sop").glob("*/*.json")):
        if path.stem != path.parent.name or path.stem not in apis:
            continue
        task, api = path.stem, apis[path.stem]
        raw = json.loads(path.read_text(encoding="utf-8"))
        own = [dialogue for dialogue in train if dialogue.tasks == (task,)]
        flow = build_flow(task, raw, api, link(raw["replies"], api, own), writes)
        named = link(raw["replies"], api, own).get(OWN_NAME)
        slots |= {
            slot_name(task, i["Name"]): _slot(i, flow.asks.get(i["Name"], ""), i["Name"] == named)
            for i in _parameters(api)
        }
        intents.append(_intent(task, raw["replies"], own))
        tools |= {tool_name(api, kind): _tool(api, kind, task) for kind in api.request_types}
        _write_procedure(folder, task, flow)
    _write(folder / "pack.yaml", {"name": PACK, "languages": ["en"], "slots": slots, "timers": {"burst": 0}})
    _write(folder / "intents.yaml", intents)
    _write(
        folder / "tools" / "star.yaml",
        {
            "openapi": "3.1.0",
            "info": {"title": "STAR", "version": "1"},
            "servers": [{"url": SERVER}],
            "paths": tools_paths(tools),
        },
    )
    _write(
        folder / "policies.yaml",
        {"identity": "as_procedure", "authorisation": "as_procedure", "consent": "customer_confirms"},
    )
    return apis


def slot_name(task: str, parameter: str) -> str:
    return f"{task}__{parameter}"


def tool_name(api: Api, request_type: str) -> str:
    return f"{api.name}__{request_type.lower()}" if request_type else api.name


def writes(api: Api, request_type: str) -> bool:
    """Whether a call changes something."""
    return request_type != "Check" and not READS.search(api.name)


def link(replies: dict[str, str], api: Api, dialogues: Iterable[Dialogue]) -> dict[str, str]:
    """Which parameter each question asks for: by its words, and by what customers answered and was then called."""
    counted: Counter[tuple[str, str]] = Counter()
    for dialogue in dialogues:
        called = dialogue.queries[-1].params if dialogue.queries else {}
        for label, text in dialogue.answers.items():
            said = normalise(text)
            counted.update((label, name) for name, value in called.items() if value and value in said)
    asked = Counter[str]()
    for (label, _), count in counted.items():
        asked[label] += count
    scores = [
        (_overlap(label, text, i) + 2 * counted[label, i["Name"]] / max(FEW, asked[label]), label, i["Name"])
        for label, text in replies.items()
        if "ask" in label
        for i in _parameters(api)
    ]
    linked: dict[str, str] = {}
    for score, label, name in sorted(scores, key=lambda one: -one[0]):
        if score > 0 and label not in linked and name not in linked.values():
            linked[label] = name
    return linked


def _overlap(label: str, text: str, parameter: dict[str, Any]) -> float:
    asked = name_words(label.split("ask_")[-1]) | frozenset(re.findall(r"[a-z]+", text.lower()))
    named = name_words(parameter["Name"]) | frozenset(parameter["ReadableName"].lower().split())
    return len(asked & named) / len(named)


def _parameters(api: Api) -> list[dict[str, Any]]:
    return [i for i in api.inputs if i["Type"] != REQUEST_TYPE]


def _slot(parameter: dict[str, Any], question: str, own_name: bool) -> dict[str, Any]:
    readable = parameter["ReadableName"].lower()
    slot: dict[str, Any] = {"ask": question or f"What is the {readable}?", "label": "name" if own_name else readable}
    match parameter["Type"]:
        case _ if is_yes_no(parameter):
            slot["type"] = "boolean"
        case "Categorical" | "CategoricalMultiple":
            slot |= {"type": "choice", "choices": {str(c): _said_as(str(c)) for c in parameter["Categories"]}}
        case "Integer":
            slot["type"] = "integer"
        case _:
            slot["free_text"] = True
    if SECRET.search(parameter["Name"]):
        slot["sensitive"] = True
    return slot


def is_yes_no(parameter: dict[str, Any]) -> bool:
    """A parameter that is a yes or a no, whatever STAR calls its type."""
    return parameter["Type"] == "Boolean" or set(parameter.get("Categories") or ()) == {"Yes", "No"}


def _json_type(parameter: dict[str, Any]) -> str:
    return "boolean" if is_yes_no(parameter) else "integer" if parameter["Type"] == "Integer" else "string"


def _said_as(category: str) -> list[str]:
    hour = _HOUR.match(category)
    return [category, f"{hour.group(1)}{hour.group(2)}", f"{hour.group(1)}:00 {hour.group(2)}"] if hour else [category]


def _intent(task: str, replies: dict[str, str], train: Sequence[Dialogue]) -> dict[str, Any]:
    openings = [" ".join(dialogue.openings) for dialogue in train if dialogue.openings]
    words = task.replace("_", " ")
    examples = list(dict.fromkeys([words, *(text for text in openings if len(text.split()) > 3)]))[:EXAMPLES]
    return {
        "name": task,
        "description": replies.get("out_of_scope", words),
        "scenario": "operate",
        "procedure": task,
        "label": words,
        "examples": {"en": examples},
    }


def _tool(api: Api, request_type: str, task: str) -> dict[str, Any]:
    parameters = _parameters(api)
    kind = "idempotent" if writes(api, request_type) else "read"
    return {
        "path": f"/call/{api.name}/{request_type or '-'}",
        "post": {
            "operationId": tool_name(api, request_type),
            "summary": f"{task.replace('_', ' ')} {request_type}".strip(),
            "requestBody": {
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": sorted(api.required - {REQUEST_TYPE}),
                            "properties": {i["Name"]: {"type": _json_type(i)} for i in parameters},
                        }
                    }
                }
            },
            "responses": {"200": {"description": "the recorded return"}},
            "x-tandem": {"class": kind, "slots": {i["Name"]: slot_name(task, i["Name"]) for i in parameters}},
        },
    }


def tools_paths(tools: dict[str, Any]) -> dict[str, Any]:
    return {tool["path"]: {"post": tool["post"]} for tool in tools.values()}


def _write_procedure(folder: Path, task: str, flow: Flow) -> None:
    lines = [f"{number}. {sentence}" for number, sentence in enumerate(flow.sentences, 1)]
    path = folder / "procedures" / f"{task}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["---", f"intent: {task}", "---", *lines, ""]), encoding="utf-8")
    _write(folder / "procedures" / f"{task}.flow.yaml", {"start": flow.start, "nodes": flow.nodes})


def _write(path: Path, body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
