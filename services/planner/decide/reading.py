"""Reading the conversation for values before the customer is asked and before a call, in packs whose models can."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from services.planner.decide import dispatch
from services.planner.decide.draft import Draft
from tandem.contracts.tasks import CallProposal, MadeCall
from tandem.contracts.ticket import Question, Step, StepStatus, Unread
from tandem.contracts.values import Json
from tandem.packs.model import Flow, Node, Tool

READER, GUESSER = "read", "guess"
"""Names of the step: it reads what is plain; the customer cannot say it (again), and the likeliest is better than nothing."""

STEPS = (READER, GUESSER)
GUESS = 0.35
"""Confidence of a guess. Before a write the customer sees it and is asked."""

_TURN = "_read"
_SENT_AT = "_sent_at"
_CALLS = "_calls"
KEPT_CALLS = 3
_MADE = TypeAdapter(tuple[MadeCall, ...])


def note_messages(draft: Draft, messages: Sequence[Unread]) -> None:
    """Remember when the customer wrote, by the channel's clock."""
    if draft.pack.reads:
        draft.know(_SENT_AT, max(message.sent_at for message in messages), "tool", draft.cause)


def note_call(draft: Draft, step: Step, output: dict[str, Json]) -> None:
    """Remember a call and what it brought, if that is small enough to be kept."""
    tool = draft.pack.tools.get(step.name)
    if not draft.pack.reads or tool is None:
        return
    arguments = {name: value for name, value in (step.arguments or {}).items() if not _is_secret(draft, tool, name)}
    made = MadeCall(tool=tool.name, arguments=arguments, output=output, at=draft.now)
    kept = (*calls(draft), made)[-KEPT_CALLS:]
    draft.know(_CALLS, _MADE.dump_python(kept, mode="json"), "tool", step.id)


def calls(draft: Draft) -> tuple[MadeCall, ...]:
    fact = draft.facts.get(_CALLS)
    return _MADE.validate_python(fact.value) if fact else ()


def due(draft: Draft, step: Step, node: Node) -> bool:
    """Whether the conversation is to be read before this step: once a turn, and never between a consent and its call."""
    if not draft.pack.reads or step.arguments is not None:
        return False
    read = draft.facts.get(_TURN)
    return (read is None or read.value != draft.turn) and tool_for(draft, step, node) is not None


def due_for(draft: Draft, question: Question) -> bool:
    """Whether an answer that no rule understands is to be read by the models."""
    read = draft.facts.get(_TURN)
    return draft.pack.reads and question.kind == "slots" and (read is None or read.value != draft.turn)


def begin(draft: Draft, step: Step, reader: Step, node: Node) -> None:
    """Have function_agent read; the step waits for it, or, if its question is open, for the answer."""
    plan, tool = draft.plan_of(step.id), tool_for(draft, step, node)
    if plan is None or tool is None:
        return
    if all(question.step != step.id for question in draft.questions):
        draft.put_step(step, status=StepStatus.WAITING, needs=(reader.id,))
    draft.know(_TURN, draft.turn, "tool", reader.id)
    sent_at = draft.facts.get(_SENT_AT)
    more = {"calls": calls(draft), "sent_at": sent_at.value if sent_at else None}
    sure = GUESS if reader.name == GUESSER else None
    dispatch.read(draft, reader, draft.plan_of(step.id) or plan, tool.name, sure=sure, **more)


def take(draft: Draft, call: CallProposal, ref: str) -> None:
    """What was found becomes facts."""
    tool = draft.pack.tools.get(call.tool or "")
    for name, value in call.arguments.items() if tool else ():
        slot = draft.pack.slots.get(tool.slots.get(name, name)) if tool else None
        if slot and not slot.sensitive and call.origins.get(name) == "customer":
            draft.know(slot.name, value, "customer", ref)


def tool_for(draft: Draft, step: Step, node: Node) -> Tool | None:
    """The tool whose values the step is about: what it calls if that changes nothing, what it asks consent for, or the flow's
    first that takes what it asks for."""
    plan = draft.plan_of(step.id)
    flow = draft.flow(plan) if plan else None
    if flow is None:
        return None
    if node.tool:
        tool = draft.pack.tools.get(node.tool)
        return tool if tool and not tool.writes else None
    if node.consent:
        target = flow.nodes.get(node.consent)
        return draft.pack.tools.get(target.tool or "") if target else None
    return _first(draft, flow, node.slots) if node.slots else None


def _first(draft: Draft, flow: Flow, slots: Sequence[str]) -> Tool | None:
    tools = [draft.pack.tools[node.tool] for node in flow.nodes.values() if node.tool in draft.pack.tools]
    takes = (tool for tool in tools if set(slots) & {tool.slots.get(name, name) for name in tool.properties})
    return next(takes, tools[0] if tools else None)


def _is_secret(draft: Draft, tool: Tool, name: str) -> bool:
    slot = draft.pack.slots.get(tool.slots.get(name, name))
    return slot is not None and slot.sensitive
