"""Long runs: a job is polled until it ends; each change is told to the ticket and shown to the customer as a card."""

from __future__ import annotations

import logging
from typing import Any, Literal

from services.executor import answers
from services.executor.tools import Came, at_path
from services.executor.world import World
from tandem.bus.base import Outgoing
from tandem.contracts.customer import CardPart, Reply
from tandem.contracts.inbox import StepProgress
from tandem.contracts.tasks import ExecuteTool, ToolResult
from tandem.contracts.topics import CUSTOMER_REPLIES, TICKET_INBOX
from tandem.contracts.values import Json, derive_id
from tandem.errors import BusUnavailable, Refused
from tandem.packs.model import Pack, Progress, Tool
from tandem.sending import about, sent_by
from tandem.text import one_line

State = Literal["running", "done", "failed"]

logger = logging.getLogger(__name__)

MAX_LINES = 20
TOLD_EVERY_S = 1.0
"""The ticket is told of a running job no more often than this; the card changes whenever the job does."""


async def follow(world: World, task: ExecuteTool, tool: Tool, pack: Pack, job: Json) -> ToolResult:
    """Poll until the job ends or the task's deadline passes. A poll that fails is made again."""
    progress = tool.progress
    poll = pack.tools.get(progress.poll) if progress else None
    if progress is None or poll is None or poll.writes:
        return answers.unknown(task, "poll-missing", f"{tool.name} names no read that asks for its job")
    try:
        call = world.tools.prepare(poll, {progress.argument: job}, task.effect)
    except Refused as error:
        return answers.unknown(task, error.reason, error.detail)
    card = Card(world, task, tool, pack)
    while world.clock.now() < task.deadline:
        outcome = await call.send(lambda: None)
        if outcome.came is Came.DONE:
            state = _state(outcome.output, progress)
            await card.show(state, at_path(outcome.output, progress.percent), at_path(outcome.output, progress.line))
            if state != "running":
                return _end(task, state, outcome.output, progress)
        await world.clock.sleep(progress.every_ms / 1000)
    if tool.writes:
        return answers.unknown(task, "still-running", "the run had not ended when its time was over")
    return ToolResult(effect=task.effect, status="failed", reason="deadline", error="the run took too long")


def _state(answer: dict[str, Json], progress: Progress) -> State:
    told = at_path(answer, progress.state)
    return told if told in ("done", "failed") else "running"


def _end(task: ExecuteTool, state: State, answer: dict[str, Json], progress: Progress) -> ToolResult:
    output: Any = at_path(answer, progress.output) if progress.output else answer
    output = output if isinstance(output, dict) else {"value": output}
    if state == "done":
        return ToolResult(effect=task.effect, status="done", output=output)
    line = one_line(at_path(answer, progress.line) or "the run failed")
    return ToolResult(effect=task.effect, status="failed", reason="job-failed", error=line, output=output)


class Card:
    """A run's card: one stable id, so that each message replaces the one before, after a restart too."""

    def __init__(self, world: World, task: ExecuteTool, tool: Tool, pack: Pack) -> None:
        self._world = world
        self._task = task
        self._tool = tool
        self._title = pack.say(pack.texts.get(f"progress.{tool.name}", {}), task.language) or tool.description
        self._id = derive_id("card", task.ticket, task.step)
        self._shown: tuple[State, int | None, str] | None = None
        self._lines: list[str] = []
        self._seq = 0
        self._told_at: float | None = None

    async def show(self, state: State, percent: object, line: object) -> None:
        """Tell of a change. What cannot be told now is dropped: the next change or the result tells more."""
        number = min(100, max(0, round(percent))) if isinstance(percent, int | float) else None
        text = one_line(line) if line else ""
        if (state, number, text) == self._shown:
            return
        self._shown = (state, number, text)
        if text and text not in self._lines:
            self._lines = [*self._lines, text][-MAX_LINES:]
        messages = [self._reply(state, number)] if self._task.channel else []
        if self._due(state):
            messages.append(self._progress(state, number, text))
        try:
            await self._world.bus.publish(messages)
        except BusUnavailable:
            logger.warning("progress not shown", extra={"tool": self._tool.name, "effect": self._task.effect})

    def _due(self, state: State) -> bool:
        now = self._world.clock.boot()
        if state == "running" and self._told_at is not None and now - self._told_at < TOLD_EVERY_S:
            return False
        self._told_at = now
        return True

    def _progress(self, state: State, percent: int | None, line: str) -> Outgoing:
        task = self._task
        message = StepProgress(**about(task, "executor"), state=state, percent=percent, line=line)
        return self._send(TICKET_INBOX.name, message, derive_id(task.id, "progress", state, percent, line))

    def _reply(self, state: State, percent: int | None) -> Outgoing:
        task = self._task
        self._seq += 1
        share = "" if percent is None else f" {percent} %"
        text = f"{self._title}:{share} {self._lines[-1] if self._lines else state}".replace(":  ", ": ")
        card = CardPart(
            card=self._id, title=self._title, state=state, percent=percent, log=tuple(self._lines), text=text
        )
        reply = Reply(
            id=derive_id(self._id, state, percent, *self._lines),
            tenant=task.tenant,
            channel=task.channel,
            thread=task.thread,
            conversation=task.conversation,
            ticket=task.ticket,
            turn=task.turn,
            seq=self._seq,
            state="draft",
            parts=(card,),
            language=task.language,
        )
        return self._send(CUSTOMER_REPLIES.name, reply, reply.id)

    def _send(self, topic: str, message: StepProgress | Reply, id_: str) -> Outgoing:
        return sent_by("executor", topic, message, id_, self._world.clock.now())
