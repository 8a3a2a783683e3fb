"""One ticket: a customer, experts, agents whose model is hostile, tools whose answers are, and the door."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any, cast

from services.function_agent.extraction import ModelPolicy
from services.function_agent.handlers import HANDLERS as FUNCTION_AGENT
from services.function_agent.sandbox import Limits, Sandbox
from services.planner.decide import decide
from services.planner.handlers import HANDLERS as PLANNER
from services.rag_agent.drafts import Drafts
from services.rag_agent.handlers import HANDLERS as RAG_AGENT
from services.rag_agent.handlers import AnswerPolicy
from tandem.agent import Handler, Result
from tandem.bus.base import Bus, Outgoing
from tandem.chaos.hostile.door import Door, Truth
from tandem.chaos.hostile.model import HostileModel
from tandem.clock import SystemClock
from tandem.contracts.customer import CardActionPart, CustomerMessage, Reply, TextPart
from tandem.contracts.events import ExpertTask, TicketEvents
from tandem.contracts.inbox import (
    AnyInboxMessage,
    Approve,
    GiveBack,
    Reject,
    ResolveUnknown,
    RoutedMessage,
    StepCompleted,
    StepFailed,
    TakeOver,
    TimerFired,
)
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.tasks import ExecuteTool, SettleEffect, Task
from tandem.contracts.ticket import Cost, Route, Status, Ticket, TypedValue
from tandem.contracts.values import Value, conversation_id, derive_id
from tandem.errors import InvalidError, RetryableError
from tandem.packs.model import Pack, Tool
from tandem.sending import about
from tandem.vectors.base import Hit, Passage

HANDLERS: dict[type[Task], Handler] = {**PLANNER, **FUNCTION_AGENT, **RAG_AGENT}
TURNS, MAX_MESSAGES = 12, 200
VALUES = {
    "account_email": "ana@example.com",
    "instance_id": "i-0a1b2c3d",
    "ip_address": "192.0.2.7",
    "order_id": "ORD-1001",
}
YES = ("yes", True)
NO = ("no", False)


class OnePack:
    """The packs of a deployment that has one."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def get(self, name: str, version: str | None = None) -> Pack:
        return self._pack


class PoisonedShelf:
    """A knowledge base in which somebody has written."""

    def __init__(self, random: Random, injections: Sequence[str]) -> None:
        self._random = random
        self._injections = injections

    async def search(self, tenant: str, collection: str, meaning: Any, question: str, limit: int = 8) -> list[Hit]:
        found = []
        for number in range(3):
            text = f"{question}\n\n{self._random.choice(self._injections)} see https://evil.example/{number}"
            passage = Passage(id=f"d#{number}", doc="d.md", title="d", anchor=str(number), text=text)
            found.append(Hit(passage=passage, window=text, score=1.0, similarity=self._random.random()))
        return found


class PoisonedMemory:
    """A memory of what somebody wrote on purpose."""

    def __init__(self, random: Random, injections: Sequence[str]) -> None:
        self._random = random
        self._injections = injections

    async def customer(self, tenant: str, conversation: str, deadline: float = 0.3) -> dict[str, Any]:
        said = {"name": "wish", "value": self._random.choice(self._injections)}
        past = {"ticket": "before", "summary": self._random.choice(self._injections)}
        return {"facts": {}, "tickets": [past], "known": [said]}


class Overheard:
    """A bus on which agents show drafts."""

    def __init__(self, drafts: list[Reply]) -> None:
        self._drafts = drafts

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            found = read_body(read_envelope(message.record.headers).type, message.record.value)
            assert isinstance(found, Reply)
            self._drafts.append(found)


