"""Plans are checked when they are read; a report has a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tandem.chaos.edges import Edges
from tandem.chaos.judge import Hit, Scene, judge
from tandem.chaos.plan import Plan, read_plan
from tandem.chaos.report import summary, write_report
from tandem.errors import InvalidSettings
from tests.unit.chaos.test_judge import NOTIFY, RESET, story

GOOD = """\
plan: some-kills
about: two services die
scripts: [reset]
by_hand: {tickets: 10}
faults: [{kind: kill, services: [router, planner], every_s: 1}]
"""
FIELDS = {
    *("plan", "tickets", "lost", "doubled", "stale_writes", "replies_after_takeover", "dead_letters"),
    *("p99_delay_ms", "recovery_s"),
}


def _read(folder: Path, text: str) -> Plan:
    path = folder / "plan.yaml"
    path.write_text(text)
    return read_plan(path)


def test_a_plan_without_a_size_for_every_change_says_so(tmp_path: Path) -> None:
    plan = _read(tmp_path, GOOD)
    assert plan.size("by_hand").tickets == 10
    with pytest.raises(InvalidSettings, match="--size by_hand"):
        plan.size("per_change")


def test_other_numbers_may_be_asked_for(tmp_path: Path) -> None:
    size = _read(tmp_path, GOOD).resized("by_hand", 3, 0).size("by_hand")
    assert (size.tickets, size.rounds) == (3, 1)


@pytest.mark.parametrize(
    ("there", "instead", "says"),
    [
        ("kind: kill", "kind: burn", "burn"),
        ("router", "rooter", "services"),
        ("[reset]", "[]", "scripts"),
        ("every_s: 1", "every: 1", "every"),
        ("by_hand", "by_foot", "by_foot"),
        ("some-kills", "Some kills", "pattern"),
        ("about:", "about: [", "no plan"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(tmp_path: Path, there: str, instead: str, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        _read(tmp_path, GOOD.replace(there, instead))


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"none\.yaml cannot be read"):
        read_plan(tmp_path / "none.yaml")


def test_a_report_has_the_figures_and_a_picture(tmp_path: Path) -> None:
    stories, hits = [story()], [Hit(2_000, "kill <router>")]
    verdict = judge(Scene(stories=stories, edges=Edges(), effects=[RESET, NOTIFY], faults=hits))
    assert set(summary("p", verdict)) == FIELDS
    write_report(tmp_path, "p", verdict, stories, hits, {"seed": 3})
    written = json.loads((tmp_path / "p.json").read_text())
    assert set(written) > FIELDS
    assert written["slowest"][0]["ms"] == 2_000
    root = ElementTree.fromstring((tmp_path / "p.svg").read_text())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"p: tickets over time", "came", "ended", "under way", "kill <router>"} <= set(texts)


def test_a_picture_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    write_report(tmp_path, "p", judge(Scene(stories=[], edges=Edges(), effects=[])), [], [], {})
    ElementTree.fromstring((tmp_path / "p.svg").read_text())
