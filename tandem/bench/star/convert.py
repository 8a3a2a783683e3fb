"""From STAR's procedures and API specifications to a pack. No task is special: what differs is in the data."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tandem.bench.star.data import REQUEST_TYPE, Api, Dialogue, read_api
from tandem.bench.star.flow import Flow, Outcomes, build_flow
from tandem.bench.star.learn import (
    FEW,
    Learnt,
    Parameter,
    denied,
    failures,
    goes_on,
    is_yes_no,
    learn,
    link,
    parameters,
    returned,
)
from tandem.packs.check import fix_hashes

PACK = "star"
EXAMPLES = 60
LONGEST_EXAMPLE = 30
"""Words of an opening that says what the customer wants; a longer one tells a story."""

SWITCH = 0.85
"""Confidence in another topic from which a customer in mid-procedure has changed it: STAR's procedures resemble each other."""

SERVER = "${STAR_TOOLS_URL}"

READS = re.compile(r"search|status|balance|weather|trivia|directions|codes")
"""Reviewed: APIs that only look something up. The request type `Check` does too; everything else writes."""

SECRET = re.compile(r"pin|password|security", re.IGNORECASE)
OWN_NAME = "ask_name"
"""STAR's one label, in every procedure, for the customer's own name."""

_ONLY_ABLE = re.compile(r"only able to (?:help you )?(?:to |with )?(.+?)\.?$", re.IGNORECASE)


def convert(data: Path, train: Sequence[Dialogue], folder: Path) -> dict[str, Api]:
    """Write the pack; returns the APIs by name. `train`: dialogues that examples, links and words are learnt from."""
    apis = {path.stem: read_api(path) for path in sorted((data / "apis").glob("*.json"))}
    telling = telling_words(train)
    slots: dict[str, Any] = {}
    intents: list[dict[str, Any]] = []
    paths: dict[str, Any] = {}
    for path in sorted((data / "sop").glob("*/*.json")):
        if path.stem != path.parent.name or path.stem not in apis:
            continue
        task, api = path.stem, apis[path.stem]
        raw = json.loads(path.read_text(encoding="utf-8"))
        own = [dialogue for dialogue in train if dialogue.tasks == (task,)]
        linked = link(raw, api, own)
        outcomes = Outcomes(
            failures(api, raw["graph"], own), partial(goes_on, dialogues=own), returned(own), denied(api, linked, own)
        )
        flow = build_flow(task, raw, api, linked, writes, outcomes)
        slots |= _slots(task, api, flow, linked, learn(api, linked, own, SECRET))
        intents.append(_intent(task, raw["replies"], own, telling))
        paths |= dict(_operation(api, kind, task) for kind in api.request_types)
        _write_procedure(folder, task, flow)
    _write(
        folder / "pack.yaml",
        {
            "name": PACK,
            "languages": ["en"],
            "reads": True,
            "slots": slots,
            "timers": {"burst": 0},
            "thresholds": {"switch": SWITCH},
        },
    )
    _write(folder / "intents.yaml", intents)
    info = {"title": "STAR", "version": "1"}
    document = {"openapi": "3.1.0", "info": info, "servers": [{"url": SERVER}], "paths": paths}
    _write(folder / "tools" / "star.yaml", document)
    _write(
        folder / "policies.yaml",
        {"identity": "as_procedure", "authorisation": "as_procedure", "consent": "customer_confirms"},
    )
    fix_hashes(folder)
    return apis


def slot_name(task: str, parameter: str) -> str:
    return f"{task}__{parameter}"


def tool_name(api: Api, request_type: str) -> str:
    return f"{api.name}__{request_type.lower()}" if request_type else api.name


def writes(api: Api, request_type: str) -> bool:
    """Whether a call changes something."""
    return request_type.lower() != "check" and not READS.search(api.name)


# Slots -----------------------------------------------------------------------------------------------------------


def _slots(
    task: str, api: Api, flow: Flow, linked: Mapping[str, str], learnt: Mapping[str, Learnt]
) -> dict[str, dict[str, Any]]:
    """A slot for each parameter, and one for each question that is about none."""
    own_name = linked.get(OWN_NAME)
    found = {
        slot_name(task, i["Name"]): _slot(i, flow.asks.get(i["Name"], ""), i["Name"] == own_name, learnt[i["Name"]])
        for i in parameters(api)
    }
    free = {name: {"ask": text, "label": name.replace("_", " "), "free_text": True} for name, text in flow.free.items()}
    return found | free


