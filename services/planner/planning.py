"""Plans by a model: structured output over the tool catalogue, checked against the pack before anybody sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator
from pydantic import ValidationError

from services.planner.prompts import DATA_RULE, block, facts_block, lines_block, read_object
from tandem.contracts.tasks import MakePlan, PlanProposal, ProposedStep, Reason
from tandem.contracts.values import derive_id
from tandem.packs.model import Pack, Tool
from tandem.rpc.ports import ChatRequest

MAX_STEPS = 12
AGENTS = {"rag_agent": "answers a question from the business's documents"}
NO_MODEL = PlanProposal(steps=(), reason="no model", confidence=0.0)

_PLAN = f"""You plan the work of a support service. Make a short plan for what the customer wants, out of the tools and agents
listed, and no others. {DATA_RULE}
Steps run in parallel unless one needs others, by their numbers. kind is "tool" (name, arguments that are known; leave out what is
not), "agent" (name), "ask" (text: a question to the customer; slots: which of the listed values it asks for), "reply" (text) or
"handover" (to a person). Before a tool that changes something, look up what is needed to be sure. If the tools cannot do it, hand
over. confidence: from 0 to 1, how sure you are that the plan does what the customer wants."""
_REASON = f"""{_PLAN}
Some steps have been done; what they brought stands in <observations>. Say only what is to be done next, or done: true with no
steps if nothing is left to do."""


def request(task: MakePlan | Reason, pack: Pack) -> ChatRequest:
    """Ask a model for a plan, or for what comes next in one."""
    parts = [_catalogue(pack), block("goal", task.goal), facts_block(task.facts), lines_block(task.recent)]
    if isinstance(task, Reason):
        seen = [item.model_dump(mode="json") for item in task.observations]
        parts.append(block("observations", json.dumps(seen, ensure_ascii=False)))
    return ChatRequest(
        tenant=task.tenant,
        system=_REASON if isinstance(task, Reason) else _PLAN,
        messages=(("user", "\n\n".join(parts)),),
        schema=schema(pack),
        max_tokens=900,
        grant=derive_id("grant", task.id, task.attempt, task.TYPE),
        limit=task.reserved,
        ticket=task.ticket,
    )


def schema(pack: Pack) -> dict[str, Any]:
    """The shape of a proposal over this pack's catalogue."""
    kinds: list[dict[str, Any]] = [
        _step("tool", name={"const": tool.name}, arguments=_open(tool)) for tool in pack.tools.values()
    ]
    kinds += [_step("agent", name={"const": name}) for name in AGENTS]
    asked: dict[str, Any] = {"type": "array", "items": {"enum": sorted(pack.slots)}} if pack.slots else {"maxItems": 0}
    kinds += [_step("ask", text={"type": "string", "minLength": 1}, slots=asked)]
    kinds += [_step("reply", text={"type": "string", "minLength": 1}), _step("handover")]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["steps", "reason", "confidence"],
        "properties": {
            "steps": {"type": "array", "maxItems": MAX_STEPS, "items": {"anyOf": kinds}},
            "done": {"type": "boolean"},
            "reason": {"type": "string"},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        },
    }


def accept(text: str, pack: Pack) -> PlanProposal:
    """A model's answer as a proposal. One mistake in it, and there is no plan: a person decides."""
    said = read_object(text)
    try:
        wrong = next(Draft202012Validator(schema(pack), offline=True).iter_errors(said), None)
    except ValueError as error:
        return _refused(f"not JSON: {error}")
    if wrong is not None:
        where = ".".join(map(str, wrong.instance_path)) or "answer"
        return _refused(f"{where}: {wrong.message[:200]}")
    try:
        proposal = PlanProposal.model_validate(said)
    except ValidationError as error:
        return _refused(f"{error.error_count()} fields cannot be read")
    problem = _ordered(proposal.steps)
    if problem:
        return _refused(problem)
    if not proposal.steps and not proposal.done:
        return _refused("no steps")
    return proposal


def _ordered(steps: tuple[ProposedStep, ...]) -> str | None:
    for position, step in enumerate(steps):
        if any(not 0 <= need < position for need in step.needs):
            return f"steps.{position}.needs: a step can only need those before it"
    return None


def _refused(why: str) -> PlanProposal:
    return PlanProposal(steps=(), reason=f"the model's plan cannot be used: {why}", confidence=0.0)


def _step(kind: str, **fields: dict[str, Any]) -> dict[str, Any]:
    needed = [name for name in fields if name != "slots"]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", *needed],
        "properties": {
            "kind": {"const": kind},
            "needs": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": MAX_STEPS}},
            **fields,
        },
    }


def _open(tool: Tool) -> dict[str, Any]:
    """The tool's arguments with none required: what is not known is assembled or asked for later."""
    return {"type": "object", "additionalProperties": False, "properties": dict(tool.properties)}


def _catalogue(pack: Pack) -> str:
    tools = [
        f"- tool {tool.name} ({_nature(tool)}): {tool.description} {_parameters(tool)}" for tool in pack.tools.values()
    ]
    agents = [f"- agent {name}: {what}" for name, what in AGENTS.items()]
    slots = [f"- value {slot.name}: {pack.say(slot.label, 'en') or slot.name}" for slot in pack.slots.values()]
    return "\n".join(["Catalogue:", *tools, *agents, *slots])


def _nature(tool: Tool) -> str:
    return "changes something" if tool.writes else "only reads"


def _parameters(tool: Tool) -> str:
    def described(name: str, about: Mapping[str, Any]) -> str:
        needed = "" if name in tool.required else "?"
        return f"{name}{needed}: {about.get('type', 'any')}"

    return "(" + ", ".join(described(name, about) for name, about in tool.properties.items()) + ")"
