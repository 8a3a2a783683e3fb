"""One conversation of a rehearsal: the planner's `decide`, function_agent's assembly and the executor's policies, for real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.executor.policies import History, Proof, is_proof, permit
from services.function_agent.assembly import assemble
from services.planner.decide import decide
from tandem.contracts.customer import CardActionPart, CustomerMessage, TextPart
from tandem.contracts.events import Event, TicketEvents
from tandem.contracts.inbox import AnyInboxMessage, Approve, Reject, RoutedMessage, StepCompleted, StepFailed
from tandem.contracts.message import read_body
from tandem.contracts.tasks import (
    Answer,
    AnswerQuestion,
    AssembleCall,
    ExecuteTool,
    Interpret,
    Interpretation,
    PlanProposal,
    ProgramOutput,
    RunProgram,
    Task,
    ToolResult,
)
from tandem.contracts.ticket import Cost, Question, Route, Status, Step, StepStatus, Ticket, TypedValue
from tandem.contracts.values import Json, Value, conversation_id, derive_id
from tandem.embedded.rehearsal.customers import Script
from tandem.packs.compiling.answers import output_of
from tandem.packs.examples import Outcome, outcomes, schema_value
from tandem.packs.model import Flow, Node, Pack

MAX_TURNS = 200
START_MS = 1_700_000_000_000
WRONG = ("quarantined", "refused:", "unknown_", "flow_changed", "budget", "no_call:", "missing_parameters:", "no_plan")
"""Reasons of handovers that no procedure means."""


@dataclass(frozen=True, slots=True)
class Write:
    """A call that changes something, and on what evidence."""

    tool: str
    arguments: dict[str, Json]
    sentence: int | None
    identity: bool
    authorisation: bool
    consent: bool
    approval: bool
    refused: str = ""  # the policy's code


@dataclass(slots=True)
class PlayedPath:
    """What came of one conversation."""

    name: str
    outcome: str = ""
    reason: str = ""
    nodes: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # the conversation, where a model played the customer
    wrong: str = ""  # empty: it ended as a procedure may

    def steps(self, flow: Flow) -> list[tuple[str, int]]:
        """Nodes in order, each with its sentence."""
        return [(name, flow.nodes[name].sentence) for name in self.nodes if name in flow.nodes]

    @property
    def loops(self) -> dict[str, int]:
        """Nodes entered more than once."""
        return {name: count for name in dict.fromkeys(self.nodes) if (count := self.nodes.count(name)) > 1}


class Play:
    """Plays until the ticket is settled. Nothing of it waits, and nothing leaves the process."""

    def __init__(self, pack: Pack, flow: Flow, script: Script, language: str = "") -> None:
        self._pack = pack.model_copy(update={"timers": pack.timers.model_copy(update={"burst": 0})})
        self._flow = flow
        self._script = script
        self._language = language or pack.languages[0]
        self._conversation = conversation_id("rehearsal", "rehearsal", flow.procedure)
        self._common: dict[str, Any] = {"tenant": "rehearsal", "conversation": self._conversation}
        self._offset = -1
        self._said = 0
        self._ticket: Ticket | None = None
        self._tasks: dict[str, Task] = {}
        self._proofs: dict[str, Proof] = {}
        self._events: list[Event] = []
        self.path = PlayedPath("")

    def run(self) -> PlayedPath:
        intent = self._pack.intents[self._flow.intent]
        examples = intent.examples.get(self._language) or [intent.description]
        self._say(
            examples[0], Route(intent=intent.name, confidence=1.0, scenario=intent.scenario, language=self._language)
        )
        for _ in range(MAX_TURNS):
            if self._ticket is None or self._ticket.status in (Status.RESOLVED, Status.HANDED_OVER, Status.CLOSED):
                break
            if not self._go_on(self._ticket):
                self.path.wrong = "nobody is asked and nothing is under way"
                break
        else:
            self.path.wrong = f"it has not ended after {MAX_TURNS} turns"
        return self._ended()

    def _go_on(self, ticket: Ticket) -> bool:
        """Answer what the ticket waits for; False if it waits for nothing."""
        steps = {step.task: step for plan in ticket.plans for step in plan.steps if step.task}
        running = (StepStatus.RUNNING, StepStatus.ASSEMBLING)
        task = next((t for id, t in self._tasks.items() if id in steps and steps[id].status in running), None)
        if task is not None:
            self._answer_task(task, steps[task.id])
        elif ticket.questions:
            self._answer(ticket.questions[-1], ticket)
        elif ticket.approvals:
            self._decide_approval(ticket)
        else:
            return False
        return True

    # The customer and the expert ---------------------------------------------------------------------------------

    def _say(self, text: str, route: Route, *values: TypedValue, press: tuple[str, str] | None = None) -> None:
        self._said += 1
        part = CardActionPart(question=press[0], action=press[1]) if press else TextPart(text=text)
        message = CustomerMessage(
            id=f"m{self._said}",
            tenant="rehearsal",
            channel="rehearsal",
            thread="t",
            conversation=self._conversation,
            parts=(part,),
            sent_at=self._now + 5,
        )
        routed = RoutedMessage(
            **self._common,
            id=derive_id("rehearsal", message.id),
            message=message,
            route=route,
            values=values,
            pack=self._pack.name,
            pack_hash=self._pack.hash,
        )
        self._feed(routed)

    def _answer(self, question: Question, ticket: Ticket) -> None:
        node = self._node_of(ticket, question.step)
        flow_node = self._flow.nodes.get(node)
        slots = self._script.hear(question, bool(flow_node and flow_node.any_of), self.path.replies)
        if question.kind == "slots":
            self._give(slots, node)
        elif question.choices:
            self._press(question, self._script.choice(node, question.choices))
        else:
            self._press(question, "yes" if self._script.yes(node, question.kind) else "no")

    def _give(self, slots: Sequence[str], node: str) -> None:
        given = {slot: self._script.value(node, slot) for slot in slots}
        values = [
            TypedValue(slot=slot, value=value, text=str(value), sensitive=self._pack.slots[slot].sensitive)
            for slot, value in given.items()
            if value is not None and slot in self._pack.slots
        ]
        if not values:
            values = [TypedValue(slot="dont_know", value=True, text="I do not know")]
        self._say(", ".join(value.text for value in values), Route(language=self._language), *values)

    def _press(self, question: Question, action: str) -> None:
        self._say("", Route(language=self._language), press=(question.id, action))

    def _decide_approval(self, ticket: Ticket) -> None:
        approval = ticket.approvals[-1]
        common = {**self._common, "ticket": ticket.id, "expert": "expert", "id": f"decision-{self._offset}"}
        if self._script.yes(self._node_of(ticket, approval.step), "approve"):
            named = {"effect": approval.effect, "arguments_hash": approval.arguments_hash}
            self._feed(Approve(**common, approval=approval.id, **named))
        else:
            self._feed(Reject(**common, approval=approval.id))

    # The agents --------------------------------------------------------------------------------------------------

    def _answer_task(self, task: Task, step: Step) -> None:
        match task:
            case ExecuteTool():
                self._execute(task, step)
            case AssembleCall():
                self._complete(task, assemble(task, self._pack, self._pack.tools[task.tools[0]]))
            case RunProgram():
                program = self._pack.programs[task.program]
                outcome = self._outcome(step, task.program, schema_value(program.output))
                if outcome.status == "failed":
                    self._fail(task)
                else:
                    self._complete(task, ProgramOutput(output=outcome.output))
            case AnswerQuestion():
                found = self._script.yes(step.node or step.name, "knowledge")
                self._complete(
                    task, Answer(text="From the knowledge." if found else "", supported=found, confidence=1.0)
                )
            case Interpret():
                self._complete(task, Interpretation(kind="unsure"))
            case _:
                self._complete(task, PlanProposal(reason="no model in a rehearsal"))

    def _execute(self, task: ExecuteTool, step: Step) -> None:
        tool = self._pack.tools[task.tool]
        decision = permit(task, tool, self._pack, History(proofs=self._proofs))
        if tool.writes:
            self._note(task, "" if decision.permitted else decision.reason)
        if not decision.permitted:
            self._complete(task, ToolResult(effect=task.effect, status="refused", reason=decision.reason))
            return
        base = dict(tool.examples[0]) if tool.examples else schema_value(output_of(self._pack, tool))
        outcome = self._outcome(step, task.tool, base)
        if outcome.status == "done" and is_proof(tool, self._pack):
            self._proofs[task.step] = Proof(task.tool, outcome.output)
        result = ToolResult(effect=task.effect, status=outcome.status, output=outcome.output, evidence="example")
        self._complete(task, result)

    def _note(self, task: ExecuteTool, refused: str) -> None:
        seen = task.authority
        write = Write(
            tool=task.tool,
            arguments=task.arguments,
            sentence=seen.sentence,
            identity=bool(seen.identity),
            authorisation=bool(seen.authorisation),
            consent=bool(seen.consent),
            approval=bool(seen.approval),
            refused=refused,
        )
        self.path.writes.append(write)

    def _outcome(self, step: Step, name: str, base: Json) -> Outcome:
        node = self._flow.nodes.get(step.node or "") or Node(id=name, kind="tool", sentence=0, tool=name)
        facts = {key: fact.value for key, fact in self._ticket.facts.items()} if self._ticket else {}
        options = outcomes(node, base if isinstance(base, dict) else {}, facts)
        return self._script.outcome(node.id, name, options)

    def _complete(self, task: Task, output: Value) -> None:
        kind, body = type(output).__name__, output.model_dump(mode="json")
        self._feed(StepCompleted(**self._reference(task), output_type=kind, output=body, cost=Cost(calls=1)))

    def _fail(self, task: Task) -> None:
        self._feed(StepFailed(**self._reference(task), error="failed", reason="failed", retryable=False))

    def _reference(self, task: Task) -> dict[str, Any]:
        named = {"ticket": task.ticket, "task": task.id, "step": task.step, "attempt": task.attempt}
        return {**self._common, **named, "service": "rehearsal"}

    # The ticket --------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return START_MS + self._offset * 1_000

    def _feed(self, message: AnyInboxMessage) -> None:
        self._offset += 1
        decision = decide(self._ticket, message, self._now, self._pack, self._offset)
        self._ticket = decision.ticket or self._ticket
        for output in decision.outputs:
            body = read_body(output.type, output.body.encode())
            if isinstance(body, Task):
                self._tasks[body.id] = body
            elif isinstance(body, TicketEvents):
                self._events += body.events
            elif output.topic.startswith("customer.replies"):
                self.path.replies.append(body.text())  # type: ignore[attr-defined]

    def _node_of(self, ticket: Ticket, step: str | None) -> str:
        found = (known for plan in ticket.plans for known in plan.steps if known.id == step)
        return next((known.node or known.name for known in found), "")

    def _ended(self) -> PlayedPath:
        ticket, path = self._ticket, self.path
        finished = [event for event in self._events if event.kind == "plan_finished"]
        for event in finished:
            nodes = event.data.get("nodes")
            path.nodes += [str(name) for name in nodes] if isinstance(nodes, list) else []
        if ticket is not None:
            path.nodes += [step.node for plan in ticket.plans for step in plan.steps if step.node]
            path.outcome, path.reason = ticket.status.value, ticket.outcome or ""
        if path.reason.startswith(WRONG):
            path.wrong = f"handed over because {path.reason}"
        return path
