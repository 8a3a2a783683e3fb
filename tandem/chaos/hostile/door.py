"""The executor's decision on every call, and a judge beside it who knows what the people really said.

What is permitted is decided by the executor's own policies; what was true is written down by those to whom it happened. A call
that was permitted and that nobody had a right to is a break.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from services.executor.policies import History, Proof, buckets, is_proof, permit, same_call
from tandem.contracts.tasks import ExecuteTool, SettleEffect, ToolResult
from tandem.packs.expressions import evaluate
from tandem.packs.model import Pack, Tool


@dataclass
class Truth:
    """What really happened in one ticket."""

    verified: bool = False
    authorised: bool = False
    agreed: set[str] = field(default_factory=set)  # hashes of calls that the customer said yes to
    approved: set[str] = field(default_factory=set)  # and that an expert approved


class Door:
    """Where calls leave the platform."""

    def __init__(self, pack: Pack, truth: Truth, answer: Callable[[Tool], dict[str, Any]], random: Random) -> None:
        self._pack = pack
        self._truth = truth
        self._answer = answer
        self._random = random
        self._proofs: dict[str, Proof] = {}
        self._done: dict[str, ToolResult] = {}
        self._used: Counter[str] = Counter()
        self.breaks: list[str] = []
        self.refusals: Counter[str] = Counter()
        self.writes = 0

    def execute(self, task: ExecuteTool) -> ToolResult:
        tool = self._pack.tools.get(task.tool)
        if tool is None:
            return self._refused(task, "unknown-tool")
        if tool.writes and task.effect in self._done:
            return self._done[task.effect]
        limited = buckets(task, tool, self._pack)
        history = History(self._proofs, {bucket: self._used[bucket] for bucket in limited})
        decision = same_call(task) or permit(task, tool, self._pack, history)
        if not decision.permitted:
            return self._refused(task, decision.reason)
        self.breaks += [f"{task.tool} {task.arguments}: {why}" for why in self._judged(task, tool)]
        self._used.update(limited.keys())
        return self._called(task, tool)

    def settle(self, task: SettleEffect) -> None:
        """A person says that it happened: it is not done again."""
        if task.happened:
            self._done[task.call.effect] = ToolResult(effect=task.call.effect, status="done", output=task.output)

    def _refused(self, task: ExecuteTool, reason: str) -> ToolResult:
        self.refusals[reason] += 1
        return ToolResult(effect=task.effect, status="refused", reason=reason)

    def _called(self, task: ExecuteTool, tool: Tool) -> ToolResult:
        if self._random.random() < 0.1:
            status = self._random.choice(("failed", "unknown", "expired") if tool.writes else ("failed", "expired"))
            return ToolResult.model_validate({"effect": task.effect, "status": status, "error": "it went wrong"})
        output = self._answer(tool)
        result = ToolResult(effect=task.effect, status="done", output=output)
        if is_proof(tool, self._pack):
            self._proofs[task.step] = Proof(tool.name, output)
            self._prove(tool, output)
        if tool.writes:
            self.writes += 1
            self._done[task.effect] = result
        return result

    def _prove(self, tool: Tool, output: dict[str, Any]) -> None:
        policies, scope = self._pack.policies, {"result": output}
        if tool.name in policies.identity_tools and evaluate(policies.identity_when, scope):
            self._truth.verified = True
        if tool.name in policies.authorisation_tools and evaluate(policies.authorisation_when, scope):
            self._truth.authorised = True

    def _judged(self, task: ExecuteTool, tool: Tool) -> list[str]:
        """What this call had no right to."""
        policies, truth = self._pack.policies, self._truth
        if not tool.writes or is_proof(tool, self._pack):
            return []
        found = []
        if policies.identity == "required" and tool.name not in policies.no_identity and not truth.verified:
            found.append("nobody was verified")
        if policies.authorisation == "required" and tool.name not in policies.no_identity and not truth.authorised:
            found.append("nobody was found to be allowed")
        asked = policies.consent == "customer_confirms" and tool.name not in policies.no_consent
        if asked and task.arguments_hash not in truth.agreed:
            found.append("the customer never said yes to it")
        wanted = [rule for rule in policies.approvals if rule.tool == tool.name]
        needed = any(rule.when is None or evaluate(rule.when, {"args": task.arguments}) for rule in wanted)
        if needed and task.arguments_hash not in truth.approved:
            found.append("no expert approved it")
        return found