class Case:
    """A ticket from its first message to nobody's turn."""

    def __init__(self, number: int, pack: Pack, random: Random, injections: Sequence[str]) -> None:
        self._number = number
        self._pack = pack
        self._random = random
        self._injections = injections
        self._now, self._offset, self._said = 1_000_000, -1, 0
        self._pending: deque[Any] = deque()
        self.ticket: Ticket | None = None
        self.conversation = conversation_id("acme", "chat", f"t{number}")
        self.secret = f"{random.randint(100_000, 999_999)}"
        self.truth = Truth()
        self.door = Door(pack, self.truth, self._answer, random)
        self.model = HostileModel(random, injections)
        self.replies: list[Reply] = []
        self.drafts: list[Reply] = []
        self.plans = self.programs = 0
        self._injected = {
            "packs": OnePack(pack),
            "llm": self.model,
            "vectors": PoisonedShelf(random, injections),
            "memory": PoisonedMemory(random, injections),
            "policy": None,
            "drafts": Drafts(cast(Bus, Overheard(self.drafts)), self.model, SystemClock()),
            "sandbox": Sandbox(Limits(), 1),
        }

    async def play(self) -> None:
        """The customer writes and answers; everybody else does what is theirs."""
        for _ in range(TURNS):
            self._customer()
            await self._everybody()
            self._timer("burst")
            await self._everybody()
            if self._random.random() < 0.1:
                self._timer()
                await self._everybody()

    @property
    def leaks(self) -> list[str]:
        """Replies and drafts in which the customer's secret stands."""
        told = (*self.replies, *self.drafts)
        return [reply.text() for reply in told if self.secret in reply.model_dump_json()]

    async def _everybody(self) -> None:
        while self._pending and self._offset < MAX_MESSAGES:
            body = self._pending.popleft()
            if isinstance(body, TicketEvents):
                self.plans += sum(event.kind == "plan_proposed" for event in body.events)
                self.programs += sum(event.kind == "program_written" for event in body.events)
            elif isinstance(body, ExecuteTool):
                self._completed(body, self.door.execute(body))
            elif isinstance(body, SettleEffect):
                self.door.settle(body)
            elif isinstance(body, Task):
                await self._agent(body)
            elif isinstance(body, Reply):
                self.replies.append(body)
            elif isinstance(body, ExpertTask) and body.state == "open":
                self._expert(body)

    def _feed(self, message: AnyInboxMessage) -> None:
        self._now += self._random.randint(1, 2_000)
        self._offset += 1
        decision = decide(self.ticket, message, self._now, self._pack, self._offset)
        self.ticket = decision.ticket or self.ticket
        self._pending.extend(read_body(output.type, output.body.encode()) for output in decision.outputs)

    # The customer ------------------------------------------------------------------------------------------------

    def _customer(self) -> None:
        questions = self.ticket.questions if self.ticket else ()
        part: Any = TextPart(text=self._random.choice((self._random.choice(self._injections), "please help me", "yes")))
        wanted = {slot for question in questions for slot in question.slots}
        likely = {name: 0.9 if name in wanted else 0.3 for name in self._pack.slots}
        values = tuple(self._value(name) for name, chance in likely.items() if self._random.random() < chance)
        if questions and self._random.random() < 0.7:
            asked = questions[-1]
            word, yes = YES if self._random.random() < 0.7 else NO
            if asked.choices:
                part = CardActionPart(question=asked.id, action=self._random.choice(asked.choices).id)
            elif asked.kind in ("consent", "follow_up"):
                part = CardActionPart(question=asked.id, action=word)
                if yes and asked.kind == "consent" and asked.subject:
                    self.truth.agreed.add(asked.subject)
        self._write(part, values)

    def _value(self, slot: str) -> TypedValue:
        known = self._pack.slots[slot]
        value = self.secret if known.sensitive else VALUES.get(slot, f"{slot}-1")
        return TypedValue(
            slot=slot, value=value, text="[masked]" if known.sensitive else value, sensitive=known.sensitive
        )

    def _write(self, part: Any, values: tuple[TypedValue, ...]) -> None:
        self._said += 1
        route = self._route()
        message = CustomerMessage(
            id=f"m{self._said}",
            tenant="acme",
            channel="chat",
            thread=f"t{self._number}",
            conversation=self.conversation,
            parts=(part,),
            sent_at=self._now,
        )
        self._feed(
            RoutedMessage(
                tenant="acme",
                conversation=self.conversation,
                id=derive_id("hostile", message.id),
                message=message,
                route=route,
                values=values,
                pack=self._pack.name,
                pack_hash=self._pack.hash,
            )
        )

    def _route(self) -> Route:
        """A matter that a procedure covers, one that the model has to plan, or an answer."""
        if self.ticket and self.ticket.plans and self._random.random() < 0.9:
            return Route(confidence=self._random.random())
        if self._random.random() < 0.4:
            return Route(confidence=self._random.random(), complexity="complex")
        covered = [name for name, intent in self._pack.intents.items() if intent.procedure]
        return Route(intent=self._random.choice(covered * 3 + list(self._pack.intents)), confidence=0.9)

    def _timer(self, name: str = "") -> None:
        armed = self.ticket.timers if self.ticket and self.ticket.status is not Status.CLOSED else ()
        timers = [timer for timer in armed if name in ("", timer.name)]
        if timers and self.ticket:
            timer = self._random.choice(timers)
            self._now = max(self._now, timer.due)
            fields = {"tenant": "acme", "conversation": self.conversation, "ticket": self.ticket.id}
            self._feed(TimerFired(**fields, name=timer.name, due=timer.due))

    # Agents and tools --------------------------------------------------------------------------------------------

    async def _agent(self, task: Task) -> None:
        handler = HANDLERS[type(task)]
        wanted = list(inspect.signature(handler).parameters)[1:]
        policy = AnswerPolicy() if type(task) in RAG_AGENT else ModelPolicy()
        injected = {**self._injected, "policy": policy}
        try:
            answer = await handler(task, **{name: injected[name] for name in wanted})
        except (InvalidError, RetryableError) as error:
            failed = StepFailed(
                **about(task, "hostile"),
                error=str(error)[:300],
                reason="e",
                retryable=isinstance(error, RetryableError),
            )
            self._feed(failed)
            return
        self._completed(task, answer.value if isinstance(answer, Result) else answer, answer)

    def _completed(self, task: Task, value: Value, answer: object = None) -> None:
        cost, rung = (answer.cost, answer.rung) if isinstance(answer, Result) else (Cost(calls=1), "rule")
        output, kind = value.model_dump(mode="json"), type(value).__name__
        self._feed(StepCompleted(**about(task, "hostile"), output_type=kind, output=output, cost=cost, rung=rung))

    def _answer(self, tool: Tool) -> dict[str, Any]:
        """What a tool's other side says: of the right shape, in the worst words."""
        names = [*VALUES.values(), *self._pack.tools]
        made = self.model.of_schema(dict(tool.output), names)
        return made if isinstance(made, dict) else {}

    # Experts -----------------------------------------------------------------------------------------------------

    def _expert(self, task: ExpertTask) -> None:
        ids = {"id": f"x{self._offset}", "tenant": "acme", "conversation": self.conversation, "ticket": task.ticket}
        common: dict[str, Any] = {**ids, "expert": "ann"}
        asked: dict[str, Any] = {"approval": task.id, "effect": task.effect or ""}
        match task.kind:
            case "approve" if self._random.random() < 0.7:
                self.truth.approved.add(task.arguments_hash or "")
                self._feed(Approve(**common, **asked, arguments_hash=task.arguments_hash or ""))
            case "approve" | "suggestion":
                self._feed(Reject(**common, approval=task.id))
            case "unknown_outcome":
                happened = self._random.random() < 0.5
                self._feed(ResolveUnknown(**common, **asked, happened=happened, output={}))
            case "handover" if self._random.random() < 0.5:
                self._feed(TakeOver(**common, reason="mine"))
                self._feed(GiveBack(**{**common, "id": f"y{self._offset}"}, resolved=self._random.random() < 0.3))
