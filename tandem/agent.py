"""How an agent's handlers meet the bus: task in, answer into the ticket's mailbox.

A handler is `async def answer(task: AnswerQuestion, llm: Llm) -> Answer`: the task first, the rest injected by the
parameter's name. It returns a Value, or a `Result` that also says cost and rung. What it raises becomes the step's fate:
InvalidError a definite failure, RetryableError a failure that may be tried again, anything else a retry of the message.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from tandem import telemetry
from tandem.bus.base import Outgoing
from tandem.bus.consume import ConsumeLoop, Delivery, LoopPolicy
from tandem.clock import Clock
from tandem.contracts.inbox import StepCompleted, StepFailed, StepMessage
from tandem.contracts.tasks import Task
from tandem.contracts.ticket import Cost
from tandem.contracts.topics import TICKET_INBOX, TOPICS
from tandem.contracts.values import Value, derive_id
from tandem.errors import InvalidError, InvalidMessage, InvalidSettings, Refused, RetryableError
from tandem.rpc.metering import metered, usage_of
from tandem.sending import about, sent_by
from tandem.telemetry import Attribute, SpanName, names
from tandem.wiring import Wiring

Handler: TypeAlias = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """A handler's answer with what it cost, which rung of the ladder gave it, and the prompt a model was asked with."""

    value: Value
    cost: Cost = field(default_factory=Cost)
    rung: str = "rule"
    prompt: str = ""


def agent_loop(name: str, handlers: Mapping[type[Task], Handler], wiring: Wiring, **injected: object) -> ConsumeLoop:
    """The consume loop of `tasks.<name>`: no order among tasks, the plan's edges are the order."""
    bound = {task.TYPE: _bind(handler, injected) for task, handler in handlers.items()}
    answerer = _Answerer(name, bound, wiring.clock)
    return ConsumeLoop(
        wiring.bus(),
        group=name,
        topics=[TOPICS[f"tasks.{name}"]],
        handler=answerer,
        policy=LoopPolicy(max_in_flight=wiring.settings.max_in_flight, ordered=False),
        clock=wiring.clock,
        name=name,
        around=partial(telemetry.consume_span, name=name),
        kill=wiring.kill,
    )


def _bind(handler: Handler, injected: Mapping[str, object]) -> Handler:
    """The handler with its parameters after the first filled in by name. Raises InvalidSettings for a missing one."""
    wanted = list(inspect.signature(handler).parameters)[1:]
    missing = [parameter for parameter in wanted if parameter not in injected]
    if missing:
        where = getattr(handler, "__qualname__", str(handler))
        raise InvalidSettings(f"handler {where} asks for {', '.join(missing)}: give it to Service.agent by that name")
    return partial(handler, **{parameter: injected[parameter] for parameter in wanted})


class _Answerer:
    """Handles one delivery of a task."""

    def __init__(self, name: str, handlers: Mapping[str, Handler], clock: Clock) -> None:
        self._name = name
        self._handlers = handlers
        self._clock = clock

    async def __call__(self, delivery: Delivery) -> Sequence[Outgoing]:
        task = delivery.message
        handler = self._handlers.get(delivery.envelope.type)
        if handler is None or not isinstance(task, Task):
            raise InvalidMessage("unknown-task", f"{self._name} has no handler for {delivery.envelope.type!r}")
        telemetry.bind(
            conversation=task.conversation, ticket=task.ticket, segment=task.turn, plan_version=task.plan_version
        )
        began = self._clock.boot()
        with telemetry.span(f"{SpanName.AGENT} {self._name}", attributes={Attribute.AGENT_NAME: self._name}):
            answer = await self._answer(task, handler, began)
        if isinstance(answer, StepFailed):
            telemetry.count(names.STEPS, self._name, answer.reason, "")
        else:
            telemetry.count(names.STEPS, self._name, "completed", answer.rung)
        return [self._send(task, answer)]

    async def _answer(self, task: Task, handler: Handler, began: float) -> StepCompleted | StepFailed:
        left = (task.deadline - self._clock.now()) / 1000
        if left <= 0:
            return self._failed(task, "expired", "the task reached the agent after its deadline")
        limit = asyncio.timeout(left)
        try:
            async with limit:
                with metered() as responses:
                    answer = await handler(task)
        except TimeoutError:
            if not limit.expired():
                raise
            return self._failed(task, "expired", "the task was not done by its deadline")
        except (Refused, InvalidMessage) as error:
            return self._failed(task, error.reason, str(error))
        except InvalidError as error:
            return self._failed(task, "invalid", str(error))
        except RetryableError as error:
            return self._failed(task, "unavailable", str(error), retryable=True)
        result = answer if isinstance(answer, Result) else Result(answer)
        return StepCompleted(
            **about(task, self._name),
            output_type=type(result.value).__name__,
            output=result.value.model_dump(mode="json"),
            cost=result.cost,
            rung=result.rung,
            prompt=result.prompt,
            usage=usage_of(responses),
            took_ms=round((self._clock.boot() - began) * 1000, 3),
        )

    def _failed(self, task: Task, reason: str, error: str, *, retryable: bool = False) -> StepFailed:
        return StepFailed(**about(task, self._name), error=error[:500], reason=reason, retryable=retryable)

    def _send(self, task: Task, answer: StepMessage) -> Outgoing:
        id_ = derive_id(task.id, task.attempt, "completed")
        return sent_by(self._name, TICKET_INBOX.name, answer, id_, self._clock.now())
