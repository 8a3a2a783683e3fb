"""From a delivered policy, tool schemas and records to a pack. No operation is special: what differs is in the data.

Without a model, an operation whose parameters are plain values becomes a procedure: who is it, what is missing, is it
agreed, do it. One that takes lists, and every write of a business whose policy has rules that its system does not check,
is a person's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tandem.bench.tau.data import Domain
from tandem.bench.tau.forms import form, values_of
from tandem.bench.tau.office import WRITES
from tandem.packs.check import fix_hashes

SERVER = "${TAU_TOOLS_URL}"

IDENTITY = {"retail": ("find_user_id_by_email", "find_user_id_by_name_zip"), "airline": ("get_user_details",)}
"""Reviewed, from the policies: the look-ups that say who the customer is, in the order in which they are tried."""

PLATFORMS_OWN = frozenset({"think", "transfer_to_human_agents"})
"""No tools of a pack: what it thinks is in its events, and it hands over by itself."""

UNCHECKED = "API does not check"
"""The policy's words for rules that only the agent keeps."""

RESERVE = {"calls": 4, "tokens": 40_000, "micros": 1_000_000}
"""What a step that asks a model may cost."""

WHO = "who"
LONGEST_WORDS = 6


def pack_name(domain: str) -> str:
    return f"tau_{domain}"


def convert(domain: Domain, folder: Path, planned: bool) -> None:
    """Write the pack. `planned`: for a model that plans; no intent, no procedure stands in its way."""
    tools = {name: schema for name, schema in domain.schemas.items() if name not in PLATFORMS_OWN}
    writing = sorted(WRITES & tools.keys())
    name = pack_name(domain.name)
    budget = {"calls": 400, "tokens": 2_000_000, "micros": 100_000_000}
    about: dict[str, Any] = {"name": name, "languages": ["en"], "timers": {"burst": 0}, "budget": budget}
    if planned:
        about["reserve"] = RESERVE
    _write(folder / "pack.yaml", about | {"slots": _slots(domain, tools)})
    _write(folder / "intents.yaml", [] if planned else [_intent(one, tools[one]) for one in writing])
    _write(folder / "tools" / "office.yaml", _document(domain, tools))
    identity = {
        "identity": "required",
        "identity_tools": list(IDENTITY[domain.name]),
        "identity_when": "result.user_id",
    }
    _write(folder / "policies.yaml", {**identity, "authorisation": "none", "consent": "customer_confirms"})
    knowledge = folder / "knowledge" / "policy.md"
    knowledge.parent.mkdir(parents=True, exist_ok=True)
    knowledge.write_text(domain.policy, encoding="utf-8")
    for one in () if planned else writing:
        _procedure(domain, folder, one)
    fix_hashes(folder)


# Slots -----------------------------------------------------------------------------------------------------------


def slot_name(operation: str, parameter: str) -> str:
    """An id is one value for the whole conversation; a street or a name is that of one operation."""
    return parameter if _is_id(parameter) else f"{operation}__{parameter}"


def parameter_of(slot: str) -> str:
    return slot.rpartition("__")[2]


def _is_id(parameter: str) -> bool:
    return parameter.endswith(("_id", "_number"))


def _slots(domain: Domain, tools: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        slot_name(operation, name): _slot(domain, name, about)
        for operation, schema in tools.items()
        for name, about in _properties(schema).items()
    }


