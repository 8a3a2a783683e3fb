"""Plans by a model: structured output over the tool catalogue, checked against the pack before anybody sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tandem.asking import Question, Unfit
from tandem.contracts.tasks import MakePlan, PlanProposal, Reason
from tandem.packs.model import Pack, Tool
from tandem.prompts import Data, Inputs, conversation, known, load
from tandem.shape import Shape

MAX_STEPS = 12
MAX_TOOLS = 8
"""That one program may call, or one step choose from."""

DONE = "done"
AGENTS = {"rag_agent": "answers a question from the business's documents"}

HERE = Path(__file__).parent


class PlanInputs(Inputs):
    """`catalogue` is the pack's; the rest is what customers and tools said."""

    catalogue: str
    goal: Data
    facts: Data
    memory: Data
    conversation: Data


class ReasonInputs(PlanInputs):
    """With what the steps brought."""

    observations: Data


PLAN = load(HERE, "plan", PlanInputs)
REASON = load(HERE, "reason", ReasonInputs)


def question(task: MakePlan | Reason, pack: Pack, memory: str = "") -> Question[Any, PlanProposal]:
    """Ask a model for a plan, or for what comes next in one. `memory`: what is known of the customer from before."""
    inputs = PlanInputs(
        catalogue=_catalogue(pack),
        goal=task.goal,
        facts=known(task.facts),
        memory=memory,
        conversation=conversation(task.recent),
    )
    shape = schema(pack, first=isinstance(task, MakePlan))
    answer = partial(read, shape=shape)
    if isinstance(task, MakePlan):
        return Question(PLAN, inputs, shape, answer)
    seen = json.dumps([item.model_dump(mode="json") for item in task.observations], ensure_ascii=False)
    return Question(REASON, ReasonInputs(**dict(inputs), observations=seen), shape, answer)


def schema(pack: Pack, *, first: bool = False) -> dict[str, Any]:
    """The shape of a proposal over this pack's catalogue: never without a step, a small model's shortest answer. That nothing is
    left to do is a step too, in all but the first."""
    kinds: list[dict[str, Any]] = [
        _step("tool", name={"const": tool.name}, arguments=_open(tool)) for tool in pack.tools.values()
    ]
    kinds += [_step("agent", name={"const": name}) for name in AGENTS]
    asked: dict[str, Any] = {"type": "array", "items": {"enum": sorted(pack.slots)}} if pack.slots else {"maxItems": 0}
    kinds += [_step("ask", text={"type": "string", "minLength": 1}, slots=asked)]
    if len(pack.tools) > 1:
        of = {"type": "array", "maxItems": MAX_TOOLS, "items": {"enum": sorted(pack.tools)}}
        kinds.append(_step("program", text={"type": "string", "minLength": 1}, tools={**of, "minItems": 1}))
        kinds.append(_step("tool", text={"type": "string", "minLength": 1}, tools={**of, "minItems": 2}))
    kinds += [_step("reply", text={"type": "string", "minLength": 1}), _step("handover")]
    if not first:
        kinds.append(_step(DONE))
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["steps", "reason", "confidence"],
        "properties": {
            "steps": {"type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": {"anyOf": kinds}},
            "reason": {"type": "string"},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        },
    }


def read(text: str, shape: Mapping[str, Any]) -> PlanProposal:
    """A model's answer as a proposal. `shape`: the schema that it was asked for by. Raises Unfit for one mistake in it."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise Unfit(f"not JSON: {error}") from error
    fault = Shape(shape).departure(said)
    if fault is not None:
        raise Unfit(fault)
    done = any(step["kind"] == DONE for step in said["steps"])
    if done and len(said["steps"]) > 1:
        raise Unfit("steps: done stands alone")
    proposal = PlanProposal.model_validate({**said, "steps": () if done else said["steps"], "done": done})
    for position, step in enumerate(proposal.steps):
        if any(need >= position for need in step.needs):
            raise Unfit(f"steps.{position}.needs: a step can only need those before it")
        if len(set(step.tools)) < len(step.tools):
            raise Unfit(f"steps.{position}.tools: name each once")
    return proposal


def refused(why: str) -> PlanProposal:
    """No plan: a person decides."""
    return PlanProposal(reason=f"no plan by a model: {why}"[:500])


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
