"""What a business permits, decided for every call whoever asks: pure, from the task, the pack and the effect logs.

A refusal is a short stable code; a refused call never leaves the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.executor.schemas import problem
from tandem.contracts.tasks import Authority, ExecuteTool
from tandem.contracts.values import call_identity, digest
from tandem.packs.expressions import evaluate
from tandem.packs.model import Limit, Pack, Tool

CHOSEN_FREELY = frozenset({"expert", "system"})
"""Origins whose values may choose anything: a person, or the pack itself."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What an identity or authorisation tool answered, as the effect log recorded it."""

    tool: str
    output: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """What the effect logs say that matters for one call."""

    proofs: Mapping[str, Proof] = field(default_factory=dict)  # step of the ticket → what its tool answered
    used: Mapping[str, int] = field(default_factory=dict)  # limit's bucket → other effects in its window


NO_HISTORY = History()
"""Of a call that asks for no proof and counts under no limit."""


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    permitted: bool
    reason: str = ""  # short stable code of the refusal
    detail: str = ""


PERMITTED = PolicyDecision(True)


def permit(task: ExecuteTool, tool: Tool, pack: Pack, history: History) -> PolicyDecision:
    """May this call be made? Reads need only be well formed; a write needs every evidence its pack asks for."""
    return (
        _well_formed(task, tool)
        or _within_limits(task, tool, pack, history)
        or (_write_permitted(task, tool, pack, history) if tool.writes else None)
        or PERMITTED
    )


def same_call(task: ExecuteTool) -> PolicyDecision | None:
    """Effect id and hash must be those of these very arguments."""
    effect, hash_ = call_identity(task.ticket, task.tool, task.arguments, task.n)
    if hash_ != task.arguments_hash:
        return _no("arguments-changed", "the arguments are not those the hash names")
    if effect != task.effect:
        return _no("arguments-changed", "the effect id is of another call")
    return None


def is_proof(tool: Tool, pack: Pack) -> bool:
    """Whether the tool's answer is evidence for later calls of the ticket."""
    return tool.name in pack.policies.identity_tools or tool.name in pack.policies.authorisation_tools


def buckets(task: ExecuteTool, tool: Tool, pack: Pack) -> dict[str, Limit]:
    """Under what the pack's limits count this call."""
    return {_bucket(task, limit): limit for limit in pack.policies.limits if limit.tool == tool.name}


def _bucket(task: ExecuteTool, limit: Limit) -> str:
    ours = {"tenant": task.tenant, "ticket": task.ticket, "conversation": task.conversation}
    value = ours.get(limit.per, task.arguments.get(limit.per))
    return digest([task.tenant, limit.tool, limit.per, value, limit.window_ms])


def _no(reason: str, detail: str) -> PolicyDecision:
    return PolicyDecision(False, reason, detail)


def _well_formed(task: ExecuteTool, tool: Tool) -> PolicyDecision | None:
    unknown = sorted(task.arguments.keys() - tool.properties.keys())
    if unknown:
        return _no("arguments-invalid", f"{tool.name} has no parameter {', '.join(unknown)}")
    wrong = problem(task.arguments, tool.parameters)
    if wrong:
        return _no("arguments-invalid", wrong)
    for group in tool.alternatives:
        if not any(name in task.arguments for name in group):
            return _no("arguments-invalid", f"one of {', '.join(group)} is needed")
    return None


def _within_limits(task: ExecuteTool, tool: Tool, pack: Pack, history: History) -> PolicyDecision | None:
    for bucket, limit in buckets(task, tool, pack).items():
        if history.used.get(bucket, 0) >= limit.max:
            return _no("limit", f"at most {limit.max} of {tool.name} per {limit.per} in its window")
    return None


def _write_permitted(task: ExecuteTool, tool: Tool, pack: Pack, history: History) -> PolicyDecision | None:
    approved = _approved(task.authority, task.arguments_hash)
    refused = None
    if not is_proof(tool, pack):
        refused = _known_customer(task.authority, tool, pack, history) or _consented(task, tool, pack)
    return refused or _approval_given(task, tool, pack, approved) or _rightly_chosen(task, tool, pack, approved)


def _known_customer(authority: Authority, tool: Tool, pack: Pack, history: History) -> PolicyDecision | None:
    policies = pack.policies
    if tool.name in policies.no_identity:
        return None
    if policies.identity == "required":
        proof = history.proofs.get(authority.identity or "")
        if proof is None or proof.tool not in policies.identity_tools:
            return _no("identity-missing", "no verification of this ticket's customer is on record")
        if not evaluate(policies.identity_when, {"result": proof.output}):
            return _no("identity-failed", "the verification on record did not succeed")
    if policies.authorisation == "required":
        proof = history.proofs.get(authority.authorisation or "")
        if proof is None or proof.tool not in policies.authorisation_tools:
            return _no("authorisation-missing", "no check that this customer may do it is on record")
        if not evaluate(policies.authorisation_when, {"result": proof.output}):
            return _no("authorisation-failed", "the check on record says that this customer may not")
    return None


def _consented(task: ExecuteTool, tool: Tool, pack: Pack) -> PolicyDecision | None:
    policies, authority = pack.policies, task.authority
    if policies.consent != "customer_confirms" or tool.name in policies.no_consent:
        return None
    if not authority.consent:
        return _no("consent-missing", "the customer has not agreed to this call")
    if authority.consent_subject != task.arguments_hash:
        return _no("consent-mismatch", "the customer agreed to another call")
    return None


def _approved(authority: Authority, arguments_hash: str) -> bool:
    return bool(authority.approval and authority.approved_by and authority.approval_hash == arguments_hash)


def _approval_given(task: ExecuteTool, tool: Tool, pack: Pack, approved: bool) -> PolicyDecision | None:
    if approved or not any(_asks_for_approval(rule.when, task) for rule in _rules(pack, tool)):
        return None
    if task.authority.approval:
        return _no("approval-mismatch", "an expert approved another call")
    return _no("approval-missing", "an expert must approve this call")


def _rules(pack: Pack, tool: Tool) -> list[Any]:
    return [rule for rule in pack.policies.approvals if rule.tool == tool.name]


def _asks_for_approval(when: str | None, task: ExecuteTool) -> bool:
    """A rule that cannot be told asks: closed, not open."""
    if when is None:
        return True
    told = evaluate(when, {"args": task.arguments})
    return told is None or bool(told)


def _rightly_chosen(task: ExecuteTool, tool: Tool, pack: Pack, approved: bool) -> PolicyDecision | None:
    """Values of customers, tools and knowledge stand only where a rule of the pack puts them, or a person approved."""
    if approved:
        return None
    bound = {
        name
        for flow in pack.flows.values()
        for node in flow.nodes.values()
        if node.tool == tool.name
        for name in node.args
    }
    asked = tool.slots.keys() | pack.slots.keys()
    for name in task.arguments:
        origin = task.origins.get(name, "unknown")
        if origin in CHOSEN_FREELY or name in bound:
            continue
        if origin == "knowledge" or name not in asked:
            return _no("origin", f"{name} came from {origin}, and no rule of the pack lets that choose it")
    return None
