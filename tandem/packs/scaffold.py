"""The beginning of a pack, with what an API already says about its tools."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tandem.errors import InvalidPack
from tandem.packs.check import fix_hashes
from tandem.packs.files import parse_yaml, why_unreadable
from tandem.packs.tools import operations

NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")

_FILES = {
    "pack.yaml": """\
name: {name}
description: What this business does, in a sentence
languages: [en]
slots:
  topic:
    free_text: true
    label: topic
    ask: What is it about?
""",
    "intents.yaml": """\
- name: question
  description: The customer asks something that the knowledge answers
  scenario: consult
  label: a question
  examples: ["how does this work?", "where do I find the manual?"]
- name: callback
  description: The customer wants to be called back
  scenario: operate
  procedure: callback
  label: a call back
  examples: ["please call me back", "can somebody ring me?"]
""",
    "procedures/callback.md": """\
---
intent: callback
---
1. Ask for the `topic`.
2. Say that somebody will call, and hand over: "Thank you. A colleague will call you about {{topic}}."
""",
    "procedures/callback.flow.yaml": """\
start: ask
nodes:
  ask:
    sentence: 1
    slots: [topic]
    next: hand_over
  hand_over:
    sentence: 2
    handover: true
    reason: wants_a_call
    text: {{en: "Thank you. A colleague will call you about {{topic}}."}}
""",
    "policies.yaml": """\
identity: required        # before writes; then name the tools that establish it in identity_tools
authorisation: required
consent: customer_confirms
""",
    "knowledge/welcome.md": "# How this works\n\nWrite here what customers ask about: one topic a heading.\n",
    "tests/callback.yaml": """\
name: call back
turns:
  - {{say: please call me back}}
  - {{say: my invoice}}
expect: {{intent: callback, outcome: handed_over, replies: [my invoice]}}
""",
}


def new_pack(root: Path, name: str, openapi: Path | None = None) -> Path:
    """Write a pack that passes its check; with an API, its operations as tools whose facts are the author's to judge.

    Raises InvalidPack if the name cannot be used or the API cannot be read.
    """
    folder = root / name
    if not NAME.match(name):
        raise InvalidPack(name, [f"{name!r} cannot be a pack's name; use a-z, 0-9 and _, beginning with a letter"])
    if folder.exists():
        raise InvalidPack(name, [f"{folder} exists; choose another name or remove it"])
    tools = _tools(name, openapi) if openapi else None
    for path, text in _FILES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.format(name=name), encoding="utf-8")
    if tools is not None:
        (folder / "tools").mkdir()
        (folder / "tools" / "api.yaml").write_text(tools, encoding="utf-8")
    fix_hashes(folder)
    return folder


def _tools(name: str, openapi: Path) -> str:
    try:
        document = parse_yaml(openapi.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidPack(name, [f"{openapi}: cannot be read as OpenAPI: {why_unreadable(error)}"]) from error
    if not isinstance(document, dict) or "openapi" not in document:
        raise InvalidPack(name, [f"{openapi}: is no OpenAPI document; it has no `openapi:` field"])
    document.setdefault("servers", [{"url": f"${{{name.upper()}_URL}}"}])
    for path, method, operation, _ in operations(document):
        operation.setdefault("operationId", operation_id(method, path))
        operation.setdefault("x-tandem", _facts(method))
    note = "# Judge each x-tandem: docs/packs.md says what its fields mean. `unsafe` is the cautious beginning.\n"
    return note + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _facts(method: str) -> dict[str, Any]:
    return {"class": "read" if method in ("get", "head", "options") else "unsafe"}


def operation_id(method: str, path: str) -> str:
    """The name of an operation that has none."""
    return "_".join([method, *re.findall(r"\w+", path)])
