"""A ticket being decided on: a mutable copy, the outputs and the events, sealed into a Decision at the end."""

from __future__ import annotations

from typing import Any, NamedTuple

from services.planner.decide.texts import sentence
from tandem.contracts.customer import Reply, ReplyPart, ReplyText
from tandem.contracts.events import Event, ExpertTask, TicketEvents
from tandem.contracts.log import Output
from tandem.contracts.message import Message
from tandem.contracts.tasks import Task
from tandem.contracts.ticket import (
    MAX_FACT_BYTES,
    MAX_RECENT,
    MAX_RECENT_TEXT,
    Fact,
    Line,
    Origin,
    Plan,
    Question,
    Status,
    Step,
    StepStatus,
    Ticket,
    Timer,
)
from tandem.contracts.topics import CUSTOMER_REPLIES, EXPERT_TASKS, TICKET_EVENTS
from tandem.contracts.values import Json, Millis, canonical_json, derive_id
from tandem.packs.expressions import fill
from tandem.packs.links import MASK as MASK
from tandem.packs.links import without_foreign_links
from tandem.packs.model import Flow, Node, Pack, Texts


class Decision(NamedTuple):
    """The ticket after a message, and what to publish. `ticket` is None when the message concerns no ticket."""

    ticket: Ticket | None
    outputs: tuple[Output, ...]


