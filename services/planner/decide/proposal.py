"""A plan proposed by the planner's model: checked against the catalogue before anything of it runs."""

from __future__ import annotations

from services.planner.decide import reasoning, walk
from services.planner.decide.draft import Draft
from services.planner.decide.lifecycle import handover
from tandem.contracts.tasks import PlanProposal, ProposedStep
from tandem.contracts.ticket import Plan, Script, Step, StepStatus
from tandem.contracts.values import Json

MAX_PROPOSED = 12
AGENTS = frozenset({"rag_agent"})


def apply(draft: Draft, step: Step, plan: Plan, proposal: PlanProposal) -> None:
    """Add the proposed steps to the plan, or hand over if there is no plan, or a step is not in the catalogue."""
    draft.put_step(step, status=StepStatus.DONE)
    problems = [text for proposed in proposal.steps for text in _problems(draft, plan, proposed)]
    if proposal.done and not proposal.steps and reasoning.has_spoken(plan):
        draft.event("plan_proposed", text=proposal.reason, data={"steps": 0})
        walk.finish_plan(draft, plan)
        return
    if not proposal.steps or problems or len(proposal.steps) > MAX_PROPOSED:
        draft.event("plan_refused", text="; ".join(problems) or proposal.reason or "no plan")
        handover(draft, "no_plan")
        return
    draft.event("plan_proposed", text=proposal.reason, data={"steps": len(proposal.steps)})
    added: list[Step] = []
    for proposed in proposal.steps:
        made = walk.add_step(draft, plan.id, proposed.kind, proposed.name or _first(proposed))
        needs = tuple(added[i].id for i in proposed.needs if i < len(added))
        asked: dict[str, Json] = {"slots": list(proposed.slots)}
        arguments = proposed.arguments if proposed.kind == "tool" else asked if proposed.kind == "ask" else None
        script = Script(tools=proposed.tools) if proposed.kind in ("program", "tool") and proposed.tools else None
        added.append(draft.put_step(made, needs=needs, arguments=arguments, text=proposed.text, script=script))
    for made in added:
        current = draft.step(made.id)
        if current and current.status is StepStatus.WAITING and not current.needs:
            walk.run(draft, current)


def _first(proposed: ProposedStep) -> str:
    """What a step without a name is called: of several tools the first, until one is chosen."""
    return proposed.tools[0] if proposed.kind == "tool" else proposed.kind


def _problems(draft: Draft, plan: Plan, proposed: ProposedStep) -> list[str]:
    match proposed.kind:
        case "tool" if proposed.tools and not proposed.name:
            unknown = sorted(set(proposed.tools) - draft.pack.tools.keys())
            return [f"no tools called {' or '.join(unknown)}"] if unknown or not proposed.text else []
        case "tool" if proposed.tools or proposed.name not in draft.pack.tools:
            return [f"no tool called {proposed.name!r}"]
        case "tool" if reasoning.repeats(plan, proposed):
            return [f"{proposed.name!r} was called with these arguments before"]
        case "ask" if not set(proposed.slots) <= draft.pack.slots.keys():
            return [f"no value called {' or '.join(proposed.slots)}"]
        case "program" if not proposed.tools or not set(proposed.tools) <= draft.pack.tools.keys():
            return [f"no tools called {' or '.join(proposed.tools) or 'nothing'}"]
        case "agent" if proposed.name not in AGENTS:
            return [f"no agent called {proposed.name!r}"]
        case "ask" | "reply" | "program" if not proposed.text:
            return [f"{proposed.kind} without a text"]
    return []
