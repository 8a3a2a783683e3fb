"""What hostile programs try. Each attempt is data in `escapes/`; if one came to its end, it got what it wanted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from services.function_agent.sandbox import Limits, Sandbox
from tandem.contracts.tasks import ProgramCall, ProgramOutput
from tandem.contracts.ticket import Called
from tandem.errors import Refused
from tandem.packs.files import parse_yaml
from tandem.packs.model import Program

FOLDER = Path(__file__).parent / "escapes"
CANARY = "canary-4f1d2c"
FOOTPRINT = Path("/tmp/tandem-escape")
LIMITS = Limits(seconds=0.05, wall_s=1.0)
PATIENCE_S = LIMITS.wall_s + 4.0
"""A machine with two busy cores may take so much longer than a run's wall."""


def attempts() -> Iterator[tuple[str, str]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for name, code in parse_yaml(path.read_text(encoding="utf-8")).items():
            yield f"{path.stem}:{name}", _source(path.stem, code)


def _source(kind: str, code: Any) -> str:
    if kind == "deep":
        before, opening, times, middle, closing = code
        return f"{before}{opening * times}{middle}{closing * times if len(closing) == 1 else closing}\n"
    if kind == "whole":
        return str(code)
    return f"def main():\n    got = 'nothing'\n{indent(str(code), '    ')}\n    return {{'got': str(got)[:200]}}\n"


ATTEMPTS = dict(attempts())


@pytest.fixture(autouse=True)
def _canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_CANARY", CANARY)


async def played(code: str) -> None:
    """Run a program to its end, its own tool answering."""
    program = Program(name="attempt", tools=("look",), max_calls=4, code=code)
    sandbox = Sandbox(LIMITS, at_once=1)
    calls: list[Called] = []
    while True:
        found = await sandbox.run(program, {}, calls, 1_700_000_000_000)
        if not isinstance(found, ProgramCall):
            pytest.fail(f"it ended, and gave {found.output}")
        assert found.tool == "look"
        calls.append(Called(tool=found.tool, arguments=found.arguments, output={"got": "looked"}))


def _left_something() -> bool:
    return FOOTPRINT.exists()


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) >= 400


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ATTEMPTS)
async def test_an_attempt_is_refused_in_time(name: str) -> None:
    process, began = os.getpid(), time.monotonic()
    with pytest.raises(Refused) as refused:
        await asyncio.wait_for(played(ATTEMPTS[name]), 4 * PATIENCE_S)
    runs = 5 if "flood" in name else 1
    assert time.monotonic() - began < runs * PATIENCE_S
    assert refused.value.reason.startswith("program-")
    assert len(str(refused.value)) < 500
    assert CANARY not in str(refused.value)
    assert not _left_something()
    assert os.getpid() == process


@pytest.mark.asyncio
async def test_an_attempt_that_succeeded_would_be_found() -> None:
    with pytest.raises(pytest.fail.Exception, match="it ended"):
        await played("def main(): return {'got': 1}")


@pytest.mark.asyncio
@pytest.mark.parametrize("made", ["main", "range(10**9)"])
async def test_what_is_no_json_leaves_the_sandbox_as_a_short_text(made: str) -> None:
    sandbox = Sandbox(LIMITS, at_once=1)
    program = Program(name="attempt", tools=(), code=f"def main(): return {{'got': {made}}}")
    found = await sandbox.run(program, {}, [], 1_700_000_000_000)
    assert isinstance(found, ProgramOutput)
    text = found.output["got"]
    assert isinstance(text, str)
    assert len(text) < 100