class Draft:
    """One decision under way. Fields of the ticket that change are plain attributes here."""

    def __init__(self, ticket: Ticket, pack: Pack, now: Millis, offset: int, cause: str) -> None:
        self.base = ticket
        self.pack = pack
        self.now = max(now, ticket.now)
        self.offset = offset
        self.cause = cause
        self.version = ticket.version + 1
        self.owner = ticket.owner
        self.turn = ticket.turn
        self.seq = ticket.seq
        self.status = ticket.status
        self.language = ticket.language
        self.route = ticket.route
        self.plans = list(ticket.plans)
        self.facts = dict(ticket.facts)
        self.budget = ticket.budget
        self.notes = ticket.notes
        self.timers = {timer.name: timer.due for timer in ticket.timers}
        self.questions = list(ticket.questions)
        self.approvals = list(ticket.approvals)
        self.effects = dict(ticket.effects)
        self.unread = list(ticket.unread)
        self.answering = ticket.answering
        self.recent = list(ticket.recent)
        self.seen = ticket.seen
        self.steps_made = ticket.steps_made
        self.outcome = ticket.outcome
        self.quarantined = ticket.quarantined
        self.experts_note = ticket.experts_note
        self.reopened = ticket.reopened
        self.helped = ticket.helped
        self.outputs: list[Output] = []
        self.events: list[Event] = []

    @property
    def id(self) -> str:
        return self.base.id

    # Plans and steps ---------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan | None:
        """The active plan."""
        return self.plans[-1] if self.plans else None

    def put_plan(self, plan: Plan) -> None:
        """Replace the plan of the same id."""
        self.plans = [plan if known.id == plan.id else known for known in self.plans]

    def plan_of(self, step: str) -> Plan | None:
        """The plan a step belongs to."""
        for plan in self.plans:
            for known in plan.steps:
                if known.id == step:
                    return plan
        return None

    def step(self, step: str | None) -> Step | None:
        for plan in self.plans:
            for known in plan.steps:
                if known.id == step:
                    return known
        return None

    def put_step(self, step: Step, **changes: Any) -> Step:
        """Replace a step with a changed copy. Only a step in flight has a task."""
        if changes.get("status", StepStatus.RUNNING) not in (StepStatus.RUNNING, StepStatus.ASSEMBLING):
            changes = {"task": None, "deadline": None, **changes}
        changed = step.changed(**changes) if changes else step
        for at, plan in enumerate(self.plans):
            for number, known in enumerate(plan.steps):
                if known.id == step.id:
                    self.plans[at] = plan.changed(steps=(*plan.steps[:number], changed, *plan.steps[number + 1 :]))
                    return changed
        return changed

    def flow(self, plan: Plan) -> Flow | None:
        return self.pack.flows.get(plan.procedure) if plan.procedure else None

    def node(self, step: Step) -> Node | None:
        """The flow's node a step comes from."""
        plan = self.plan_of(step.id)
        flow = self.flow(plan) if plan else None
        return flow.nodes.get(step.node) if flow and step.node else None

    # Facts -------------------------------------------------------------------------------------------------------

    def know(self, name: str, value: Json, origin: Origin, ref: str, sensitive: bool = False) -> None:
        """Remember a value and where it came from; one too large to keep is refused and said so."""
        short = isinstance(value, int | float | None) or (isinstance(value, str) and len(value) < MAX_FACT_BYTES // 8)
        if not short and len(canonical_json(value)) > MAX_FACT_BYTES:
            self.event("fact_too_large", name=name, text=f"more than {MAX_FACT_BYTES} bytes; not kept")
            return
        self.facts[name] = Fact.made(value=value, origin=origin, ref=ref, at=self.now, sensitive=sensitive)

    def known(self, name: str) -> bool:
        fact = self.facts.get(name)
        return fact is not None and fact.value is not None

    def scope(self, plan: Plan | None = None, **more: Any) -> dict[str, Any]:
        """Facts as expressions see them."""
        scope: dict[str, Any] = {name: fact.value for name, fact in self.facts.items()}
        scope["__visits__"] = plan.visits if plan else {}
        scope.update(more)
        return scope

    def shown(self, plan: Plan | None = None, **more: Any) -> dict[str, Any]:
        """Facts as customers and logs may see them."""
        scope = self.scope(plan, **more)
        scope.update({name: MASK for name, fact in self.facts.items() if fact.sensitive})
        return scope

    # Timers ------------------------------------------------------------------------------------------------------

    def arm(self, name: str, after_ms: int) -> None:
        self.timers[name] = self.now + after_ms

    def disarm(self, *names: str) -> None:
        for name in names:
            self.timers.pop(name, None)

    # Outputs -----------------------------------------------------------------------------------------------------

    def emit(self, topic: str, message: Message, key: str | None = None, kinds: str = "") -> None:
        """Publish a message once the decision is committed; its id is derived, so a recomputed one is the same."""
        self.outputs.append(
            Output.made(
                topic=topic,
                key=key or self.base.conversation,
                id=derive_id(self.id, self.version, len(self.outputs)),
                type=message.TYPE,
                body=message.to_json().decode(),
                kinds=kinds,
            )
        )

    def send(self, topic: str, task: Task, key: str) -> None:
        self.emit(topic, task, key)

    def event(self, kind: str, data: dict[str, Any] | None = None, **fields: Any) -> None:
        self.events.append(Event.made(kind=kind, data=data or {}, **fields))

    def step_event(self, kind: str, step: Step, plan: Plan, **fields: Any) -> None:
        """What happened to a step, and which sentence of the procedure made it happen."""
        about = {"effect": step.effect, **fields}
        self.event(
            kind,
            step=step.id,
            node=step.node,
            name=step.name,
            sentence=step.sentence,
            procedure=plan.procedure,
            **about,
        )

    def say(self, key: str, **values: Any) -> None:
        """Reply with a platform sentence."""
        self.reply(self.sentence(key, **values))

    def sentence(self, key: str, **values: Any) -> str:
        return fill(sentence(self.pack, key, self.language), self.shown(self.plan, **values)).strip()

    def render(self, texts: Texts, plan: Plan | None = None, **values: Any) -> str:
        """A pack's template in the ticket's language, filled with the facts."""
        return fill(self.pack.say(texts, self.language), self.shown(plan, **values)).strip()

    def reply(
        self,
        text: str,
        parts: tuple[ReplyPart, ...] = (),
        question: str | None = None,
        author: str = "bot",
        step: Step | None = None,
    ) -> None:
        """Publish a final reply. While a person owns the ticket, what the bot would say is withheld."""
        if author == "bot" and self.owner != "bot":
            self.event("reply_withheld", text=text)
            return
        text = without_foreign_links(text, self.pack.policies.links, MASK) if author == "bot" else text
        self.seq += 1
        base = self.base
        reply = Reply.made(
            id=derive_id("reply", self.id, self.version, self.turn, self.seq),
            tenant=base.tenant,
            channel=base.channel,
            thread=base.thread,
            conversation=base.conversation,
            ticket=self.id,
            turn=self.turn,
            seq=self.seq,
            author=author,
            parts=(ReplyText.made(text=text), *parts) if text else parts,
            question=question,
            answers=self.answering,
            language=self.language,
        )
        self.emit(CUSTOMER_REPLIES.name, reply)
        self.remember(author, text, step)
        plan = self.plan
        self.event(
            "reply_sent",
            text=text,
            name=question,
            sentence=step.sentence if step else None,
            procedure=plan.procedure if plan else None,
            data={"turn": self.turn, "citations": [p.passage for p in parts if p.kind == "citation"]},
        )

    def ask_expert(self, task: ExpertTask) -> None:
        self.emit(EXPERT_TASKS.name, task)

    def remember(self, who: str, text: str, step: Step | None = None) -> None:
        """Keep a line of the conversation, capped in number and length."""
        node = (step.node or "") if step else ""
        self.recent = [*self.recent, Line.made(who=who, text=text[:MAX_RECENT_TEXT], at=self.now, step=node)][
            -MAX_RECENT:
        ]

    # The end -----------------------------------------------------------------------------------------------------

    def close_question(self, question: Question) -> None:
        self.questions = [q for q in self.questions if q.id != question.id]
        if not self.questions:
            self.disarm("question")

    def seal(self) -> Decision:
        """The decision: the new ticket, and the outputs with the events last."""
        if self.events:
            base = self.base
            self.emit(
                TICKET_EVENTS.name,
                TicketEvents.made(
                    tenant=base.tenant,
                    conversation=base.conversation,
                    ticket=self.id,
                    version=self.version,
                    turn=self.turn,
                    at=self.now,
                    owner=self.owner,
                    status=self.status.value,
                    cause=self.cause,
                    pack=self.pack.name,
                    language=self.language,
                    opened_at=base.created_at,
                    spent=self.budget.spent,
                    notes=self.notes if self.notes is not base.notes else None,
                    events=tuple(self.events),
                ),
                kinds=",".join(event.kind for event in self.events),
            )
        return Decision(self._ticket(), tuple(self.outputs))

    def _timers(self) -> tuple[Timer, ...]:
        known = {timer.name: timer for timer in self.base.timers if self.timers.get(timer.name) == timer.due}
        return tuple(known.get(name) or Timer.made(name=name, due=due) for name, due in sorted(self.timers.items()))

    def _ticket(self) -> Ticket:
        return self.base.changed(
            version=self.version,
            now=self.now,
            inbox_offset=self.offset,
            owner=self.owner,
            turn=self.turn,
            seq=self.seq,
            status=self.status,
            language=self.language,
            route=self.route,
            plans=tuple(self.plans),
            facts=self.facts,
            budget=self.budget,
            notes=self.notes,
            timers=self._timers(),
            questions=tuple(self.questions),
            approvals=tuple(self.approvals),
            effects=self.effects,
            unread=tuple(self.unread),
            answering=self.answering,
            recent=tuple(self.recent),
            seen=self.seen,
            steps_made=self.steps_made,
            outcome=self.outcome,
            quarantined=self.quarantined,
            experts_note=self.experts_note,
            reopened=self.reopened,
            helped=self.helped,
            pack_hash=self.pack.hash,
        )


def is_final(status: Status) -> bool:
    return status is Status.CLOSED
