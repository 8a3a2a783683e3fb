"""The judge: reads what crossed the platform's edges and the business system's own record, and asks the platform nothing."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from tandem.chaos.edges import Edges, Told
from tandem.chaos.load import Story, Wait
from tandem.chaos.scripts import GIVEN_BACK, REMINDED, SCRIPTS, TAKEN_OVER, words_of
from tandem.contracts.ticket import Cost
from tandem.contracts.values import Millis

Effect = Mapping[str, Any]
"""A row of the business system's record: `operation`, `request`."""

REPEATS_ITSELF: Final = frozenset({"vague", "takeover", "silent", "plan"})
"""Scripts in which the platform may rightly say the same twice."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault, and when."""

    at: Millis
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a plan. `findings`: each thing that is wrong, in words."""

    tickets: int
    done: int
    waiting: int  # for a person
    lost: int
    doubled: int
    stale_writes: int
    replies_after_takeover: int
    dead_letters: int
    p50_delay_ms: int
    p99_delay_ms: int
    recovery_s: float
    published: int  # replies and ticket events, second copies left out
    repeated: int  # second copies: the same again, which readers drop
    reminders: int  # of customers who fell silent
    early: int
    overshoot: int  # tickets that spent, or changed, more than their pack allows
    p99_late_ms: int
    findings: tuple[str, ...] = field(default=())

    @property
    def kept(self) -> bool:
        """Whether the promise held."""
        wrong = (self.lost, self.doubled, self.stale_writes, self.replies_after_takeover, self.early, self.overshoot)
        return not any(wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the judge is shown, once the load has ended. `reminded_after_ms`: what the pack says of silent customers."""

    stories: Sequence[Story]
    edges: Edges
    effects: Sequence[Effect]
    faults: Sequence[Hit] = ()
    hostile: Set[str] = frozenset()  # marks of records that must lie among the dead letters
    reminded_after_ms: Millis = 0
    budget: Cost | None = None  # of a ticket, by the pack


def judge(scene: Scene) -> Verdict:
    """The verdict on a plan."""
    stories, edges = scene.stories, scene.edges
    mine = _by_customer(stories, scene.effects)
    dead = {(record.key or b"").decode("utf-8", "replace") for record in edges.dead}
    waiting = edges.waiting_for_a_person()
    lost = [why for story in stories if (why := _lost(story, mine[story.number], waiting, dead))]
    lost += [f"hostile record {mark} is not among the dead letters" for mark in scene.hostile - edges.dead_marks()]
    doubled = [*_doubled_effects(mine), *_unasked(stories, mine), *_doubled_replies(stories, edges)]
    stale = _two_writers(edges)
    after = [why for story in stories for why in _after_takeover(edges.told.get(story.conversation, []))]
    waits = [wait for story in stories for wait in story.waits]
    delays = sorted(wait.until - wait.since for wait in waits if wait.until is not None)
    published = {(one.topic, one.id, one.body) for one in edges.versions}
    late = sorted(_reminders(scene))
    over = [*_overspent(scene), *_too_many_effects(scene, mine)]
    early = [f"a reminder came {-ms} ms before it was due" for ms in late if ms < 0]
    return Verdict(
        tickets=len(stories),
        done=sum(story.state == "done" for story in stories),
        waiting=sum(story.state == "handed_over" for story in stories),
        lost=len(lost),
        doubled=len(doubled),
        stale_writes=len(stale),
        replies_after_takeover=len(after),
        dead_letters=len(edges.dead),
        p50_delay_ms=_quantile(delays, 0.5),
        p99_delay_ms=_quantile(delays, 0.99),
        recovery_s=round(max((_recovery_ms(hit, waits) for hit in scene.faults), default=0) / 1000, 3),
        published=len(published),
        repeated=len(edges.versions) - len(published),
        reminders=len(late),
        early=len(early),
        overshoot=len(over),
        p99_late_ms=_quantile(late, 0.99),
        findings=(*lost, *doubled, *stale, *after, *early, *over),
    )


def _by_customer(stories: Sequence[Story], effects: Sequence[Effect]) -> dict[int, list[Effect]]:
    """Effects by the customer whom they name, those of other plans left out."""
    names = {name: story.number for story in stories for name in words_of(story.number).values()}
    found: dict[int, list[Effect]] = defaultdict(list)
    for effect in effects:
        numbers = {names[value] for value in effect["request"].values() if value in names}
        for number in numbers:
            found[number].append(effect)
    return found


