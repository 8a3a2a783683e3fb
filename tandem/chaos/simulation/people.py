"""Customers and experts of the simulation. They know only what crosses the platform's edges."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tandem.chaos.simulation.broker import Broker
from tandem.chaos.simulation.world import World
from tandem.client import Channel
from tandem.contracts.customer import Reply
from tandem.contracts.events import ExpertTask
from tandem.contracts.inbox import Approve, ExpertReply, GiveBack, InboxMessage, Reject, ResolveUnknown, TakeOver
from tandem.contracts.message import read_body, read_envelope
from tandem.contracts.topics import EXPERT_TASKS, TICKET_INBOX
from tandem.contracts.values import conversation_id
from tandem.sending import sent_by

Wish = Literal["reset", "pay", "look", "tidy", "order", "ask"]
PATIENCE_S = 1_500.0
TENANT = "acme"
CHANNEL = "cli"
SETTLED = "I have settled it."
KEPT = "thirty days"
"""What the knowledge says."""


@dataclass
class Story:
    """One customer's matter and how it came out."""

    number: int
    wish: Wish
    consents: bool = True
    told: list[Reply] = field(default_factory=list)
    state: Literal["waiting", "done", "declined", "settled", "lost"] = "waiting"
    missed: str = ""  # what the customer waited for in vain

    @property
    def account(self) -> str:
        return f"A{self.number}"

    @property
    def thread(self) -> str:
        return f"thread-{self.number}"

    @property
    def conversation(self) -> str:
        return conversation_id(TENANT, CHANNEL, self.thread)


class Customers:
    """Everybody who writes to the platform, and what they are told, as an adapter's reader shows it."""

    def __init__(self, channel: Channel, random: Random, patience_s: float = PATIENCE_S) -> None:
        self._channel = channel
        self._random = random
        self._patience_s = patience_s
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.stories: list[Story] = []

    async def read(self) -> None:
        """Show replies, until cancelled."""
        async for incoming in self._channel.replies():
            async with incoming:
                for story in self.stories:
                    if story.thread == incoming.thread:
                        story.told.append(incoming.reply)
                        self._news[story.thread].set()

    async def live(self, story: Story) -> None:
        """Ask, answer what is asked, and wait for the end of the matter."""
        self.stories.append(story)
        await asyncio.sleep(self._random.uniform(0, 60))
        if story.wish == "ask":
            await self._say(story, "how long are snapshots kept?")
        elif story.wish == "order":
            await self._say(story, f"Can you help me with {story.account}? It is a problem, can you do something?")
        elif self._random.random() < 0.3:
            await self._say(story, f"please {story.wish}")
            await self._say(story, story.account, "1b") if not await self._hears(story, "Which account") else None
            if not any(story.account in text for text in self._said(story)):
                await self._say(story, f"it is {story.account}", "1c")
        else:
            await self._say(story, f"please {story.wish} {story.account}")
        if story.wish == "reset" and await self._hears(story, r"Reset A\d+\?|A colleague|taken over", "consent"):
            await self._say(story, "yes" if story.consents else "no", "2")
        await self._hears(story, rf"is done|left alone|{KEPT}|{SETTLED}", "the end")
        last = " ".join(self._said(story))
        story.state = (
            "done"
            if "is done" in last or KEPT in last
            else "settled"
            if SETTLED in last
            else "declined"
            if "left alone" in last
            else "lost"
        )

    @staticmethod
    def _said(story: Story) -> list[str]:
        return [reply.text() for reply in story.told]

    async def _say(self, story: Story, text: str, number: str = "1") -> None:
        id = f"{story.thread}-{number}"
        await self._channel.submit(story.thread, text, id=id)
        if self._random.random() < 0.2:
            await asyncio.sleep(self._random.uniform(0, 5))
            await self._channel.submit(story.thread, text, id=id)

    async def _hears(self, story: Story, pattern: str, missed: str = "") -> bool:
        """Wait until such a reply was shown; what nobody says within the customer's patience was missed."""
        try:
            async with asyncio.timeout(self._patience_s if missed else 20.0):
                while not any(re.search(pattern, text) for text in self._said(story)):
                    news = self._news[story.thread]
                    news.clear()
                    await news.wait()
        except TimeoutError:
            story.missed = missed
            return False
        return True


class Experts:
    """They answer every task, some time later: they approve or reject, settle what is handed over, find out what happened."""

    def __init__(self, broker: Broker, world: World, random: Random, back_at: float = 0.0) -> None:
        """`back_at`: virtual time before which nobody decides on an approval."""
        self._broker = broker
        self._world = world
        self._random = random
        self._back_at = back_at
        self._seen: set[str] = set()
        self._acts = 0
        self.rejected: set[str] = set()  # tickets

    async def work(self) -> None:
        """Until cancelled."""
        positions: dict[int, int] = defaultdict(int)
        while True:
            await asyncio.sleep(1.0)
            for partition in range(self._broker.partitions(EXPERT_TASKS.name)):
                async for batch in self._broker.read(EXPERT_TASKS.name, partition, positions[partition]):
                    for record in batch:
                        positions[partition] = record.offset + 1
                        task = read_body(read_envelope(record.headers).type, record.value)
                        if isinstance(task, ExpertTask) and task.state == "open":
                            await self._take(task)

    async def _take(self, task: ExpertTask) -> None:
        key = f"{task.id} {task.created_at}" if task.kind in ("handover", "message") else task.id
        if key in self._seen:
            return
        self._seen.add(key)
        await asyncio.sleep(self._random.uniform(0.2, 6))
        match task.kind:
            case "approve":
                await self._decide(task)
            case "unknown_outcome":
                happened = self._world.happened(task.effect or "")
                await self._act(
                    ResolveUnknown,
                    task,
                    approval=task.id,
                    effect=task.effect or "",
                    happened=happened,
                    output={"ok": True},
                )
            case "handover" | "message":
                await self._act(TakeOver, task, reason="it was handed to me")
                await asyncio.sleep(self._random.uniform(0.5, 4))
                await self._act(ExpertReply, task, text=SETTLED)
                await self._act(GiveBack, task, reason="settled", resolved=True)

    async def _decide(self, task: ExpertTask) -> None:
        about = {"approval": task.id, "effect": task.effect or ""}
        await asyncio.sleep(max(0.0, self._back_at - asyncio.get_running_loop().time()))
        if self._random.random() < 0.2:
            self.rejected.add(task.ticket)
            await self._act(Reject, task, **about)
        else:
            await self._act(Approve, task, **about, arguments_hash=task.arguments_hash or "")

    async def _act(self, kind: type[InboxMessage], task: ExpertTask, **fields: object) -> None:
        self._acts += 1
        action = kind.model_validate(
            {
                "id": f"action-{self._acts}",
                "tenant": task.tenant,
                "conversation": task.conversation,
                "ticket": task.ticket,
                "expert": "ann",
                **fields,
            }
        )
        sent = sent_by("console", TICKET_INBOX.name, action, f"action-{self._acts}", task.created_at)
        await self._broker.publish([sent] * (2 if self._random.random() < 0.2 else 1))
