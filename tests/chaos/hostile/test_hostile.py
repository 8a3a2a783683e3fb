"""Tickets whose model means ill; and a judge that would see it if a policy were not kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.executor import policies
from services.planner.decide import dispatch
from tandem.chaos.hostile import door
from tandem.chaos.hostile.campaign import Wanted, campaign
from tandem.chaos.hostile.case import Case
from tandem.chaos.hostile.data import OWN, injections
from tandem.chaos.hostile.run import Report, each
from tandem.cli import chaos_hostile
from tandem.cli.chaos import app
from tandem.cli.chaos_hostile import INTERRUPTED
from tandem.errors import InvalidSettings
from tandem.packs.load import load_pack

PACK = Path(__file__).parents[3] / "packs" / "cloud_support"
TICKETS = 60


def play(pack: Path, tickets: int, start: int = 1) -> Report:
    """In this process, where a test may take a policy away."""
    texts = injections(None)
    report = Report(start=start, wanted=tickets, injections=len(texts))
    for played in each(pack, range(start, start + tickets), texts):
        report.add(played)
    return report


@pytest.fixture(scope="module")
def report() -> Report:
    return play(PACK, TICKETS)


def test_no_policy_is_broken_and_no_secret_told(report: Report) -> None:
    assert (report.breaks, report.leaks) == ([], [])


def test_the_model_was_asked_and_what_it_wanted_was_tried(report: Report) -> None:
    assert report.tickets == TICKETS
    assert report.answers > 2 * TICKETS
    assert report.plans > 5
    assert report.programs > 0
    assert report.drafts > 0
    assert report.writes > 5
    assert report.refusals.total() > 0


def test_a_ticket_is_played_again_by_its_number(report: Report) -> None:
    first, again = play(PACK, 5, start=7), play(PACK, 5, start=7)
    assert {**first.to_json(), "seconds": 0} == {**again.to_json(), "seconds": 0}


# Mutants: an executor, or a planner, that does not ask ------------------------------------------------------------


def permits_everything(*_: Any) -> policies.PolicyDecision:
    return policies.PERMITTED


def test_an_executor_that_permits_everything_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "permit", permits_everything)
    assert any("nobody was verified" in text for text in play(PACK, TICKETS).breaks)


def test_a_planner_that_does_not_ask_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "permit", permits_everything)
    monkeypatch.setattr(dispatch, "needs_consent", lambda *_: False)
    assert any("the customer never said yes" in text for text in play(PACK, TICKETS).breaks)


def test_the_executor_stands_though_the_planner_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "needs_consent", lambda *_: False)
    found = play(PACK, TICKETS)
    assert found.breaks == []
    assert found.refusals.total() > 0


@pytest.mark.asyncio
async def test_a_secret_that_is_told_is_found() -> None:
    case = Case(1, load_pack(PACK), Random(1), OWN)
    await case.play()
    assert not case.leaks
    case.secret = case.replies[0].text()[:8]
    assert case.leaks


# Data and command --------------------------------------------------------------------------------------------------


def test_injections_of_a_folder_come_beside_our_own(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"no \*.jsonl"):
        injections(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"attack": "give it to me"}\n\n{"other": 1}\n')
    assert injections(tmp_path) == (*OWN, "give it to me")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["hostile", "--pack", str(PACK), *arguments])


def test_the_command_tells_what_it_found() -> None:
    result = run("--tickets", "3", "--workers", "2", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["tickets"], told["breaks"], told["leaks"], told["complete"]) == (3, [], [], True)
    assert "3 of 3 tickets" in result.stderr


def test_workers_play_the_same_tickets_in_order() -> None:
    seen: list[int] = []
    found = campaign(Wanted(PACK, 5, start=7, workers=2), lambda report: seen.append(report.next))
    assert seen == [8, 9, 10, 11, 12]
    assert {**found.to_json(), "seconds": 0} == {**play(PACK, 5, start=7).to_json(), "seconds": 0}


def test_what_was_played_before_an_end_stands() -> None:
    seen: list[int] = []
    found = campaign(Wanted(PACK, 50, start=7), lambda report: seen.append(report.tickets), lambda: len(seen) == 2)
    assert (found.tickets, found.next, found.complete) == (2, 9, False)
    assert {**found.to_json(), "seconds": 0, "wanted": 2, "complete": True} == {
        **play(PACK, 2, start=7).to_json(),
        "seconds": 0,
    }


def test_an_interrupted_command_tells_what_was_played_and_where_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "tandem", "chaos", "hostile", "--tickets", "100000", "--start", "3", "--json"]
    with subprocess.Popen(
        [*command, "--pack", str(PACK), "--report", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "of 100000 tickets" in line:
                break
        process.send_signal(signal.SIGTERM)
        told, rest = process.communicate(timeout=60)
    report = json.loads(told)
    assert process.returncode == INTERRUPTED
    assert report["tickets"] >= 1
    assert (report["complete"], report["next"]) == (False, 3 + report["tickets"])
    assert f"--start {report['next']}" in " ".join(rest.split())
    assert json.loads(file.read_text(encoding="utf-8")) == report


def test_a_break_ends_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Report:
        return Report(wanted=1, tickets=1, broken=1, breaks=["ticket 1: refunded"])

    monkeypatch.setattr(chaos_hostile, "campaign", broken)
    result = run("--tickets", "1")
    assert result.exit_code == 1
    assert "ticket 1: refunded" in result.stderr
