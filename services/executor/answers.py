"""The words in which the executor answers a task."""

from __future__ import annotations

from services.executor.policies import PolicyDecision
from services.executor.tools import Came, Outcome
from tandem.contracts.log import EffectRecorded
from tandem.contracts.tasks import ExecuteTool, ToolResult

UNCALLED = frozenset({"unreachable", "late", "limit", "http-429", "not-done"})
"""Reasons of a result that say nothing was done: another task may try the same effect again."""


def refused(task: ExecuteTool, decision: PolicyDecision) -> ToolResult:
    return ToolResult(effect=task.effect, status="refused", reason=decision.reason, error=decision.detail)


def expired(task: ExecuteTool) -> ToolResult:
    return ToolResult(
        effect=task.effect, status="expired", reason="expired", error="it was too late to call; nothing was done"
    )


def of_outcome(task: ExecuteTool, outcome: Outcome, *, doubt: bool) -> ToolResult:
    """The result of the last outcome. `doubt`: an earlier or this very call may have had its effect."""
    if outcome.came is Came.DONE:
        return ToolResult(effect=task.effect, status="done", output=outcome.output, evidence=outcome.evidence)
    if outcome.reason in ("limit", "description-changed"):
        status = "refused"
    elif doubt:
        return unknown(task, outcome.reason, outcome.error)
    else:
        status = "failed"
    return ToolResult(
        effect=task.effect,
        status="refused" if status == "refused" else "failed",
        output=outcome.output,
        reason=outcome.reason,
        error=outcome.error,
        evidence=outcome.evidence,
    )


def unknown(task: ExecuteTool, reason: str, error: str = "") -> ToolResult:
    return ToolResult(
        effect=task.effect,
        status="unknown",
        reason=reason,
        error=error or "nobody knows whether it happened; a person has to find out",
    )


def again(known: EffectRecorded) -> ToolResult:
    """A recorded result, sent again."""
    return known.result.model_copy(update={"repeated": True})


def of_another(task: ExecuteTool, other: EffectRecorded) -> ToolResult:
    """The result of an effect that may happen once only, and has: for another request of the same."""
    return other.result.model_copy(update={"effect": task.effect, "repeated": True, "reason": "once-per"})
