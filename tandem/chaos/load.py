"""Customers and experts: they write, wait for what a script expects, and remember what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tandem.chaos.edges import Watch
from tandem.chaos.plan import ScriptName, Size
from tandem.chaos.scripts import HANDED_OVER, SCRIPTS, Turn, words_of
from tandem.client import Channel, Tandem
from tandem.contracts.events import ExpertTask
from tandem.contracts.inbox import Approve, ExpertAction, ExpertReply, GiveBack, TakeOver
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import Millis, conversation_id
from tandem.errors import RetryableError
from tandem.sending import sent_by
from tandem.wiring import Wiring

TENANT = "acme"
CHANNEL = "cli"
AGAIN_S = 0.2
REPEATS = 0.1
"""Share of messages that the adapter hands in twice."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Wait:
    """From a word of the customer's, or an expert's, to the reply that answered it."""

    since: Millis
    until: Millis | None = None


@dataclass(slots=True)
class Story:
    """One customer's matter, as seen from outside."""

    number: int
    script: ScriptName
    conversation: str
    began: Millis
    ended: Millis | None = None
    state: Literal["open", "done", "handed_over", "silent"] = "open"  # silent: no reply within the patience
    waits: list[Wait] = field(default_factory=list)
    missed: str = ""  # what was waited for in vain


class Crowd:
    """Serves `size.at_once` customers at a time, until `enough` is set and at least `size.tickets` have come."""

    def __init__(self, wiring: Wiring, watch: Watch, scripts: Sequence[ScriptName], size: Size, seed: int) -> None:
        self.stories: list[Story] = []
        self.enough = asyncio.Event()
        self.gate = asyncio.Event()  # cleared, nobody decides on approvals and no customer comes back
        self.gate.set()
        self.held = 0  # how many wait for it
        self._wiring = wiring
        self._watch = watch
        self._scripts = scripts
        self._size = size
        self._random = Random(seed)
        self._first = self._random.randrange(1 << 60)

    async def run(self, first_number: int, at_most: int) -> None:
        """`first_number`: the first customer nobody has been yet; `at_most`: how many there are."""
        numbers = iter(range(first_number, first_number + at_most))
        step_s = self._size.ramp_s / self._size.at_once
        await asyncio.gather(*(self._come(numbers, place * step_s) for place in range(self._size.at_once)))

    @property
    def open(self) -> list[Story]:
        return [story for story in self.stories if story.state == "open"]

    async def _come(self, numbers: Iterator[int], after_s: float) -> None:
        await asyncio.sleep(after_s)
        for number in numbers:
            if self.enough.is_set() and len(self.stories) >= self._size.tickets:
                return
            await self._play(number, self._scripts[number % len(self._scripts)])

    async def _play(self, number: int, name: ScriptName) -> None:
        thread = f"{self._first:x}-{number}"
        conversation = conversation_id(TENANT, CHANNEL, thread)
        story = Story(number, name, conversation, self._wiring.clock.now())
        self.stories.append(story)
        person = _Person(self._wiring, self._watch, story, thread, self._random, self._pass_gate)
        try:
            for turn in SCRIPTS[name].turns:
                if not await self._patiently(person, turn):
                    break
            else:
                story.state = "done"
        finally:
            story.ended = self._wiring.clock.now()
            self._watch.forget(conversation)

    async def _pass_gate(self, share: float) -> None:
        """Wait for it, and then for that share of the ramp."""
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        await asyncio.sleep(share * self._size.ramp_s)

    async def _patiently(self, person: _Person, turn: Turn) -> bool:
        """Whether the story goes on. Nobody gives up while faults are still being done to the platform."""
        doing = asyncio.create_task(person.does(turn))
        try:
            while not doing.done():
                whole = self.enough.is_set()
                await asyncio.wait([doing], timeout=self._size.patience_s)
                if whole and not doing.done():
                    person.gives_up(turn)
                    return False
            return doing.result()
        finally:
            doing.cancel()


