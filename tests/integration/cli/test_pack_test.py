"""`tandem pack test`: an author's conversations, played against the whole platform."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from tandem.contracts.events import Event
from tandem.embedded import show
from tandem.embedded.case import Case
from tandem.embedded.judge import told_effects
from tandem.embedded.player import Played
from tandem.packs.load import load_pack
from tandem.packs.scaffold import new_pack
from tandem.packs.scenarios import Scenario, Turn

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"


def tandem(*arguments: object) -> tuple[int, Any, str]:
    command = [sys.executable, "-m", "tandem", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_new_packs_test_passes_and_a_wrong_one_says_why(tmp_path: Path) -> None:
    folder = new_pack(tmp_path, "shop")
    wrong = (folder / "tests" / "callback.yaml").read_text().replace("handed_over", "resolved")
    (folder / "tests" / "wrong.yaml").write_text(wrong.replace("name: call back", "name: wrong"))
    code, told, _ = tandem("pack", "test", folder, "--json")
    assert (code, told["ok"]) == (1, False)
    assert {one["name"]: one.get("problems", []) for one in told["scenarios"]} == {
        "call back": [],
        "wrong": ["the ticket is handed_over, not resolved"],
    }


def test_without_such_a_conversation_it_names_those_there_are(tmp_path: Path) -> None:
    code, told, error = tandem("pack", "test", new_pack(tmp_path, "shop"), "--only", "refund", "--json")
    assert (code, told) == (1, None)
    assert error.splitlines()[-1].endswith("there are 'call back'")


def event(kind: str, name: str, effect: str, **arguments: str) -> Event:
    return Event(kind=kind, name=name, effect=effect, data={"arguments": arguments})


def test_writes_that_were_done_are_told_by_the_tickets_events() -> None:
    case = Case("c")
    case.events = [
        event("step_dispatched", "verify_identity", "e1", email="a@example.com"),
        event("effect_done", "verify_identity", "e1"),
        event("step_dispatched", "reset_password", "e2", email="a@example.com"),
        event("effect_done", "reset_password", "e2"),
        event("effect_done", "reset_password", "e2"),
        event("step_dispatched", "open_port", "e3"),
    ]
    assert told_effects(case, load_pack(CLOUD)) == [
        {"key": "e2", "operation": "reset_password", "request": {"email": "a@example.com"}}
    ]


def test_the_table_is_whole_on_a_narrow_terminal() -> None:
    name = "an instance that nobody knows, then nothing to be found"
    played = Played(Scenario(name=name, turns=(Turn(say="hi"),)), Case("c", status="awaiting_customer"))
    screen = Console(file=io.StringIO(), width=80)
    screen.print(show.summary([played], {name: []}))
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert all(word in "\n".join(lines) for word in ("awaiting_customer", "seconds", "steps", "calls", "cost"))
