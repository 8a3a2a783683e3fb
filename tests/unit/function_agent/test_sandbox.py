"""A program is replayed: wherever it is interrupted, it goes on as if it had not been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.function_agent.handlers import run_program
from services.function_agent.plain import MAX_BYTES, MAX_DEPTH, NotPlain, plain
from services.function_agent.sandbox import Limits, Sandbox
from tandem.contracts.tasks import ProgramCall, ProgramOutput, RunProgram
from tandem.contracts.ticket import Called
from tandem.contracts.values import Json, canonical_json
from tandem.errors import Refused, Unavailable
from tandem.packs.model import Program
from tandem.packs.registry import Packs
from tests.unit.packs.shop import files, operation, write

AT = 1_767_225_600_000
STRING = {"type": "string"}
SUM = """
import random, time
def main(ids):
    total, lost, seen = 0, [], set()
    for one in ids:
        try:
            found = find(id=one, salt=random.randint(0, 10**6), at=int(time.time()), seen=sorted(seen))
        except RuntimeError as error:
            lost.append(f"{one}: {error}")
            continue
        seen |= {f"{one}-{hash(one) % 97}"}
        total += found["amount"]
    return {"total": total, "lost": lost, "seen": list(seen)}
"""


def program(code: str, *tools: str, **fields: Any) -> Program:
    return Program(name="p", tools=tools or ("find",), code=code, **fields)


def sandbox() -> Sandbox:
    return Sandbox(Limits(seconds=0.5), at_once=2)


def answer(call: ProgramCall) -> Called:
    """What came of a call: the second order is lost."""
    lost = call.arguments.get("id") == "b"
    output: dict[str, Json] = {} if lost else {"amount": 7}
    return Called(tool=call.tool, arguments=call.arguments, output=output, error="not-found" if lost else "")


async def steps(code: Program, inputs: dict[str, Json], crash_at: Sequence[int] = ()) -> list[Any]:
    """Every word of the program, each said by a new interpreter; before some of them one dies and another says it again."""
    calls: list[Called] = []
    said: list[Any] = []
    while True:
        found = await sandbox().run(code, inputs, calls, AT)
        if len(said) in crash_at:
            assert await sandbox().run(code, inputs, calls, AT) == found
        said.append(found)
        if isinstance(found, ProgramOutput):
            return said
        calls.append(answer(found))


@pytest.mark.asyncio
async def test_a_program_goes_on_after_a_crash_between_any_two_calls() -> None:
    inputs: dict[str, Json] = {"ids": ["a", "b", "c"]}
    told = await steps(program(SUM), inputs)
    assert [word.arguments["id"] for word in told[:-1]] == ["a", "b", "c"]
    assert told[-1].output["total"] == 14
    assert told[-1].output["lost"] == ["b: not-found"]
    for crash in range(len(told)):
        assert await steps(program(SUM), inputs, crash_at=[crash]) == told


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "changed",
    [
        {"tool": "other"},
        {"arguments": {"id": "forged"}},
        {"output": {"amount": 1_000_000}},
        {"error": "not-found"},
    ],
    ids=["tool", "arguments", "output", "error"],
)
async def test_a_forged_record_changes_no_call_that_has_been_made(changed: dict[str, Any]) -> None:
    """The record is only compared and answered from: the next call is decided on by others."""
    code = program("def main():\n    a = find(id='a')\n    find(id='b', had=a['amount'])\n    return {}")
    first = Called(tool="find", arguments={"id": "a"}, output={"amount": 7})
    second = Called(tool="find", arguments={"id": "b", "had": 7}, output={})
    with pytest.raises(Refused) as refused:
        await sandbox().run(code, {}, [first.model_copy(update=changed), second], AT)
    assert refused.value.reason in ("program-diverged", "program-failed")


@pytest.mark.asyncio
async def test_a_program_changed_in_between_is_refused() -> None:
    done = [Called(tool="find", arguments={"id": "a"}, output={"amount": 7})]
    for code in ("def main():\n    return find(id='b')", "def main():\n    return {}"):
        with pytest.raises(Refused, match="program-diverged"):
            await sandbox().run(program(code), {}, done, AT)


@pytest.mark.asyncio
async def test_a_call_too_many() -> None:
    code = program("def main():\n    return [find(id=str(i)) for i in range(9)][-1]", max_calls=2)
    done = [Called(tool="find", arguments={"id": str(i)}, output={}) for i in range(2)]
    with pytest.raises(Refused, match="program-limit"):
        await sandbox().run(code, {}, done, AT)


@pytest.mark.asyncio
async def test_without_a_worker_the_step_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", "/no/such/worker")
    with pytest.raises(Unavailable, match="no process to run programs in"):
        await sandbox().run(program("def main(): return {}"), {}, [], AT)


# The handler -----------------------------------------------------------------------------------------------------


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    content = files()
    paths = content["tools/shop.yaml"]["paths"]
    paths["/find"] = {"post": operation("find", "read", {"id": STRING}, ["id"])}
    content["programs/sum.py"] = "def main(ids):\n    for one in ids: find(id=one)\n    return {'total': len(ids)}\n"
    content["programs/sum.yaml"] = {
        "tools": ["find"],
        "inputs": {"type": "object", "required": ["ids"], "properties": {"ids": {"type": "array", "maxItems": 2}}},
        "output": {"type": "object", "properties": {"total": {"type": "integer", "minimum": 1}}},
    }
    write(tmp_path, content)
    return Packs(tmp_path)


def task(**fields: Any) -> RunProgram:
    known: dict[str, Any] = {
        "id": "t", "tenant": "acme", "conversation": "c", "ticket": "k", "pack": "shop", "step": "s2", "attempt": 1, "turn": 1,
        "deadline": 10, "program": "sum", "inputs": {"ids": ["a"]}, "at": AT,
    }  # fmt: skip
    return RunProgram(**{**known, **fields})


@pytest.mark.asyncio
async def test_the_handler_says_the_next_call_and_then_the_output(packs: Packs) -> None:
    first = (await run_program(task(), packs, sandbox())).value
    assert first == ProgramCall(ordinal=0, tool="find", arguments={"id": "a"})
    done = (Called(tool="find", arguments={"id": "a"}),)
    assert (await run_program(task(calls=done), packs, sandbox())).value == ProgramOutput(output={"total": 1})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"program": "nothing"}, "unknown-program"),
        ({"inputs": {}}, "program-value"),
        ({"inputs": {"ids": ["a", "b", "c"]}}, "program-value"),
        ({"inputs": {"ids": [5]}}, "program-value"),
        ({"inputs": {"ids": []}}, "program-value"),
    ],
    ids=["no such program", "inputs missing", "inputs against the schema", "arguments against the schema", "output"],
)
async def test_what_does_not_fit_is_refused(packs: Packs, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        await run_program(task(**fields), packs, sandbox())
    assert refused.value.reason == reason


# Values ----------------------------------------------------------------------------------------------------------

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(value=_JSON)
@settings(max_examples=200, deadline=None)
def test_plain_json_stays_as_it_is(value: Json) -> None:
    assert plain(value) == value
    assert len(canonical_json(plain(value)).encode()) <= 4 * MAX_BYTES


def _deep(times: int) -> Any:
    value: Any = 1
    for _ in range(times):
        value = [value]
    return value


def _shared(times: int) -> Any:
    value: Any = "x"
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        {1: 2},
        {"a": {1}},
        b"x",
        float("nan"),
        float("inf"),
        2**63,
        "x" * (MAX_BYTES + 1),
        "x" * MAX_BYTES,
        _deep(MAX_DEPTH + 1),
        _deep(5000),
        _shared(15),
        _shared(16),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(NotPlain):
        plain(value)