def _lost(story: Story, effects: Sequence[Effect], waiting: set[str], dead: set[str]) -> str | None:
    """In = done + waiting for a person + dead letters; what is none of them is lost. Done means that it was done."""
    who = f"customer {story.number} ({story.script})"
    if story.state == "done":
        counts = Counter(effect["operation"] for effect in effects)
        missing = [name for name, wanted in SCRIPTS[story.script].effects.items() if counts[name] < wanted]
        return f"{who} was told it is done, and the business system knows of no {missing[0]}" if missing else None
    if story.conversation in waiting or story.conversation in dead:
        return None
    return f"{who} was {story.state.replace('_', ' ')}, waiting for {story.missed!r}, and nobody has the matter"


def _doubled_effects(by_customer: Mapping[int, Sequence[Effect]]) -> list[str]:
    found = []
    for number, effects in by_customer.items():
        counts = Counter((effect["operation"], json.dumps(effect["request"], sort_keys=True)) for effect in effects)
        for (operation, request), count in counts.items():
            found += [f"customer {number}: {operation} {request} happened {count} times"] * (count - 1)
    return found


def _unasked(stories: Sequence[Story], by_customer: Mapping[int, Sequence[Effect]]) -> list[str]:
    """Effects that no turn of the script has asked for: once is once too often."""
    return [
        f"customer {story.number} ({story.script}) never asked for {effect['operation']}"
        for story in stories
        for effect in by_customer[story.number]
        if effect["operation"] not in SCRIPTS[story.script].effects
    ]


def _doubled_replies(stories: Sequence[Story], edges: Edges) -> list[str]:
    found = []
    for story in stories:
        if story.script in REPEATS_ITSELF:
            continue
        texts = Counter(one.reply.text() for one in edges.told.get(story.conversation, []))
        found += [f"customer {story.number} was told {n} times: {text[:80]}" for text, n in texts.items() if n > 1]
    return found


def _two_writers(edges: Edges) -> list[str]:
    """Two records for what only one may be: somebody wrote who was no longer the owner."""
    seen: dict[tuple[str, str], tuple[str, bytes]] = {}
    found: dict[tuple[str, str], str] = {}
    for one in edges.versions:
        place = (one.topic, one.about)
        first = seen.setdefault(place, (one.id, one.body))
        if first != (one.id, one.body):
            found[place] = f"{one.topic} has two contents for {one.about}"
    return list(found.values())


def _after_takeover(told: Iterable[Told]) -> list[str]:
    """Replies of the bot that a customer was shown while a person had the ticket."""
    found, taken = [], False
    for one in told:
        text = one.reply.text()
        if re.search(TAKEN_OVER, text):
            taken = True
        elif re.search(GIVEN_BACK, text):
            taken = False
        elif taken and one.reply.author == "bot":
            found.append(f"after a takeover, {one.reply.conversation} was told: {text[:80]}")
    return found


def _overspent(scene: Scene) -> list[str]:
    """What tickets say they have spent, as exports show it."""
    limit = scene.budget
    spent = scene.edges.spent.items()
    return [
        f"ticket {ticket} spent {cost}" for ticket, (_, cost) in spent if limit is not None and not cost.within(limit)
    ]


def _too_many_effects(scene: Scene, by_customer: Mapping[int, Sequence[Effect]]) -> list[str]:
    """More effects by the business system's record than the customer's tickets together may make calls."""
    if scene.budget is None:
        return []
    tickets = Counter(conversation for conversation, _ in scene.edges.spent.values())
    return [
        f"customer {story.number}: {len(by_customer[story.number])} effects"
        for story in scene.stories
        if len(by_customer[story.number]) > max(1, tickets[story.conversation]) * scene.budget.calls
    ]


def _reminders(scene: Scene) -> list[Millis]:
    """How late each first reminder came, by the broker's clock."""
    found = []
    for story in scene.stories:
        asked, told = scene.edges.asked.get(story.conversation), scene.edges.told.get(story.conversation, [])
        came = next((one.at for one in told if re.search(REMINDED, one.reply.text())), None)
        if story.script == "silent" and asked is not None and came is not None:
            found.append(came - asked - scene.reminded_after_ms)
    return found


def _recovery_ms(hit: Hit, waits: Iterable[Wait]) -> Millis:
    """How long after the fault the last of those was answered who waited then."""
    return max((w.until - hit.at for w in waits if w.until is not None and w.since <= hit.at < w.until), default=0)


def _quantile(values: Sequence[int], part: float) -> int:
    """Of sorted values; 0 of none."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else 0
