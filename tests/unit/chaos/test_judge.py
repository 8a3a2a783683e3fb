"""The judge can find everything that it is there to find, and finds nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tandem.bus.base import Record
from tandem.chaos.edges import Edges, Sighting, Told
from tandem.chaos.judge import Hit, Scene, judge
from tandem.chaos.load import Story, Wait
from tandem.chaos.poison import MARK
from tandem.contracts.customer import Reply, ReplyText
from tandem.contracts.events import ExpertTask
from tandem.contracts.ticket import Cost

RESET: dict[str, Any] = {"operation": "reset_password", "request": {"email": "c000007@example.com"}}
NOTIFY: dict[str, Any] = {
    "operation": "notify_owner",
    "request": {"email": "c000007@example.com", "event": "password_reset"},
}


def story(**changed: Any) -> Story:
    made = Story(7, "reset", "c7", 1_000, ended=4_000, state="done", waits=[Wait(1_000, 1_500), Wait(2_000, 4_000)])
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def told(text: str, author: str = "bot", turn: int = 1, seq: int = 1) -> Told:
    reply = Reply(
        id=f"{turn}-{seq}",
        tenant="acme",
        channel="cli",
        thread="t",
        conversation="c7",
        ticket="k",
        turn=turn,
        seq=seq,
        author=author,
        parts=(ReplyText(text=text),),
    )
    return Told(1_500, reply)


def expert_task(**changed: Any) -> ExpertTask:
    base = {"id": "e", "tenant": "acme", "conversation": "c7", "ticket": "k", "kind": "handover", "created_at": 1}
    return ExpertTask(**{**base, **changed})


def sighting(id: str, body: bytes) -> Sighting:
    return Sighting(1, "customer.replies", "k/1/1", id, body)


@dataclass
class Case:
    """A plan in which all went well, to be changed."""

    stories: list[Story] = field(default_factory=lambda: [story()])
    edges: Edges = field(default_factory=Edges)
    effects: list[dict[str, Any]] = field(default_factory=lambda: [RESET, NOTIFY])
    hostile: set[str] = field(default_factory=set)

    def verdict(self) -> tuple[int, int, int, int, int]:
        found = judge(
            Scene(
                stories=self.stories,
                edges=self.edges,
                effects=self.effects,
                hostile=self.hostile,
                reminded_after_ms=8_000,
                budget=Cost(calls=3, tokens=100, micros=10),
            )
        )
        wrong = (found.lost, found.doubled, found.stale_writes, found.replies_after_takeover)
        counts = (*wrong, found.overshoot)
        assert found.kept == (counts == (0, 0, 0, 0, 0))
        assert len(found.findings) == sum(counts)
        return counts


def test_nothing_is_wrong() -> None:
    assert Case().verdict() == (0, 0, 0, 0, 0)


def _silent(scene: Case) -> None:
    scene.stories = [story(state="silent", missed="on its way")]


def _never_happened(scene: Case) -> None:
    scene.effects = [NOTIFY]


def _handed_to_nobody(scene: Case) -> None:
    scene.stories = [story(state="handed_over")]


def _handed_over_and_closed(scene: Case) -> None:
    _handed_to_nobody(scene)
    scene.edges.tasks["e"] = expert_task(state="closed")


def _swallowed(scene: Case) -> None:
    scene.hostile = {"1", "2"}
    scene.edges.dead = [Record("dead-letters", 0, 0, 1, b"x", b"{", ((MARK, b"2"),))]


def _twice(scene: Case) -> None:
    scene.effects.append(RESET)


def _unasked(scene: Case) -> None:
    scene.effects.append({"operation": "open_port", "request": {"instance_id": "i-00000007", "port": 22}})


def _told_twice(scene: Case) -> None:
    scene.edges.told["c7"] = [told("It is on its way.", seq=1), told("It is on its way.", seq=2)]


def _another_content(scene: Case) -> None:
    scene.edges.versions = [sighting("r", b"a"), sighting("r", b"b")]


def _another_id(scene: Case) -> None:
    scene.edges.versions = [sighting("r", b"a"), sighting("s", b"a")]


def _spoke_after_takeover(scene: Case) -> None:
    scene.edges.told["c7"] = [told("Ann has joined and is helping you now."), told("Shall I go ahead?", turn=2)]


def _overspent(scene: Case) -> None:
    scene.edges.spent["k"] = ("c7", Cost(calls=1, tokens=101))


def _more_effects_than_calls(scene: Case) -> None:
    scene.effects += [{**NOTIFY, "request": {**NOTIFY["request"], "event": event}} for event in ("a", "b")]


@pytest.mark.parametrize(
    ("wrong", "counts"),
    [
        (_silent, (1, 0, 0, 0, 0)),
        (_never_happened, (1, 0, 0, 0, 0)),
        (_handed_to_nobody, (1, 0, 0, 0, 0)),
        (_handed_over_and_closed, (1, 0, 0, 0, 0)),
        (_swallowed, (1, 0, 0, 0, 0)),
        (_twice, (0, 1, 0, 0, 0)),
        (_unasked, (0, 1, 0, 0, 0)),
        (_told_twice, (0, 1, 0, 0, 0)),
        (_another_content, (0, 0, 1, 0, 0)),
        (_another_id, (0, 0, 1, 0, 0)),
        (_spoke_after_takeover, (0, 0, 0, 1, 0)),
        (_overspent, (0, 0, 0, 0, 1)),
        (_more_effects_than_calls, (0, 0, 0, 0, 1)),
    ],
)
def test_what_is_wrong_is_found(wrong: Callable[[Case], None], counts: tuple[int, int, int, int, int]) -> None:
    scene = Case()
    wrong(scene)
    assert scene.verdict() == counts


def _waits_for_a_person(scene: Case) -> None:
    scene.stories = [story(state="handed_over")]
    scene.edges.tasks["e"] = expert_task()


def _in_the_dead_letters(scene: Case) -> None:
    scene.stories = [story(state="silent")]
    scene.edges.dead = [Record("dead-letters", 0, 0, 1, b"c7", b"{")]


def _published_again(scene: Case) -> None:
    scene.edges.versions = [sighting("r", b"a"), sighting("r", b"a")]


def _given_back(scene: Case) -> None:
    scene.edges.told["c7"] = [
        told("Ann has joined and is helping you now."),
        told("I am back and go on from here."),
        told("Shall I go ahead?", turn=2),
    ]


def _anothers(scene: Case) -> None:
    scene.effects += [{"operation": "reset_password", "request": {"email": "c000008@example.com"}}] * 2


@pytest.mark.parametrize("right", [_waits_for_a_person, _in_the_dead_letters, _published_again, _given_back, _anothers])
def test_what_is_right_is_not_found(right: Callable[[Case], None]) -> None:
    scene = Case()
    right(scene)
    assert scene.verdict() == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(("at", "recovery"), [(900, 0.0), (1_200, 0.3), (1_700, 0.0), (3_000, 1.0), (4_000, 0.0)])
def test_recovery_is_how_long_those_waited_who_waited_then(at: int, recovery: float) -> None:
    found = judge(Scene(stories=[story()], edges=Edges(), effects=[RESET, NOTIFY], faults=[Hit(at, "a fault")]))
    assert found.recovery_s == recovery
    assert found.p99_delay_ms == 2_000


@pytest.mark.parametrize(("came_at", "early", "late_ms"), [(8_999, 1, -1), (9_000, 0, 0), (9_500, 0, 500)])
def test_a_reminder_is_compared_with_when_it_was_due(came_at: int, early: int, late_ms: int) -> None:
    edges = Edges(asked={"c7": 1_000})
    edges.told["c7"] = [told("What is your e-mail?"), Told(came_at, told("Are you still there?").reply)]
    silent = story(script="silent")
    found = judge(Scene(stories=[silent], edges=edges, effects=[], reminded_after_ms=8_000))
    assert (found.reminders, found.early, found.p99_late_ms, found.kept) == (1, early, late_ms, not early)


def test_second_copies_are_counted_and_are_nothing_wrong() -> None:
    edges = Edges(versions=[sighting("r", b"a"), sighting("r", b"a")])
    found = judge(Scene(stories=[], edges=edges, effects=[]))
    assert (found.published, found.repeated, found.kept) == (1, 1, True)
