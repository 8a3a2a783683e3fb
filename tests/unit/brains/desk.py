"""A pack of two procedures, written to a folder, with dialogues that its agents recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tandem.errors import Unavailable
from tandem.packs.check import fix_hashes
from tandem.rpc.ports import ChatRequest, ChatResponse
from tests.unit.brains.recorded import embed

PLACES = ("Harbour Row", "Mill Lane", "Castle Hill", "Old Bridge")
DISHES = ("soup", "stew", "salad", "pie")
OPENINGS = {"find_table": "I want a table for dinner", "order_meal": "bring me some food to eat"}
ASKED = {"find_table": "Which street shall it be in?", "order_meal": "What would you like to eat?"}
TOOLS = {"find_table": "look_for_table", "order_meal": "look_for_meal"}
PARAMETERS = {"find_table": "street", "order_meal": "dish"}


class WordsLlm:
    """Embeds by words; there is no model."""

    async def embed(self, texts: Sequence[str], deadline: float = 5.0) -> NDArray[np.float32]:
        return embed(texts)

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        raise Unavailable("no model")


def write_pack(folder: Path, dialogues: int = 220) -> Path:
    slots = {name: {"free_text": True, "label": name, "ask": ASKED[task]} for task, name in PARAMETERS.items()}
    _write(folder / "pack.yaml", {"name": folder.name, "languages": ["en"], "slots": slots})
    _write(folder / "intents.yaml", [_intent(task) for task in OPENINGS])
    policies = {"identity": "as_procedure", "authorisation": "as_procedure", "consent": "customer_confirms"}
    _write(folder / "policies.yaml", policies)
    _write(folder / "tools" / "desk.yaml", _tools())
    for task in OPENINGS:
        _procedure(folder, task)
    fix_hashes(folder)
    lines = [json.dumps({"turns": _turns(number)}) for number in range(dialogues)]
    (folder / "dialogues").mkdir()
    (folder / "dialogues" / "recorded.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _intent(task: str) -> dict[str, Any]:
    examples = {"en": [f"{OPENINGS[task]} {word}" for word in ("please", "now", "today")]}
    return {"name": task, "description": OPENINGS[task], "scenario": "operate", "procedure": task, "examples": examples}


def _tools() -> dict[str, Any]:
    paths = {f"/{TOOLS[task]}": {"post": _operation(task)} for task in OPENINGS}
    info = {"title": "desk", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "servers": [{"url": "http://127.0.0.1:1"}], "paths": paths}


def _operation(task: str) -> dict[str, Any]:
    name = PARAMETERS[task]
    schema = {"type": "object", "required": [name], "properties": {name: {"type": "string"}}}
    return {
        "operationId": TOOLS[task],
        "summary": f"look up: {OPENINGS[task]}",
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "what was found"}},
        "x-tandem": {"class": "read", "slots": {name: name}},
    }


def _procedure(folder: Path, task: str) -> None:
    sentences = ["1. Ask for it.", "2. Look it up.", "3. Tell what was found."]
    path = folder / "procedures" / f"{task}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["---", f"intent: {task}", "---", *sentences, ""]), encoding="utf-8")
    name, told = PARAMETERS[task], f"told_{task}"
    nodes = {
        f"ask_{name}": {"sentence": 1, "slots": [name], "text": ASKED[task], "next": TOOLS[task]},
        TOOLS[task]: {"sentence": 2, "tool": TOOLS[task], "args": {name: f"${name}"}, "next": told},
        told: {"sentence": 3, "text": "It is done.", "next": "end"},
    }
    nodes[TOOLS[task]]["on_failure"] = told
    _write(folder / "procedures" / f"{task}.flow.yaml", {"start": f"ask_{name}", "nodes": nodes})


def _turns(number: int) -> list[dict[str, Any]]:
    task, values = ("find_table", PLACES) if number % 2 else ("order_meal", DISHES)
    name, value = PARAMETERS[task], values[number // 2 % len(values)]
    return [
        {"who": "customer", "text": f"{OPENINGS[task]} {('please', 'soon', 'now')[number % 3]}"},
        {"who": "agent", "task": task, "step": f"ask_{name}", "text": ASKED[task]},
        {"who": "customer", "text": f"{value} please"},
        {"who": "call", "task": task, "api": TOOLS[task], "params": {name: value}},
        {"who": "return", "item": {"state": "found"}},
        {"who": "agent", "task": task, "step": f"told_{task}", "text": "It is done."},
    ]


def _write(path: Path, body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