def _slot(domain: Domain, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    readable = name.replace("_", " ")
    slot: dict[str, Any] = {"label": readable, "ask": f"What is the {readable}?"}
    found = form(values_of(domain.tables, name))
    if "enum" in about:
        return slot | {
            "type": "choice",
            "choices": {one: sorted({one, one.replace("_", " ")}) for one in about["enum"]},
        }
    if about.get("type") in ("integer", "number"):
        return slot | {"type": about["type"]}
    if name == "email":
        return slot | {"type": "email"}
    if _is_id(name):
        return slot | ({"pattern": found} if found else {"free_text": True})
    return slot | {"free_text": True} | ({"within": found} if found else {"words": LONGEST_WORDS})


# Tools, intents --------------------------------------------------------------------------------------------------


def _document(domain: Domain, tools: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    paths = {f"/{domain.name}/{name}": {"post": _operation(name, schema)} for name, schema in tools.items()}
    info = {"title": domain.name, "version": "1"}
    return {"openapi": "3.1.0", "info": info, "servers": [{"url": SERVER}], "paths": paths}


def _operation(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": schema["description"],
        "requestBody": {"content": {"application/json": {"schema": schema["parameters"]}}},
        "responses": {"200": {"description": "what the records say"}},
        "x-tandem": {
            "class": "idempotent" if name in WRITES else "read",
            "slots": {one: slot_name(name, one) for one in _properties(schema)},
        },
    }


def _intent(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    words = name.replace("_", " ")
    first = schema["description"].partition(". ")[0]
    return {
        "name": name,
        "description": first,
        "scenario": "operate",
        "procedure": name,
        "label": words,
        "examples": {"en": [words, first, f"I want to {words}"]},
    }


# Procedures ------------------------------------------------------------------------------------------------------


def _procedure(domain: Domain, folder: Path, operation: str) -> None:
    """The procedure's sentences and its flow."""
    schema = domain.schemas[operation]
    plain = all(about.get("type") not in ("array", "object") for about in _properties(schema).values())
    sentences, nodes = _act(domain, operation) if plain and UNCHECKED not in domain.policy else _person(operation)
    path = folder / "procedures" / f"{operation}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
    path.write_text("\n".join(["---", f"intent: {operation}", "---", *lines, ""]), encoding="utf-8")
    _write(path.with_suffix(".flow.yaml"), {"start": next(iter(nodes)), "nodes": nodes})


def _person(operation: str) -> tuple[list[str], dict[str, Any]]:
    sentence = f"A person does this: {operation.replace('_', ' ')}."
    return [sentence], {"person": {"sentence": 1, "handover": True, "reason": "needs_judgement"}}


def _act(domain: Domain, operation: str) -> tuple[list[str], dict[str, Any]]:
    words = operation.replace("_", " ")
    sentences = [
        "Find out who the customer is.",
        f"Ask for what is needed to {words}.",
        f"List the details, get an explicit yes, then call `{operation}`.",
        "Say that it is done.",
        "If it cannot be done, a person takes over.",
    ]
    needed = [name for name in _properties(domain.schemas[operation]) if name != "user_id"]
    slots = {name: slot_name(operation, name) for name in needed}
    asks = _asks([(f"ask_{name}", slot) for name, slot in slots.items()], 2, "agree", None)
    details = ", ".join(f"{name.replace('_', ' ')} {{{slot}}}" for name, slot in slots.items())
    arguments = {name: f"${slot}" for name, slot in slots.items()}
    if "user_id" in _properties(domain.schemas[operation]):
        arguments["user_id"] = f"${WHO}"
    nodes = {
        **_identify(domain, next(iter(asks), "agree")),
        **asks,
        "agree": {"sentence": 3, "consent": "act", "text": f"Shall I {words}: {details}?", "next": "act"},
        "act": {"sentence": 3, "tool": operation, "args": arguments, "next": "done", "on_failure": "person"},
        "done": {"sentence": 4, "text": "It is done."},
        "person": {"sentence": 5, "handover": True, "reason": "not_possible"},
    }
    return sentences, nodes


def _identify(domain: Domain, then: str) -> dict[str, Any]:
    """Each way in turn of finding out who the customer is; what they cannot say leads to the next, at last to a person."""
    nodes: dict[str, Any] = {}
    ways = IDENTITY[domain.name]
    for number, tool in enumerate(ways):
        parameters = list(_properties(domain.schemas[tool]))
        last = number + 1 == len(ways)
        other = "person" if last else f"ask_{next(iter(_properties(domain.schemas[ways[number + 1]])))}_of_customer"
        nodes |= _asks([(f"ask_{one}_of_customer", slot_name(tool, one)) for one in parameters], 1, tool, other)
        nodes[tool] = {
            "sentence": 1,
            "tool": tool,
            "args": {one: f"${slot_name(tool, one)}" for one in parameters},
            "save": {WHO: "result.user_id"},
            "next": [{"to": then, "when": WHO}, {"to": other}],
            "on_failure": other,
        }
    return nodes


def _asks(asked: Sequence[tuple[str, str]], sentence: int, then: str, unknown: str | None) -> dict[str, Any]:
    """A question for each slot, one after the other. `unknown`: where "I don't know" leads."""
    following = [node for node, _ in asked[1:]] + [then]
    failing = {"on_failure": unknown or "person"}
    return {
        node: {"sentence": sentence, "slots": [slot], "next": after, **failing}
        for (node, slot), after in zip(asked, following, strict=True)
    }


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["parameters"].get("properties", {})
    return found


def _write(path: Path, body: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
