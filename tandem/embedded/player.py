"""Plays a pack's conversations as customers and experts of the running platform."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tandem.client import Channel, Tandem
from tandem.contracts.customer import CardActionPart
from tandem.contracts.inbox import Approve, ExpertAction, ExpertReply, GiveBack, Reject, TakeOver
from tandem.contracts.topics import TICKET_INBOX
from tandem.contracts.values import conversation_id
from tandem.embedded.case import Case, Onlooker
from tandem.packs.scenarios import Scenario, Turn
from tandem.sending import sent_by
from tandem.wiring import Wiring

TURN_S = 30.0
"""How long a turn may take until the conversation is at rest again."""

EXPERT = "ann"


@dataclass
class Played:
    """A conversation that was played, and what was wrong in it."""

    scenario: Scenario
    case: Case
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Player:
    """A channel's customers, and an expert at the desk."""

    def __init__(self, wiring: Wiring, onlooker: Onlooker, channel: str, tenant: str) -> None:
        self._wiring = wiring
        self._onlooker = onlooker
        self._channel = Channel(channel, tenant=tenant, tandem=Tandem(wiring))
        self._threads: dict[str, str] = {}

    def begin(self, scenario: Scenario) -> Played:
        """A conversation in a thread of its own."""
        thread = f"{scenario.name}-{uuid.uuid4().hex[:8]}"
        conversation = conversation_id(self._channel.tenant, self._channel.name, thread)
        played = Played(scenario, self._onlooker.case(conversation))
        self._threads[conversation] = thread
        return played

    async def play(self, played: Played) -> None:
        """Play every turn; stops at the first one that is not answered."""
        case = played.case
        case.started = time.monotonic()
        for number, turn in enumerate(played.scenario.turns, 1):
            before = len(case.replies)
            seen = _Seen(case)
            await self._act(case, turn)
            if not await case.until(partial(_settled, turn=turn, seen=seen), TURN_S):
                where = case.status or "no ticket"
                played.problems.append(f"turn {number}: no {turn.wait_for} within {TURN_S:.0f} s ({where})")
                break
            said = [reply.text() for reply in case.replies[before:]]
            played.problems += [f"turn {number}: {text}" for text in unmatched(turn.replies, said)]
        case.ended = time.monotonic()
        played.seconds = case.ended - case.started

    async def _act(self, case: Case, turn: Turn) -> None:
        if turn.expert:
            await self._send(self._expert_action(case, turn))
        elif turn.press:
            asked = case.questions
            older = turn.question == "older" and len(asked) > 1
            part = CardActionPart(question=asked[-2 if older else -1] if asked else None, action=turn.press)
            await self._say(case, "", part)
        else:
            await asyncio.gather(*(self._say(case, text) for text in turn.burst or (turn.say or "",)))

    async def _say(self, case: Case, text: str, *parts: CardActionPart) -> None:
        message = f"m{len(case.said) + 1}-{uuid.uuid4().hex[:6]}"
        case.said.append((message, text or f"[{parts[0].action}]"))
        await self._channel.submit(self._threads[case.conversation], text, id=message, parts=parts)

    def _expert_action(self, case: Case, turn: Turn) -> ExpertAction:
        about: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "tenant": self._channel.tenant,
            "conversation": case.conversation,
            "ticket": case.ticket,
            "expert": EXPERT,
        }
        if turn.expert == "take":
            return TakeOver(**about, reason=turn.reason)
        if turn.expert == "reply":
            return ExpertReply(**about, text=turn.text)
        if turn.expert == "give_back":
            return GiveBack(**about, reason=turn.reason, resolved=turn.resolved)
        task = case.open_approvals[-1] if case.open_approvals else None
        approval = task.id if task else "none"
        if turn.expert == "reject":
            return Reject(**about, approval=approval, note=turn.reason)
        effect, hash_ = (task.effect or "", task.arguments_hash or "") if task else ("", "")
        return Approve(**about, approval=approval, effect=effect, arguments_hash=hash_, note=turn.reason)

    async def _send(self, action: ExpertAction) -> None:
        now = self._wiring.clock.now()
        await self._wiring.bus().publish([sent_by("console", TICKET_INBOX.name, action, action.id, now)])


class _Seen:
    """What a case looked like before a turn."""

    def __init__(self, case: Case) -> None:
        self.version = case.version
        self.replies = len(case.replies)
        self.questions = len(case.questions)
        self.cards = len(case.cards)


def _settled(case: Case, turn: Turn, seen: _Seen) -> bool:
    if case.version == seen.version:
        return False
    match turn.wait_for:
        case "rest":
            return case.at_rest
        case "question":
            return len(case.questions) > seen.questions
        case "reply":
            return len(case.replies) > seen.replies
        case "progress":
            return len(case.cards) > seen.cards
        case "approval":
            return bool(case.open_approvals)
        case "handover":
            return case.status == "handed_over" and case.at_rest


def unmatched(patterns: tuple[str, ...], texts: list[str]) -> list[str]:
    """Patterns that no text matches, in order."""
    missing: list[str] = []
    position = 0
    for pattern in patterns:
        for at in range(position, len(texts)):
            if re.search(pattern, texts[at], re.IGNORECASE | re.DOTALL):
                position = at
                break
        else:
            said = " | ".join(texts[position:])[:300] or "nothing"
            missing.append(f"no reply matches {pattern!r}; said: {said}")
    return missing