class _Person:
    """The customer of one story, and the expert who may come in."""

    def __init__(
        self,
        wiring: Wiring,
        watch: Watch,
        story: Story,
        thread: str,
        random: Random,
        gate: Callable[[float], Awaitable[None]],
    ) -> None:
        self._wiring = wiring
        self._watch = watch
        self._story = story
        self._thread = thread
        self._random = random
        self._gate = gate
        self._channel = Channel(CHANNEL, tenant=TENANT, tandem=Tandem(wiring))
        self._read = 0  # replies that earlier turns have used up

    def gives_up(self, turn: Turn) -> None:
        self._story.state, self._story.missed = "silent", turn.expects

    async def does(self, turn: Turn) -> bool:
        """Return once it was answered: whether the story goes on."""
        if turn.comes_back:
            await self._gate(self._random.random())
        wait = Wait(self._wiring.clock.now())
        if turn.says or turn.expert:
            self._story.waits.append(wait)
        if turn.expert:
            await self._expert(turn.expert)
        elif turn.says:
            await self._say(turn.says.format(**words_of(self._story.number)))
        wait.until = await self._reply(turn.expects) if turn.expects else wait.since
        return self._story.state == "open"

    async def _say(self, text: str) -> None:
        """Hand it in until the bus has it, as an adapter does; and now and then once more."""
        message = uuid.UUID(int=self._random.getrandbits(128)).hex
        times = 2 if self._random.random() < REPEATS else 1
        while times:
            try:
                await self._channel.submit(self._thread, text, id=message)
                times -= 1
            except RetryableError:
                await asyncio.sleep(AGAIN_S)

    async def _reply(self, pattern: str) -> Millis:
        """When a reply came that matches; a hand-over to a person ends the story."""
        news = self._watch.news(self._story.conversation)
        while True:
            news.clear()
            told = self._watch.edges.told.get(self._story.conversation, [])
            for place, one in enumerate(told[self._read :], self._read):
                text = one.reply.text()
                if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
                    self._read = place + 1
                    return one.at
                if re.search(HANDED_OVER, text, re.IGNORECASE):
                    self._story.state = "handed_over"
                    return one.at
            await news.wait()

    async def _expert(self, what: Literal["approve", "take_over", "reply", "give_back"]) -> None:
        action = await self._action(what)
        sent = sent_by("console", TICKET_INBOX.name, action, action.id, self._wiring.clock.now())
        while True:
            with contextlib.suppress(RetryableError):
                await self._wiring.bus().publish([sent])
                return
            await asyncio.sleep(AGAIN_S)

    async def _action(self, what: Literal["approve", "take_over", "reply", "give_back"]) -> ExpertAction:
        about: dict[str, Any] = {
            "id": uuid.UUID(int=self._random.getrandbits(128)).hex,
            "tenant": TENANT,
            "conversation": self._story.conversation,
            "expert": "ann",
        }
        if what == "approve":
            task = await self._task()
            await self._gate(0.0)
            bound = {"effect": task.effect or "", "arguments_hash": task.arguments_hash or ""}
            return Approve(**about, ticket=task.ticket, approval=task.id, **bound)
        ticket = self._watch.edges.told[self._story.conversation][-1].reply.ticket
        match what:
            case "take_over":
                return TakeOver(**about, ticket=ticket, reason="a plan")
            case "reply":
                return ExpertReply(**about, ticket=ticket, text="I have done it myself.")
            case "give_back":
                return GiveBack(**about, ticket=ticket, resolved=True)

    async def _task(self) -> ExpertTask:
        """What the expert's queue shows of this conversation, once it does."""
        news = self._watch.news(self._story.conversation)
        while True:
            news.clear()
            for task in self._watch.edges.tasks.values():
                if task.conversation == self._story.conversation and task.state == "open" and task.kind == "approve":
                    return task
            await news.wait()