def _slot(parameter: Parameter, question: str, own_name: bool, learnt: Learnt) -> dict[str, Any]:
    readable = parameter["ReadableName"].lower()
    slot: dict[str, Any] = {"ask": question or f"What is the {readable}?", "label": "name" if own_name else readable}
    if is_yes_no(parameter):
        slot["type"] = "boolean"
    elif parameter["Type"].startswith("Categorical"):
        slot["type"] = "choice"
    elif parameter["Type"] == "Integer":
        slot["type"] = "integer"
    else:
        slot["free_text"] = True
    facts: dict[str, Any] = {
        "choices": {value: list(said) for value, said in learnt.words.items()},
        "within": learnt.within,
        "words": learnt.longest,
        "cues": list(learnt.cues),
        "only_cued": not learnt.sure,
        "sensitive": bool(SECRET.search(parameter["Name"])),
    }
    return slot | {name: value for name, value in facts.items() if value}


# Intents ---------------------------------------------------------------------------------------------------------


def _intent(task: str, replies: dict[str, str], train: Sequence[Dialogue], telling: frozenset[str]) -> dict[str, Any]:
    words = task.replace("_", " ")
    able = _ONLY_ABLE.search(replies.get("out_of_scope", ""))
    return {
        "name": task,
        "description": replies.get("out_of_scope", words),
        "scenario": "operate",
        "procedure": task,
        "label": able.group(1) if able else words,
        "examples": {"en": [words, *_examples(train, telling)]},
    }


def _examples(train: Sequence[Dialogue], telling: frozenset[str]) -> list[str]:
    """Openings that say what the customer wants, evenly over the dialogues."""
    openings = [text for dialogue in train for text in dialogue.openings]
    kept = [
        text for text in openings if 3 < len(text.split()) <= LONGEST_EXAMPLE and not telling.isdisjoint(_words(text))
    ]
    return list(dict.fromkeys(kept))[:: max(1, -(-len(kept) // EXAMPLES))]


def telling_words(train: Sequence[Dialogue]) -> frozenset[str]:
    """Words of openings that say which of the procedures is wanted: not greetings, not names."""
    tasks: dict[str, Counter[str]] = defaultdict(Counter)
    for dialogue in train:
        for word in {word for text in dialogue.openings for word in _words(text)} if len(dialogue.tasks) == 1 else ():
            tasks[word][dialogue.tasks[0]] += 1
    return frozenset(word for word, n in tasks.items() if 2 * max(n.values()) >= n.total() >= FEW)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


# Tools, procedures -----------------------------------------------------------------------------------------------


def _operation(api: Api, request_type: str, task: str) -> tuple[str, dict[str, Any]]:
    """The path of a call, and its operation."""
    given = parameters(api)
    schema = {
        "type": "object",
        "required": sorted(api.required - {REQUEST_TYPE}),
        "properties": {i["Name"]: {"type": _json_type(i)} for i in given},
    }
    operation = {
        "operationId": tool_name(api, request_type),
        "summary": f"{task.replace('_', ' ')} {request_type}".strip(),
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "the recorded return"}},
        "x-tandem": {
            "class": "idempotent" if writes(api, request_type) else "read",
            "slots": {i["Name"]: slot_name(task, i["Name"]) for i in given},
            "recorded_as": api.name,
        },
    }
    return f"/call/{api.name}/{request_type or '-'}", {"post": operation}


def _json_type(parameter: Parameter) -> str:
    return "boolean" if is_yes_no(parameter) else "integer" if parameter["Type"] == "Integer" else "string"


def _write_procedure(folder: Path, task: str, flow: Flow) -> None:
    lines = [f"{number}. {sentence}" for number, sentence in enumerate(flow.sentences, 1)]
    path = folder / "procedures" / f"{task}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["---", f"intent: {task}", "---", *lines, ""]), encoding="utf-8")
    _write(folder / "procedures" / f"{task}.flow.yaml", {"start": flow.start, "nodes": flow.nodes})


def _write(path: Path, body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
