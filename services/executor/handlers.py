"""What the executor does with what arrives on `tasks.executor`: the answer of every call is a result, never an error; what a
person has found out of one is kept."""

from __future__ import annotations

from collections.abc import Sequence

from services.executor.executor import Executed, Executor
from tandem import telemetry
from tandem.bus.base import Outgoing
from tandem.bus.consume import Delivery
from tandem.clock import Clock
from tandem.contracts.inbox import StepCompleted
from tandem.contracts.tasks import ExecuteTool, SettleEffect, ToolResult
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import derive_id
from tandem.errors import InvalidMessage
from tandem.sending import about, sent_by


class Handler:
    """Handles one delivery."""

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        task = delivery.message
        if not isinstance(task, ExecuteTool | SettleEffect):
            raise InvalidMessage("unknown-task", f"the executor has no handler for {delivery.envelope.type!r}")
        telemetry.bind(
            conversation=task.conversation, ticket=task.ticket, segment=task.turn, plan_version=task.plan_version
        )
        if isinstance(task, SettleEffect):
            await self._executor.settle(task)
            return []
        began = self._clock.boot()
        executed = await self._executor.execute(task)
        telemetry.count(telemetry.names.STEPS, "executor", executed.result.status, "rule")
        return [self._answer(task, executed, (self._clock.boot() - began) * 1000)]

    def _answer(self, task: ExecuteTool, executed: Executed, took_ms: float) -> Outgoing:
        """A later definite result is another message than the `unknown` it replaces: the status is in the id."""
        completed = StepCompleted.made(
            **about(task, "executor"),
            output_type=ToolResult.__name__,
            output={**vars(executed.result), **(executed.result.model_extra or {})},  # JSON, all of it
            cost=executed.cost,
            took_ms=round(took_ms, 3),
        )
        id_ = derive_id(task.id, task.attempt, "completed", executed.result.status)
        return sent_by("executor", TICKET_INBOX.name, completed, id_, self._clock.now())
