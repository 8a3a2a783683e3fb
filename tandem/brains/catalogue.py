"""A pack's procedures and tools as the small models see them, and its recorded dialogues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tandem.brains.learning.moments import Moment
from tandem.brains.values import Api, Parameter, Procedure, Situation, Step, StepKind, Turn, Type
from tandem.contracts.values import Json
from tandem.errors import InvalidPack
from tandem.packs.model import END, Flow, Node, Pack, Slot, Tool

DIALOGUES = "dialogues"
"""Of a pack, where recorded dialogues are: *.jsonl, one dialogue a line."""


def api_of(pack: Pack, tool: Tool) -> Api:
    """A tool by its JSON Schema and the slots that customers give its parameters by."""
    found = [
        _parameter(pack, name, schema, pack.slots.get(tool.slots.get(name, name)), name in tool.required)
        for name, schema in tool.properties.items()
    ]
    outputs = tool.output.get("properties", {})
    return Api(tool.name, tuple(found), tuple(outputs) if isinstance(outputs, dict) else ())


def known_api(pack: Pack, tool: Tool) -> Api:
    """The tool under the name by which the models know it."""
    return replace(api_of(pack, tool), name=tool.recorded_as or tool.name)


def _parameter(pack: Pack, name: str, schema: dict[str, Json], slot: Slot | None, required: bool) -> Parameter:
    listed = schema.get("enum")
    values = (
        tuple(slot.choices) if slot and slot.choices else tuple(map(str, listed)) if isinstance(listed, list) else ()
    )
    label = pack.say(slot.label, pack.languages[0]) if slot else name.replace("_", " ")
    kind: Type = "text"
    if values:
        kind = "choice"
    elif schema.get("type") in ("integer", "number"):
        kind = "integer"
    elif schema.get("type") == "boolean":
        kind = "boolean"
    elif slot and slot.free_text and not slot.words and not slot.within:
        kind = "long_text"
    return Parameter(name, kind, values, label or name, required)


def procedures_of(pack: Pack) -> list[Procedure]:
    """Every procedure that calls a tool; what it is about is its intent's description."""
    found: list[Procedure] = []
    for intent in pack.intents.values():
        flow = pack.flow_of(intent.name)
        tools = [pack.tools[node.tool] for node in flow.nodes.values() if node.tool in pack.tools] if flow else []
        if flow and tools:
            main = next((tool for tool in reversed(tools) if tool.writes), tools[-1])
            steps = tuple(_step(pack, node) for node in flow.nodes.values())
            called = {node.tool for node in flow.nodes.values()}
            more = () if main.name in called else (Step(main.name, "call", main.description, main.name),)
            unique = tuple({step.name: step for step in (*steps, *more)}.values())
            others = tuple(api_of(pack, tool) for tool in {tool.name: tool for tool in tools}.values() if tool != main)
            api = api_of(pack, main)
            found.append(Procedure(intent.name, unique, _edges(flow), api, intent.description, others))
    return found


def _step(pack: Pack, node: Node) -> Step:
    text = pack.say(node.text, pack.languages[0])
    if node.tool:
        return Step(node.tool, "call", pack.tools[node.tool].description if node.tool in pack.tools else "", node.tool)
    kind: StepKind = "reply"
    if node.consent or node.confirm:
        kind = "ask_confirm"
    elif node.kind == "ask":
        kind = "ask"
    return Step(node.id, kind, text)


def _edges(flow: Flow) -> dict[str, str]:
    """What comes first after each step; what follows a refused call."""
    names = {node.id: node.tool or node.id for node in flow.nodes.values()}
    found: dict[str, str] = {}
    for node in flow.nodes.values():
        following = next((edge.to for edge in node.next if edge.to != END), None)
        if following:
            found[names[node.id]] = names[following]
        refused = next((edge.to for edge in node.on_failure if edge.to != END), None)
        if refused and node.tool:
            found.setdefault("query_failure", names[refused])
    return found


def read_dialogues(folder: Path) -> Iterator[Moment]:
    """The pack's recorded dialogues, a line each: {"turns": [{"who", "text", "task", "step", "api", "params", "item"} …]}. An
    agent's turn with a step, and every call, is something to learn. Raises InvalidPack."""
    number = 0
    for path in sorted((folder / DIALOGUES).glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for at, line in enumerate(lines, 1):
                try:
                    raw = json.loads(line)
                    yield from _moments(number, raw["turns"], str(raw.get("today", "")))
                except (ValueError, KeyError, TypeError) as error:
                    wrong = f"{path.relative_to(folder)}:{at}: no recorded dialogue ({error}); see docs/packs.md"
                    raise InvalidPack(folder.name, [wrong]) from error
                number += 1


def _moments(number: int, raw: list[dict[str, Any]], today: str) -> Iterator[Moment]:
    turns: list[Turn] = []
    for one in raw:
        turn = Turn(
            one["who"],
            str(one.get("text", "")),
            str(one.get("step", "")),
            str(one.get("api", "")),
            {name: str(value) for name, value in one.get("params", {}).items()},
            dict(one.get("item", {})),
        )
        if turn.who == "call" or turn.step:
            kind: StepKind = "call" if turn.who == "call" else "reply"
            name = turn.api or turn.step
            yield Moment(
                Situation(tuple(turns), today), number, str(one["task"]), kind, name, dict(turn.params), turn.text
            )
        turns.append(turn)
